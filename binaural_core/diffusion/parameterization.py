"""What a diffusion network predicts, and the exact way from one prediction to another.

With x_t = a x_0 + b e (`schedule`), a network may name the noise e, the data x_0, or the velocity v = a e - b x_0
(Salimans & Ho 2022, sec. 4). Given x_t each determines the other two. At the noisy end a is tiny: x_0 from predicted
noise divides by it and multiplies the network's error by 1 / a (20,291 at the last step of the cosine schedule); v
does not.
"""

from typing import Literal

from torch import Tensor

from binaural_core.diffusion.schedule import Schedule
from binaural_core.errors import need

Prediction = Literal["noise", "x0", "v"]


def target(x_0: Tensor, noise: Tensor, t: int | Tensor, schedule: Schedule, predicts: Prediction) -> Tensor:
    """What a network that ``predicts`` should say at step t."""
    if predicts == "noise":
        return noise
    if predicts == "x0":
        return x_0
    a, b = schedule.signal_noise(t, x_0)
    return a * noise - b * x_0  # Salimans & Ho 2022, sec. 4


def to_x0(output: Tensor, x_t: Tensor, t: int | Tensor, schedule: Schedule, predicts: Prediction) -> Tensor:
    """The clean data that the network's output stands for.

    Raises InputError when noise is predicted where the schedule leaves no signal.
    """
    if predicts == "x0":
        return output
    a, b = schedule.signal_noise(t, x_t)
    if predicts == "v":
        return a * x_t - b * output
    need(
        bool((a > 0).all()),
        "noise prediction at a step with no signal left",
        why="x_t is then the noise itself and says nothing about the data",
        fix='predict "v" or "x0" with a zero-terminal-SNR schedule',
    )
    return (x_t - b * output) / a


def to_noise(x_0: Tensor, x_t: Tensor, t: int | Tensor, schedule: Schedule) -> Tensor:
    """The noise that turns x_0 into x_t; t must not be CLEAN."""
    a, b = schedule.signal_noise(t, x_t)
    return (x_t - a * x_0) / b


def convert(
    output: Tensor, x_t: Tensor, t: int | Tensor, schedule: Schedule, *, given: Prediction, wanted: Prediction
) -> Tensor:
    """One prediction said as another."""
    if given == wanted:
        return output
    x_0 = to_x0(output, x_t, t, schedule, given)
    if wanted == "x0":
        return x_0
    noise = output if given == "noise" else to_noise(x_0, x_t, t, schedule)
    return target(x_0, noise, t, schedule, wanted)
