"""Samplers on targets whose perfect denoiser is known: they must return the mean and the spread of the data.

For a Gaussian target every sampler is an affine map of its noises: zeros and unit impulses read off its offset and
gains, so mean and deviation come out without chance. For a mixture, a deterministic sampler must send quantiles to
quantiles.
"""

import json
from math import sqrt
from pathlib import Path

import pytest
import torch
from torch import Tensor

from binaural_core.diffusion import bridge, exact, samplers, schedule

ROWS = json.loads((Path(__file__).parents[1] / "golden" / "diffusion" / "analytic.json").read_text())
COSINE = schedule.cosine(1000)
MEAN = 0.3
SPREADS = (1.0, 0.5, 0.3, 0.2, 0.1, 0.05)
MIXTURES = {  # weights, means, deviations
    "two_modes": ((0.35, 0.65), (-0.8, 0.6), (0.12, 0.2)),
    "wide_and_narrow": ((0.5, 0.5), (0.0, 0.3), (0.5, 0.1)),
    "three_modes": ((0.3, 0.4, 0.3), (-0.7, 0.0, 0.7), (0.1, 0.1, 0.1)),
}
SAMPLERS = {
    "ddim_eta0": samplers.ddim,
    "ddim_eta1": lambda *args, **options: samplers.ddim(*args, eta=1.0, **options),
    "ddpm": samplers.ddpm,
    "dpmpp_2m": samplers.dpmpp_2m,
    "heun": samplers.heun,
}


def gaussian(spread: float, over: schedule.Schedule = COSINE) -> samplers.Denoise:
    return exact.denoiser(exact.gaussian(MEAN, spread), over)


def mean_and_deviation(run, noises: int) -> tuple[float, float]:
    """Of what ``run(x_T, source)`` makes of standard normal x_T and ``noises`` further draws."""
    x_T = torch.zeros(noises + 2, dtype=torch.float64)
    x_T[1] = 1.0
    impulses = iter(torch.eye(noises + 2, dtype=torch.float64)[2:])
    end = run(x_T, lambda like: next(impulses))
    return end[0].item(), (end[1:] - end[0]).square().sum().sqrt().item()


def sampled(name: str, steps: list[int], spread: float) -> tuple[float, float]:
    return mean_and_deviation(
        lambda x, source: SAMPLERS[name](gaussian(spread), x, steps, COSINE, generator=source), len(steps)
    )


def mixture(parts) -> exact.Mixture:
    weights, means, deviations = (torch.tensor(p, dtype=torch.float64) for p in parts)
    return exact.Mixture(means, deviations, weights)


def quantiles(parts) -> tuple[Tensor, Tensor, float]:
    """2001 quantiles of N(0, 1) and of the mixture (by bisection), and the mixture's deviation."""
    share = (torch.arange(2001, dtype=torch.float64) + 0.5) / 2001
    weights, means, deviations = (torch.tensor(p, dtype=torch.float64) for p in parts)
    low, high = torch.full_like(share, -4.0), torch.full_like(share, 4.0)
    for _ in range(60):
        middle = (low + high) / 2
        below = (weights * torch.special.ndtr((middle[:, None] - means) / deviations)).sum(dim=1) < share
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    mean = (weights * means).sum()
    return torch.special.ndtri(share), low, sqrt((weights * (deviations**2 + means**2)).sum() - mean**2)


def mixture_error(name: str, steps: list[int], parts) -> float:
    """RMS error of the quantiles over the mixture's deviation."""
    z, truth, deviation = quantiles(parts)
    end = SAMPLERS[name](exact.denoiser(mixture(parts), COSINE), z, steps, COSINE)
    return (end - truth).square().mean().sqrt().item() / deviation


EVEN = [row for row in ROWS if row["grid"] in ("trailing", "leading") and row["sampler"] in SAMPLERS]


@pytest.mark.parametrize("row", EVEN, ids=lambda r: f"{r['sampler']}-{r['grid']}-{r['steps']}")
def test_error_is_the_methods_own(row):
    steps = getattr(schedule, row["grid"])(row["steps"], COSINE)
    for spread in (0.5, 0.1):
        mean, deviation = sampled(row["sampler"], steps, spread)
        assert (mean - MEAN) / spread == pytest.approx(row[f"mean_err_over_s@s={spread}"], abs=1e-9)
        assert deviation / spread == pytest.approx(row[f"std_ratio@s={spread}"], rel=1e-9)
    if "mixture_quantile_rms_over_std" in row:
        error = mixture_error(row["sampler"], steps, MIXTURES["two_modes"])
        assert error == pytest.approx(row["mixture_quantile_rms_over_std"], rel=1e-6)


@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("name", list(SAMPLERS))
def test_many_steps_return_the_gaussian(name, spread):
    steps = schedule.trailing(1000, COSINE)
    if name == "heun":  # its first steps are too long where sigma is 20,291
        steps = schedule.log_sigma(200, COSINE, high=80.0, low=0.007)
    mean, deviation = sampled(name, steps, spread)
    assert mean == pytest.approx(MEAN, abs=0.02 * spread)
    assert deviation == pytest.approx(spread, rel=0.02 if spread >= 0.1 else 0.05)


@pytest.mark.parametrize("name", list(SAMPLERS))
def test_a_schedule_that_ends_in_noise_alone_can_be_sampled_from_its_end(name):
    ends = schedule.zero_terminal_snr(COSINE)
    steps = [ends.alpha_bar.numel() - 1, *schedule.log_sigma(100, ends)]
    mean, deviation = mean_and_deviation(
        lambda x, source: SAMPLERS[name](gaussian(0.5, ends), x, steps, ends, generator=source), len(steps)
    )
    assert mean == pytest.approx(MEAN, abs=0.02)
    assert deviation == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize("spread", SPREADS)
def test_ten_steps_on_log_sigma_beat_twenty_five_even_ones(spread):
    fast = sampled("dpmpp_2m", schedule.log_sigma(10, COSINE), spread)[1]
    even = sampled("ddim_eta0", schedule.trailing(25, COSINE), spread)[1]
    assert abs(fast / spread - 1) <= 0.6 * abs(even / spread - 1)


@pytest.mark.parametrize("parts", list(MIXTURES.values()), ids=list(MIXTURES))
def test_ten_steps_on_log_sigma_beat_twenty_five_even_ones_on_mixtures(parts):
    fast = mixture_error("dpmpp_2m", schedule.log_sigma(10, COSINE), parts)
    assert fast <= 0.6 * mixture_error("ddim_eta0", schedule.trailing(25, COSINE), parts)


def flow(spread: float) -> bridge.Velocity:
    """The exact velocity of the bridge from N(0, 1) to N(MEAN, spread²)."""
    return exact.velocity(exact.gaussian(MEAN, spread), torch.zeros(()), 1.0)


@pytest.mark.parametrize("row", [r for r in ROWS if r["sampler"] == "flow_euler"], ids=lambda r: str(r["steps"]))
def test_euler_over_the_bridge(row):
    for spread in (0.5, 0.1):
        mean, deviation = mean_and_deviation(lambda x, _, s=spread: bridge.euler(flow(s), x, row["steps"]), 0)
        assert (mean - MEAN) / spread == pytest.approx(row[f"mean_err_over_s@s={spread}"], abs=1e-9)
        assert deviation / spread == pytest.approx(row[f"std_ratio@s={spread}"], rel=1e-9)


@pytest.mark.parametrize("spread", SPREADS)
def test_midpoint_over_the_bridge_is_of_second_order(spread):
    """Twice the steps leave a quarter of the error, and the default three are near."""

    def error(steps: int) -> float:
        return abs(mean_and_deviation(lambda x, _: bridge.midpoint(flow(spread), x, steps), 0)[1] / spread - 1)

    assert error(100) < 0.03
    assert error(3) < 0.3 if spread >= 0.5 else error(3) < 1.0
    assert error(200) == pytest.approx(error(100) / 4, rel=0.35) or error(100) < 1e-4
