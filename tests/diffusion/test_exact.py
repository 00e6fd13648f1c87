"""Closed-form denoisers against Bayes' rule done by brute force, and what follows from it."""

import pytest
import torch

from binaural_core.diffusion import bridge, exact, samplers, schedule
from binaural_core.errors import InputError
from binaural_core.seeds import stream

COSINE = schedule.cosine(1000)
LEVELS = [(0.99, 0.14), (0.6, 0.8), (0.05, 0.999), (0.0, 1.0)]  # (a, b)
TWO = exact.Mixture(
    torch.tensor([-0.8, 0.6], dtype=torch.float64),
    torch.tensor([0.12, 0.2], dtype=torch.float64),
    torch.tensor([0.35, 0.65], dtype=torch.float64),
)


def normal(x, mean, deviation):
    return torch.exp(-0.5 * ((x - mean) / deviation) ** 2) / deviation


@pytest.mark.parametrize("a, b", LEVELS)
def test_it_is_the_posterior_mean(a, b):
    """E[x_0 | x_t] = sum x_0 p(x_0) p(x_t | x_0) / sum p(x_0) p(x_t | x_0) over a fine grid."""
    x_0 = torch.linspace(-3, 3, 60_001, dtype=torch.float64)
    density = sum(w * normal(x_0, m, s) for m, s, w in zip(TWO.means, TWO.deviations_K, TWO.weights_K, strict=True))
    x_t = torch.tensor([-1.0, -0.1, 0.05, 0.7], dtype=torch.float64)
    joint = density * normal(x_t[:, None], a * x_0, b)
    truth = (joint * x_0).sum(dim=1) / joint.sum(dim=1)
    torch.testing.assert_close(exact.expected(TWO, x_t, a, b), truth, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("a, b", LEVELS)
def test_of_one_gaussian_it_is_the_line_of_regression(a, b):
    x_t = torch.linspace(-2, 2, 5, dtype=torch.float64)
    line = 0.3 + a * 0.04 / (a**2 * 0.04 + b**2) * (x_t - a * 0.3)
    torch.testing.assert_close(exact.expected(exact.gaussian(0.3, 0.2), x_t, a, b), line)


def test_parts_of_one_deviation_are_weighed_by_a_softmax_of_distances():
    mels, x_t = torch.randn(6, 2, 4, 5, generator=stream(0, "mels")).double().split(3)
    a, b = 0.3, 0.9
    squared_BK = (x_t[:, None] - a * mels[None]).square().flatten(2).sum(dim=2)
    weights_BK = torch.softmax(-squared_BK / (2 * b**2), dim=1)
    torch.testing.assert_close(exact.posterior_weights(exact.samples(mels), x_t, a, b), weights_BK)
    blurred = exact.posterior_weights(exact.samples(mels, 0.5), x_t, a, b)
    torch.testing.assert_close(blurred, torch.softmax(-squared_BK / (2 * (b**2 + 0.09 * 0.25)), dim=1))


def test_deviations_count_once_for_each_number_of_a_sample():
    """Of two parts with one mean, the wide one explains what lies far out, and all the better with more numbers."""
    data = exact.Mixture(torch.zeros(2, 3), torch.tensor([0.1, 1.0]), torch.tensor([0.5, 0.5]))
    x_t = torch.full((1, 3), 0.5)
    a, b = 0.8, 0.6
    each = [normal(torch.tensor(0.5), 0.0, (a**2 * s**2 + b**2) ** 0.5) for s in (0.1, 1.0)]
    torch.testing.assert_close(
        exact.posterior_weights(data, x_t, a, b)[0, 0], each[0] ** 3 / (each[0] ** 3 + each[1] ** 3)
    )


def test_a_part_of_weight_zero_is_not_there():
    mels = torch.randn(3, 2, 4, 5, generator=stream(0, "mels"))
    known = exact.Mixture(mels, torch.zeros(3), torch.tensor([0.0, 1.0, 0.0]))
    x_t = torch.randn(2, 2, 4, 5, generator=stream(0, "noise"))
    torch.testing.assert_close(exact.expected(known, x_t, 0.5, 0.8), mels[[1, 1]])


@pytest.mark.parametrize("sampler", [samplers.ddim, samplers.dpmpp_2m, samplers.heun])
def test_of_samples_alone_it_can_only_return_those(sampler):
    mels = torch.randn(4, 2, 8, 10, generator=stream(0, "mels"), dtype=torch.float64)
    x_T = torch.randn(16, 2, 8, 10, generator=stream(0, "start"), dtype=torch.float64)
    grid = schedule.log_sigma(40, COSINE, high=80.0)
    made = sampler(exact.denoiser(exact.samples(mels), COSINE), x_T, grid, COSINE)
    distance_BK = torch.cdist(made.flatten(1), mels.flatten(1))
    assert distance_BK.min(dim=1).values.max() < 1e-6
    assert len(set(distance_BK.argmin(dim=1).tolist())) > 1


def test_the_bridge_asks_the_same_question_about_what_it_has_left_to_learn():
    """The velocity at x_t is the mean of x_1 - x_0 over draws that come by there, weighed by how near they come."""
    draws = 400_000
    noise, data = torch.randn(2, draws, generator=stream(0, "bridge"), dtype=torch.float64)
    mono, sigma, t = 0.4, 0.3, 0.35
    x_1 = 0.3 + 0.2 * data
    x_0 = bridge.start(mono, noise, sigma)
    x_t = bridge.point(x_0, x_1, torch.tensor([t]))
    place = torch.tensor([0.3, 0.45], dtype=torch.float64)
    near = normal(x_t, place[:, None], 0.01)
    seen = (near * bridge.velocity(x_0, x_1)).sum(dim=1) / near.sum(dim=1)
    field = exact.velocity(exact.gaussian(0.3, 0.2), torch.tensor(mono), sigma)
    torch.testing.assert_close(field(place, t), seen, atol=0.01, rtol=0)


def test_the_bridge_leads_to_the_data():
    mono = torch.zeros(1, dtype=torch.float64)
    start = bridge.start(mono, torch.linspace(-2, 2, 9, dtype=torch.float64), 0.3)
    end = bridge.midpoint(exact.velocity(exact.gaussian(0.3, 0.1), mono, 0.3), start, 200)
    torch.testing.assert_close(end, 0.3 + 0.1 * torch.linspace(-2, 2, 9, dtype=torch.float64), atol=1e-4, rtol=0)


def test_parts_must_match():
    with pytest.raises(InputError, match="3 means, 2 deviations and 3 weights"):
        exact.Mixture(torch.zeros(3), torch.zeros(2), torch.ones(3))
