"""Denoisers known in closed form: what a network would say that had learned its data perfectly.

In squared error nothing beats the posterior mean E[x_0 | x_t] (Tweedie's formula; Efron 2011). For a mixture of
Gaussians it is a formula, and three targets are mixtures: a Gaussian (one part); a few real mels (a part of deviation
0 for each), whose denoiser needs no training and can only return those mels; the same mels blurred, which have a
spread to get right. Samplers are measured against them, and the course looks through them.

A sample's axes after the first count as one vector of D numbers, each with the same deviation in a part.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from binaural_core.diffusion.bridge import Velocity, velocity_towards
from binaural_core.diffusion.samplers import Denoise
from binaural_core.diffusion.schedule import Schedule
from binaural_core.errors import need

NEGLIGIBLE = 1e-20  # weights that change no digit; times a mel they make denormal numbers, many times slower to add


@dataclass(frozen=True, eq=False)
class Mixture:
    """Data that is mean k with probability ``weights_K[k]``, plus normal noise of ``deviations_K[k]`` in each number.

    means : (K, …), the axes of one sample after the first.
    """

    means: Tensor
    deviations_K: Tensor
    weights_K: Tensor

    def __post_init__(self) -> None:
        parts = (len(self.means),)
        need(
            self.deviations_K.shape == self.weights_K.shape == parts,
            f"{len(self.means)} means, {len(self.deviations_K)} deviations and {len(self.weights_K)} weights",
            why="every part of a mixture has one of each",
            fix="give as many deviations and weights as means",
        )

    def to(self, like: Tensor) -> "Mixture":
        return Mixture(self.means.to(like), self.deviations_K.to(like), self.weights_K.to(like))


def gaussian(mean: float, deviation: float) -> Mixture:
    """One number with a normal distribution, in float64."""
    one_K = torch.ones(1, dtype=torch.float64)
    return Mixture(mean * one_K, deviation * one_K, one_K)


def samples(means: Tensor, deviation: float = 0.0) -> Mixture:
    """Each of K samples (K, …) equally often; ``deviation`` blurs them."""
    each_K = torch.ones(len(means)).to(means)
    return Mixture(means, deviation * each_K, each_K / len(means))


def posterior_weights(data: Mixture, x_t: Tensor, a: float, b: float) -> Tensor:
    """p(part k | x_t) where x_t = a x_0 + b e, by Bayes' rule, (B, K).

    A softmax of squared distances, where the deviations agree.
    """
    data = data.to(x_t)
    x_BD, means_KD = x_t.flatten(1) if x_t.ndim > 1 else x_t[:, None], data.means.reshape(len(data.means), -1)
    variances_K = a**2 * data.deviations_K**2 + b**2
    squared_BK = torch.cdist(x_BD, a * means_KD, compute_mode="donot_use_mm_for_euclid_dist").square()
    log_likelihood_BK = -0.5 * (means_KD.shape[1] * variances_K.log() + squared_BK / variances_K)
    return (data.weights_K.log() + log_likelihood_BK).softmax(dim=1)


def expected(data: Mixture, x_t: Tensor, a: float, b: float) -> Tensor:
    """E[x_0 | x_t] where x_t = a x_0 + b e, b > 0: each part's own posterior mean, weighted by `posterior_weights`."""
    data, axes = data.to(x_t), (1,) * (x_t.ndim - 1)
    weights_BK = posterior_weights(data, x_t, a, b)
    weights_BK = torch.where(weights_BK < NEGLIGIBLE, 0, weights_BK)
    shrink_K = a * data.deviations_K**2 / (a**2 * data.deviations_K**2 + b**2)
    stay_K = 1 - a * shrink_K
    means = torch.einsum("bk,k...->b...", weights_BK * stay_K, data.means)
    return means + (weights_BK @ shrink_K).reshape(-1, *axes) * x_t


def denoiser(data: Mixture, schedule: Schedule) -> Denoise:
    """The perfect denoiser of diffusion: E[x_0 | x_t]."""

    def denoise(x: Tensor, t: int) -> Tensor:
        a, b = schedule.signal_noise(t, x)
        return expected(data, x, a.item(), b.item())

    return denoise


def velocity(data: Mixture, mono: Tensor, sigma: float) -> Velocity:
    """The perfect velocity of the bridge that starts at mono + sigma e: E[x_1 - x_0 | x_t] (Lipman et al. 2022, thm. 1).

    x_t - (1 - t) mono = t x_1 + (1 - t) sigma e: the diffusion question again, with a = t and b = (1 - t) sigma.
    """

    def field(x: Tensor, t: float) -> Tensor:
        end = expected(data, x - (1 - t) * mono, t, (1 - t) * sigma)
        return velocity_towards(end, x, torch.full((len(x),), t, dtype=x.dtype))

    return field
