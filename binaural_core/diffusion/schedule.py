"""How much signal and how much noise there is at every diffusion step.

Step t of T mixes data and noise as x_t = a_t x_0 + b_t e with a_t² = alpha_bar_t and b_t² = 1 - alpha_bar_t (Ho et
al. 2020, eq. 4). t runs from 0 (almost clean) to T - 1 (almost only noise); `CLEAN` = -1 is the data itself. Tables
are float64, for b_t is a difference of nearly equal numbers at both ends; what leaves them has the dtype of the
tensor it will multiply.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import cos, exp, pi

import torch
from torch import Tensor

from binaural_core.errors import need

CLEAN = -1
LARGEST_BETA = 0.999


@dataclass(frozen=True, eq=False)
class Schedule:
    """alpha_bar_t for t = 0 … T - 1, float64 (T,), falling from about 1 to about 0."""

    alpha_bar: Tensor

    def __len__(self) -> int:
        return len(self.alpha_bar)

    @cached_property
    def betas(self) -> Tensor:
        """Noise added at each step: 1 - alpha_bar_t / alpha_bar_{t-1}."""
        before = torch.cat([torch.ones(1, dtype=torch.float64), self.alpha_bar[:-1]])
        return 1 - self.alpha_bar / before

    @cached_property
    def log_snr(self) -> Tensor:
        """ln(a_t² / b_t²), the natural clock of diffusion (Kingma et al. 2021, sec. 3.1)."""
        return torch.log(self.alpha_bar) - torch.log1p(-self.alpha_bar)

    @cached_property
    def sigma(self) -> Tensor:
        """b_t / a_t: the noise level where the signal is not scaled (Karras et al. 2022)."""
        return torch.exp(-0.5 * self.log_snr)

    @cached_property
    def _with_clean(self) -> Tensor:
        """alpha_bar with 1 appended, so that index `CLEAN` = -1 finds it."""
        return torch.cat([self.alpha_bar, torch.ones(1, dtype=torch.float64)])

    def signal_noise(self, t: int | Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """(a_t, b_t) in the dtype of ``like``, shaped to multiply it; t is one step, or one per sample (B,)."""
        alpha_bar = self._with_clean[t.cpu() if isinstance(t, Tensor) else t].to(like.device)
        alpha_bar = alpha_bar.reshape(alpha_bar.shape + (1,) * (like.ndim - alpha_bar.ndim))
        return alpha_bar.sqrt().to(like.dtype), (1 - alpha_bar).sqrt().to(like.dtype)

    def posterior(self, t: int, t_next: int) -> tuple[float, float, float]:
        """q(x_next | x_t, x_0) = N(c_0 x_0 + c_t x_t, variance), as (c_0, c_t, variance) (Ho et al. 2020, eq. 6-7).

        t_next is any cleaner step, not only t - 1.
        """
        now, then = self._with_clean[t].item(), self._with_clean[t_next].item()
        step = now / then  # alpha of the one step from t_next to t
        c_0 = then**0.5 * (1 - step) / (1 - now)
        c_t = step**0.5 * (1 - then) / (1 - now)
        return c_0, c_t, (1 - step) * (1 - then) / (1 - now)


def from_betas(betas: Tensor) -> Schedule:
    return Schedule(torch.cumprod(1 - betas.to(torch.float64), dim=0))


def linear(steps: int = 1000) -> Schedule:
    """Betas rise linearly from 1e-4 to 0.02 at 1000 steps, scaled for other counts (Ho et al. 2020, sec. 4)."""
    scale = 1000 / _checked(steps)
    return from_betas(torch.linspace(1e-4 * scale, 0.02 * scale, steps, dtype=torch.float64).clamp(max=LARGEST_BETA))


def cosine(steps: int = 1000, s: float = 0.008) -> Schedule:
    """alpha_bar follows a squared cosine (Nichol & Dhariwal 2021, eq. 17), betas capped at 0.999."""
    return _from_curve(lambda u: cos((u + s) / (1 + s) * pi / 2) ** 2, steps)


def sigmoid(steps: int = 1000, start: float = -3.0, end: float = 3.0, tau: float = 1.0) -> Schedule:
    """alpha_bar follows a falling sigmoid (Jabri et al. 2022, sec. 3), betas capped at 0.999."""

    def logistic(u: float) -> float:
        return 1 / (1 + exp(-u / tau))

    return _from_curve(lambda u: logistic(end) - logistic(start + u * (end - start)), steps)


def zero_terminal_snr(schedule: Schedule) -> Schedule:
    """Shift and scale a_t so that the last step is pure noise and the first keeps its level (Lin et al. 2023, alg. 1).

    A network that predicts noise cannot start there: use v or x0.
    """
    a = schedule.alpha_bar.sqrt()
    return Schedule(((a - a[-1]) * a[0] / (a[0] - a[-1])) ** 2)


def _from_curve(alpha_bar: Callable[[float], float], steps: int) -> Schedule:
    """The schedule whose alpha_bar is proportional to a curve over u in [0, 1], as far as the cap on betas allows."""
    curve = torch.tensor([alpha_bar(i / _checked(steps)) for i in range(steps + 1)], dtype=torch.float64)
    return from_betas((1 - curve[1:] / curve[:-1]).clamp(max=LARGEST_BETA))


def _checked(steps: int) -> int:
    need(
        steps >= 2,
        f"a schedule of {steps} steps",
        why="diffusion needs at least two noise levels",
        fix="give 2 or more",
    )
    return steps


def _sized(count: int, schedule: Schedule) -> int:
    need(
        1 <= count <= len(schedule),
        f"{count} sampling steps out of {len(schedule)}",
        why="a sampler visits each step of its schedule at most once",
        fix=f"give 1 to {len(schedule)} steps",
    )
    return count


def trailing(count: int, schedule: Schedule) -> list[int]:
    """``count`` even steps counted back from T - 1, the last step included (Lin et al. 2023, table 2)."""
    stride = len(schedule) / _sized(count, schedule)
    return [round(len(schedule) - i * stride) - 1 for i in range(count)]


def leading(count: int, schedule: Schedule) -> list[int]:
    """``count`` even steps counted up from 0; the noisiest ones are never visited."""
    stride = len(schedule) // _sized(count, schedule)
    return [i * stride for i in reversed(range(count))]


def linspace(count: int, schedule: Schedule) -> list[int]:
    """``count`` even steps from T - 1 down to 0, both included."""
    top, gaps = len(schedule) - 1, _sized(count, schedule) - 1
    return [round(top * i / gaps) for i in reversed(range(count))] if gaps else [top]


def log_sigma(count: int, schedule: Schedule, high: float = 10.0, low: float = 0.03) -> list[int]:
    """``count`` steps evenly spaced in ln sigma from ``high`` to ``low``, each moved to the schedule's nearest.

    The grid for solvers of higher order: with 10 steps it beats 25 even ones. Steps that fall together are visited
    once.
    """
    wanted = torch.linspace(_log(high), _log(low), _sized(count, schedule), dtype=torch.float64)
    nearest = (torch.log(schedule.sigma)[None, :] - wanted[:, None]).abs().argmin(dim=1)
    return sorted(set(nearest.tolist()), reverse=True)


def _log(value: float) -> float:
    need(value > 0, f"sigma = {value}", why="the grid is even in ln sigma", fix="give a positive noise level")
    return float(torch.tensor(value, dtype=torch.float64).log())
