"""From the mono mel to both ears by flow matching: a straight bridge whose start already knows most of the answer.

A point starts at the noised mono, x_0 = mono + sigma e, and moves in time t from 0 to 1 to the target x_1 along x_t =
(1 - t) x_0 + t x_1 (Lipman et al. 2022; Liu et al. 2022). A network learns the velocity x_1 - x_0, and sampling
integrates it. Times here run towards the data, against diffusion's.
"""

from collections.abc import Callable

from torch import Tensor

from binaural_core.errors import need

Velocity = Callable[[Tensor, float], Tensor]
Watch = Callable[[float, Tensor, Tensor], None]


def start(mono_B1MF: Tensor, noise_BEMF: Tensor, sigma: float) -> Tensor:
    """x_0 = mono + sigma e for both ears, (B, E, M, F). The noise is never the target's own."""
    return mono_B1MF + sigma * noise_BEMF


def point(x_0: Tensor, x_1: Tensor, t_B: Tensor) -> Tensor:
    """x_t = (1 - t) x_0 + t x_1 (Liu et al. 2022, eq. 1)."""
    t = t_B.to(x_1).reshape(-1, *(1,) * (x_1.ndim - 1))
    return (1 - t) * x_0 + t * x_1


def velocity(x_0: Tensor, x_1: Tensor) -> Tensor:
    """dx_t/dt = x_1 - x_0, the same all along the bridge."""
    return x_1 - x_0


def velocity_towards(x_1: Tensor, x_t: Tensor, t_B: Tensor) -> Tensor:
    """The velocity at x_t of the bridge that ends at x_1: (x_1 - x_t) / (1 - t), t below 1.

    A network may thus name the end instead of the velocity. It need not copy the start's noise into its output to the
    last digit, and what it does not know comes out as an average instead of as noise.
    """
    return (x_1 - x_t) / (1 - t_B.to(x_t).reshape(-1, *(1,) * (x_t.ndim - 1)))


def euler(field: Velocity, x_0: Tensor, steps: int, *, watch: Watch | None = None) -> Tensor:
    """Integrate dx/dt = field(x, t) from 0 to 1 in ``steps`` even steps, one evaluation each.

    watch(t, x, x_1) sees the point before each step and where the velocity says it will end.
    """
    x = x_0
    for i in range(_checked(steps)):
        t, h = i / steps, 1 / steps
        slope = field(x, t)
        if watch:
            watch(t, x, x + (1 - t) * slope)
        x = x + h * slope
    return x


def midpoint(field: Velocity, x_0: Tensor, steps: int, *, watch: Watch | None = None) -> Tensor:
    """As `euler`, but each step follows the velocity half way along: second order, two evaluations a step."""
    x = x_0
    for i in range(_checked(steps)):
        t, h = i / steps, 1 / steps
        slope = field(x, t)
        if watch:
            watch(t, x, x + (1 - t) * slope)
        x = x + h * field(x + h / 2 * slope, t + h / 2)
    return x


def _checked(steps: int) -> int:
    need(steps >= 1, f"{steps} steps over the bridge", why="nothing would be generated", fix="give 1 or more")
    return steps
