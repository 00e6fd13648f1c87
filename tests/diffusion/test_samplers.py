"""Samplers step by step against public libraries and their float64 formulas."""

from pathlib import Path

import numpy as np
import pytest
import torch

from binaural_core.diffusion import parameterization, samplers, schedule
from binaural_core.errors import InputError
from binaural_core.seeds import stream

GOLDEN = Path(__file__).parents[1] / "golden" / "diffusion"
COSINE = schedule.cosine(1000)
DDIM = np.load(GOLDEN / "ddim.npz")
ENDS = [name for name in DDIM if name.startswith("ddim25") and name.endswith("f64_end")]


def toy(predicts: str):
    """The denoiser of a network that says 0.1 x + 0.01 t / 1000."""
    return lambda x, t: parameterization.to_x0(0.1 * x + 0.01 * t / 1000, x, t, COSINE, predicts)


def prepared(noise) -> tuple:
    """A noise source that hands out given numbers in order, and what is left of them."""
    left = iter(torch.from_numpy(noise))
    return (lambda like: next(left)), left


def close(made: torch.Tensor, golden: np.ndarray, tolerance: float) -> None:
    error = np.abs(made.double().numpy() - golden).max() / np.abs(golden).max()
    assert error <= tolerance, f"off by {error:.1e} of the largest value"


def options(name: str) -> dict:
    return {
        "eta": 1.0 if "eta1" in name else 0.0,
        "clip": 1.0 if "clip1" in name else None,
        "keep_noise": "keepeps" in name,
    }


def predicts(name: str) -> str:
    return "v" if "v_prediction" in name else "noise"


@pytest.mark.parametrize("name", [n for n in ENDS if "linspace" not in n])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_ddim(name, dtype):
    grid = schedule.trailing if "trailing" in name else schedule.leading
    noise, left = prepared(DDIM["noise"])
    x_T = torch.from_numpy(DDIM["x_T"]).to(dtype)
    x_0 = samplers.ddim(toy(predicts(name)), x_T, grid(25, COSINE), COSINE, generator=noise, **options(name))
    assert x_0.dtype == dtype
    close(x_0, DDIM[name], 1e-7 if dtype == torch.float64 else 3e-4)
    assert len(list(left)) == (1 if "eta1" in name else 25), "the last step, to the data, draws nothing"


@pytest.mark.parametrize("name", [n for n in ENDS if "linspace" in n])
def test_ddim_steps_to_any_level(name):
    """The public scheduler leaves the linspace grid: it steps to t - 40. `ddim_step` can follow it there."""
    noise, _ = prepared(DDIM["noise"])
    x = torch.from_numpy(DDIM["x_T"]).double()
    for t in schedule.linspace(25, COSINE):
        t_next = max(t - 40, schedule.CLEAN)
        x_0 = toy(predicts(name))(x, t)
        x = samplers.ddim_step(x, x_0, t, t_next, COSINE, generator=noise, **options(name))
    close(x, DDIM[name], 1e-7)


@pytest.mark.parametrize("name", [n for n in DDIM if n.endswith("_path")])
def test_ddim_watched_all_the_way(name):
    noise, _ = prepared(DDIM["noise"])
    seen = []
    x_T = torch.from_numpy(DDIM["x_T"]).double()
    end = samplers.ddim(
        toy(predicts(name)),
        x_T,
        schedule.trailing(25, COSINE),
        COSINE,
        generator=noise,
        watch=lambda t, x, x_0: seen.append((t, x)),
        **options(name),
    )
    assert [t for t, _ in seen] == schedule.trailing(25, COSINE)
    close(torch.stack([*(x for _, x in seen), end]), DDIM[name], 1e-7)


def test_ddpm_over_all_steps():
    golden = np.load(GOLDEN / "ddpm.npz")
    noise, left = prepared(golden["full1000_v_noise"])
    x_T = torch.from_numpy(golden["full1000_v_x_T"]).double()
    x_0 = samplers.ddpm(toy("v"), x_T, range(999, -1, -1), COSINE, generator=noise)
    close(x_0, golden["full1000_v_end_f64"], 1e-7)
    assert not list(left)


def test_ddim_with_eta_one_is_ddpm():
    """On one grid and one noise, Song et al. 2020, sec. 4.1."""
    x_T = torch.randn(2, 2, 3, 4, generator=stream(0, "start"), dtype=torch.float64)
    grid = schedule.trailing(20, COSINE)
    one = samplers.ddim(toy("v"), x_T, grid, COSINE, eta=1.0, generator=stream(0, "noise"))
    other = samplers.ddpm(toy("v"), x_T, grid, COSINE, generator=stream(0, "noise"))
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize("grid,count", [("linspace", 10), ("linspace", 5), ("trailing", 10), ("trailing", 5)])
def test_dpmpp_2m(grid, count):
    golden = np.load(GOLDEN / "fast_solvers.npz")
    x_T = torch.from_numpy(golden["x_T"]).double()
    x_0 = samplers.dpmpp_2m(toy("v"), x_T, golden[f"dpmpp2m_{grid}_{count}_timesteps"], COSINE)
    close(x_0, golden[f"dpmpp2m_{grid}_{count}_end_f64"], 1e-7)


@pytest.mark.parametrize("count", [8, 10])
def test_dpmpp_2m_on_its_own_grid(count):
    golden = np.load(GOLDEN / "fast_grid.npz")
    x_T = torch.from_numpy(np.load(GOLDEN / "fast_solvers.npz")["x_T"]).double()
    x_0 = samplers.dpmpp_2m(toy("v"), x_T, schedule.log_sigma(count, COSINE), COSINE)
    close(x_0, golden[f"toy_v_{count}_end_f64"], 1e-7)


def test_noise_prediction_from_the_last_step_needs_the_clip():
    x_T = torch.from_numpy(DDIM["x_T"])
    grid = schedule.trailing(25, COSINE)
    assert samplers.ddim(toy("noise"), x_T, grid, COSINE).abs().max() > 1e4
    for sampler in (samplers.ddim, samplers.dpmpp_2m, samplers.heun):
        assert sampler(samplers.clipped(toy("noise")), x_T, grid, COSINE).abs().max() <= 1


def test_clipping_the_denoiser_is_ddims_own_clip():
    x_T, grid = torch.from_numpy(DDIM["x_T"]).double(), schedule.trailing(25, COSINE)
    torch.testing.assert_close(
        samplers.ddim(samplers.clipped(toy("noise")), x_T, grid, COSINE),
        samplers.ddim(toy("noise"), x_T, grid, COSINE, clip=1.0),
    )


@pytest.mark.parametrize("sampler", [samplers.ddpm, lambda *a, **k: samplers.ddim(*a, eta=1.0, **k)])
def test_each_sample_has_its_own_noise(sampler):
    """Sampled together or one by one, the same generators give the same numbers."""
    x_T = torch.randn(3, 2, 4, 5, generator=stream(0, "start"))
    grid = schedule.trailing(5, COSINE)
    together = sampler(toy("v"), x_T, grid, COSINE, generator=[stream(0, "noise", i) for i in range(3)])
    for i in range(3):
        alone = sampler(toy("v"), x_T[i : i + 1], grid, COSINE, generator=[stream(0, "noise", i)])
        torch.testing.assert_close(alone[0], together[i])
    with pytest.raises(InputError, match="2 generators came for 3 samples"):
        sampler(toy("v"), x_T, grid, COSINE, generator=[stream(0, "noise", i) for i in range(2)])
    with pytest.raises(InputError, match="no generator"):
        sampler(toy("v"), x_T, grid, COSINE)


@pytest.mark.parametrize("steps", [[], [10, 20], [20, 20], [1000, 10], [10, -1]])
@pytest.mark.parametrize("sampler", [samplers.ddpm, samplers.ddim, samplers.dpmpp_2m, samplers.heun])
def test_steps_must_fall_through_the_schedule(sampler, steps):
    with pytest.raises(InputError, match="sampling steps are"):
        sampler(toy("v"), torch.zeros(1, 2, 3, 4), steps, COSINE)


@pytest.mark.parametrize(
    "sampler,calls", [(samplers.ddim, 10), (samplers.ddpm, 10), (samplers.dpmpp_2m, 10), (samplers.heun, 19)]
)
def test_network_evaluations(sampler, calls):
    asked = []

    def denoise(x, t):
        asked.append(t)
        return 0.1 * x

    sampler(denoise, torch.zeros(1, 2, 3, 4), schedule.log_sigma(10, COSINE), COSINE, generator=stream(0, "noise"))
    assert len(asked) == calls
