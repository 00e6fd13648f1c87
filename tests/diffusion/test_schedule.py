"""Schedules and step grids against float64 formulas and public libraries."""

from pathlib import Path

import numpy as np
import pytest
import torch

from binaural_core.diffusion import schedule
from binaural_core.diffusion.schedule import CLEAN
from binaural_core.errors import InputError

GOLDEN = Path(__file__).parents[1] / "golden" / "diffusion"
COSINE = schedule.cosine(1000)


@pytest.fixture(scope="module")
def golden():
    return np.load(GOLDEN / "schedules.npz")


@pytest.mark.parametrize(
    "name,made",
    [
        ("betas", lambda: COSINE.betas),
        ("alphas_cumprod", lambda: COSINE.alpha_bar),
        ("edm_sigma", lambda: COSINE.sigma),
        ("log_snr", lambda: COSINE.log_snr),
        ("zero_snr_alphas_cumprod", lambda: schedule.zero_terminal_snr(COSINE).alpha_bar),
        ("zero_snr_betas", lambda: schedule.zero_terminal_snr(COSINE).betas),
    ],
)
def test_cosine_tables(golden, name, made):
    np.testing.assert_allclose(made(), golden[f"{name}_f64"], rtol=1e-9)


def test_posterior(golden):
    c_0, c_t, variance = np.array([COSINE.posterior(t, t - 1) for t in range(1000)]).T
    np.testing.assert_allclose(c_0, golden["posterior_mean_coef1_f64"], rtol=1e-9)
    np.testing.assert_allclose(c_t, golden["posterior_mean_coef2_f64"], rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(variance, golden["posterior_variance_f64"], rtol=1e-9)


def test_posterior_over_a_long_step_is_the_gaussian_conditional():
    """x_s and x_t are jointly Gaussian given x_0; the posterior is their textbook conditional."""
    t, s = 700, 450
    a_t, a_s = COSINE.alpha_bar[[t, s]].tolist()
    step = a_t / a_s
    covariance, variance_s, variance_t = step**0.5 * (1 - a_s), 1 - a_s, 1 - a_t
    c_0, c_t, variance = COSINE.posterior(t, s)
    assert c_t == pytest.approx(covariance / variance_t)
    assert c_0 == pytest.approx(a_s**0.5 - c_t * a_t**0.5)
    assert variance == pytest.approx(variance_s - covariance**2 / variance_t)


def test_one_cosine_beta_is_capped():
    assert (COSINE.betas > 0.999 - 1e-12).sum() == 1
    assert COSINE.alpha_bar[-1].item() == pytest.approx(2.4287669e-9, rel=1e-6)


@pytest.mark.parametrize("kind", [schedule.linear, schedule.cosine, schedule.sigmoid])
@pytest.mark.parametrize("steps", [10, 400, 1000])
def test_signal_falls_all_the_way(kind, steps):
    alpha_bar = kind(steps).alpha_bar
    assert alpha_bar.dtype == torch.float64
    assert len(alpha_bar) == steps
    assert (alpha_bar.diff() < 0).all()
    assert alpha_bar[0] < 1
    assert 0 < alpha_bar[-1] < 1e-3


def test_linear_is_the_published_one():
    betas = schedule.linear(1000).betas
    assert betas[0].item() == pytest.approx(1e-4)
    assert betas[-1].item() == pytest.approx(0.02)
    assert betas[500].item() == pytest.approx(1e-4 + (0.02 - 1e-4) * 500 / 999)


def test_sigmoid_is_symmetric_about_its_middle():
    alpha_bar = schedule.sigmoid(1000).alpha_bar
    assert alpha_bar[499].item() == pytest.approx(0.5, abs=1e-9)
    assert (alpha_bar[299] + alpha_bar[699]).item() == pytest.approx(1, abs=1e-9)


def test_zero_terminal_snr_ends_in_noise_alone_and_keeps_the_start():
    rescaled = schedule.zero_terminal_snr(COSINE)
    assert rescaled.alpha_bar[-1] == 0
    assert rescaled.alpha_bar[0].item() == pytest.approx(COSINE.alpha_bar[0].item())


def test_signal_and_noise_look_up_one_step_or_one_per_sample():
    like = torch.zeros(3, 2, 4, 5)
    t_B = torch.tensor([0, 999, CLEAN])
    a, b = COSINE.signal_noise(t_B, like)
    assert a.shape == b.shape == (3, 1, 1, 1)
    assert a.dtype == torch.float32
    torch.testing.assert_close(a**2 + b**2, torch.ones_like(a))
    assert (a[2].item(), b[2].item()) == (1, 0)
    for i, t in enumerate(t_B.tolist()):
        assert COSINE.signal_noise(t, like)[0] == a[i]
    assert COSINE.signal_noise(500, like.double())[0].dtype == torch.float64


@pytest.mark.parametrize("count", [5, 7, 10, 25])
@pytest.mark.parametrize("grid", ["trailing", "leading", "linspace"])
def test_even_grids(grid, count):
    expected = np.load(GOLDEN / "timesteps.npz")[f"diffusers_{grid}_{count}"]
    assert getattr(schedule, grid)(count, COSINE) == expected.tolist()


@pytest.mark.parametrize("count", [8, 10])
def test_log_sigma_grid(count):
    expected = np.load(GOLDEN / "fast_grid.npz")[f"timesteps_{count}"]
    assert schedule.log_sigma(count, COSINE) == expected.tolist()


@pytest.mark.parametrize("grid", [schedule.trailing, schedule.leading, schedule.linspace, schedule.log_sigma])
def test_every_grid_falls_and_stays_inside(grid):
    for count in (1, 2, 3, 60, 400):
        steps = grid(count, schedule.cosine(400))
        assert steps == sorted(set(steps), reverse=True)
        assert 0 <= steps[-1] <= steps[0] <= 399
    with pytest.raises(InputError, match="401 sampling steps out of 400"):
        grid(401, schedule.cosine(400))
    with pytest.raises(InputError, match="0 sampling steps"):
        grid(0, schedule.cosine(400))


def test_a_schedule_of_one_step_is_refused():
    with pytest.raises(InputError, match="two noise levels"):
        schedule.cosine(1)
