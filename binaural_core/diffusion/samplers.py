"""From noise to data with a trained denoiser.

Every sampler has one signature: ``denoise(x, t) -> x_0``, the noise ``x_T``, the steps to visit (falling, as
`schedule.trailing` or `schedule.log_sigma` make them; data comes after the last), the schedule, then by keyword a
``generator`` for what is random and a ``watch(t, x, x_0)`` called before each step is taken. Nothing is kept between
calls.

| sampler | order | evaluations | random | grid |
|---|---|---|---|---|
| ddpm | 1 | n | yes | all steps, or any |
| ddim | 1 | n | for eta > 0 | trailing |
| dpmpp_2m | 2 | n | no | log_sigma |
| heun | 2 | 2n - 1 | no | log_sigma |
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from binaural_core.diffusion.noise import NoiseSource, normal
from binaural_core.diffusion.parameterization import to_noise
from binaural_core.diffusion.schedule import CLEAN, Schedule
from binaural_core.errors import InputError

Denoise = Callable[[Tensor, int], Tensor]
Watch = Callable[[int, Tensor, Tensor], None]


def ddpm(
    denoise: Denoise,
    x_T: Tensor,
    steps: Sequence[int],
    schedule: Schedule,
    *,
    generator: NoiseSource = None,
    watch: Watch | None = None,
) -> Tensor:
    """Ancestral sampling from the posterior q(x_next | x_t, x_0) (Ho et al. 2020, alg. 2); any falling steps."""
    x = x_T
    for t, t_next in _pairs(steps, schedule):
        x_0 = denoise(x, t)
        if watch:
            watch(t, x, x_0)
        c_0, c_t, variance = schedule.posterior(t, t_next)  # eq. 7
        x = c_0 * x_0 + c_t * x
        if variance > 0:
            x = x + variance**0.5 * normal(generator, x)
    return x


def ddim(
    denoise: Denoise,
    x_T: Tensor,
    steps: Sequence[int],
    schedule: Schedule,
    *,
    eta: float = 0.0,
    clip: float | None = None,
    keep_noise: bool = False,
    generator: NoiseSource = None,
    watch: Watch | None = None,
) -> Tensor:
    """Denoising diffusion implicit sampling (Song et al. 2020, eq. 12): eta 0 is deterministic, 1 as random as DDPM.

    clip : x_0 is clipped to +-clip at every step. The noise is then derived again from the clipped x_0, unless
    ``keep_noise`` holds on to what the network said.
    """
    x = x_T
    for t, t_next in _pairs(steps, schedule):
        x_0 = denoise(x, t)
        if watch:
            watch(t, x, x_0)
        x = ddim_step(x, x_0, t, t_next, schedule, eta=eta, clip=clip, keep_noise=keep_noise, generator=generator)
    return x


def ddim_step(
    x: Tensor,
    x_0: Tensor,
    t: int,
    t_next: int,
    schedule: Schedule,
    *,
    eta: float = 0.0,
    clip: float | None = None,
    keep_noise: bool = False,
    generator: NoiseSource = None,
) -> Tensor:
    """One step of `ddim` from t to any cleaner t_next."""
    said = x_0
    if clip is not None:
        x_0 = x_0.clamp(-clip, clip)
    noise = to_noise(said if keep_noise else x_0, x, t, schedule)
    a_next, _ = schedule.signal_noise(t_next, x)
    _, _, variance = schedule.posterior(t, t_next)
    left = 1 - schedule.alpha_bar[t_next].item() if t_next != CLEAN else 0.0  # b_next²
    variance = eta**2 * variance  # eq. 16
    x = a_next * x_0 + max(left - variance, 0.0) ** 0.5 * noise  # eq. 12
    return x + variance**0.5 * normal(generator, x) if variance > 0 else x


def dpmpp_2m(
    denoise: Denoise,
    x_T: Tensor,
    steps: Sequence[int],
    schedule: Schedule,
    *,
    generator: NoiseSource = None,
    watch: Watch | None = None,
) -> Tensor:
    """DPM-Solver++ 2M (Lu et al. 2022, 2211.01095, alg. 2): one evaluation per step.

    The x_0 of the step before gives the second order. Deterministic; ``generator`` is there for the common signature.
    """
    half_log_snr = 0.5 * schedule.log_snr  # lambda
    x, before, h_before = x_T, None, None
    for t, t_next in _pairs(steps, schedule):
        x_0 = denoise(x, t)
        if watch:
            watch(t, x, x_0)
        if t_next == CLEAN:
            return x_0  # lambda is infinite there: only the first-order step has a limit, and it is x_0
        (_, b), (a_next, b_next) = schedule.signal_noise(t, x), schedule.signal_noise(t_next, x)
        h = (half_log_snr[t_next] - half_log_snr[t]).item()
        extrapolated = x_0 if before is None else x_0 + (x_0 - before) * (h / (2 * h_before))  # D_i, r = h_before / h
        x = b_next / b * x - a_next * torch.expm1(torch.tensor(-h, dtype=torch.float64)).item() * extrapolated
        before, h_before = x_0, h
    return x


def heun(
    denoise: Denoise,
    x_T: Tensor,
    steps: Sequence[int],
    schedule: Schedule,
    *,
    generator: NoiseSource = None,
    watch: Watch | None = None,
) -> Tensor:
    """Heun's method on dz/dsigma = (z - x_0) / sigma with z = x / a (Karras et al. 2022, alg. 1).

    Two evaluations per step, one for the last. Deterministic; ``generator`` is there for the common signature.
    """
    x = x_T
    for t, t_next in _pairs(steps, schedule):
        x_0 = denoise(x, t)
        if watch:
            watch(t, x, x_0)
        if t_next == CLEAN:
            return x_0  # the Euler step to sigma = 0
        (a, b), (a_next, b_next) = schedule.signal_noise(t, x), schedule.signal_noise(t_next, x)
        if a == 0:  # sigma is infinite: only the first-order step has a limit
            x = ddim_step(x, x_0, t, t_next, schedule)
            continue
        sigma, sigma_next = b / a, b_next / a_next
        z = x / a
        slope = (z - x_0) / sigma
        guess = z + (sigma_next - sigma) * slope
        slope_next = (guess - denoise(guess * a_next, t_next)) / sigma_next
        x = (z + (sigma_next - sigma) * (slope + slope_next) / 2) * a_next
    return x


def clipped(denoise: Denoise, limit: float = 1.0) -> Denoise:
    """The denoiser with its x_0 clipped to +-limit, for any sampler."""
    return lambda x, t: denoise(x, t).clamp(-limit, limit)


def _pairs(steps: Sequence[int], schedule: Schedule) -> list[tuple[int, int]]:
    """(step, next step) down to the data. Raises InputError when the steps do not fall or leave the schedule."""
    steps = [int(t) for t in steps]
    falls = all(t > t_next for t, t_next in pairwise(steps))
    if not steps or not falls or steps[0] >= len(schedule) or steps[-1] < 0:
        raise InputError(
            f"the sampling steps are {steps}",
            why=f"a sampler goes from noisy to clean through steps of its schedule, {len(schedule) - 1} … 0",
            fix="give falling steps, such as schedule.trailing(25, schedule)",
        )
    return list(pairwise([*steps, CLEAN]))
