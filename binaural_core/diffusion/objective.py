"""The training loss of diffusion: noise the data, let the network say what was done, weigh its error.

All functions keep the samples apart: losses are (B,), so that a clip that goes wrong can be named.
"""

from typing import Literal

from torch import Tensor

from binaural_core.diffusion.parameterization import Prediction
from binaural_core.diffusion.schedule import Schedule

Distance = Literal["l1", "l2"]


def q_sample(x_0: Tensor, noise: Tensor, t: int | Tensor, schedule: Schedule) -> Tensor:
    """x_t = a_t x_0 + b_t e (Ho et al. 2020, eq. 4); t is one step or one per sample (B,)."""
    a, b = schedule.signal_noise(t, x_0)
    return a * x_0 + b * noise


def distance(prediction: Tensor, wanted: Tensor, kind: Distance, weight: Tensor | None = None) -> Tensor:
    """Mean absolute (l1) or squared (l2) error of each sample, (B,).

    weight : broadcasts against the prediction; the mean is weighted by it.
    """
    error = prediction.float() - wanted.float()
    error = error.abs() if kind == "l1" else error.square()
    if weight is None:
        return error.flatten(1).mean(dim=1)
    weight = weight.to(error).expand_as(error)
    return (weight * error).flatten(1).sum(dim=1) / weight.flatten(1).sum(dim=1).clamp(min=1e-8)


def min_snr_weight(log_snr: Tensor, predicts: Prediction, gamma: float = 5.0) -> Tensor:
    """Loss weight per step, the same on x_0 whatever is predicted (Hang et al. 2023, 2303.09556, sec. 3.4)."""
    snr = log_snr.exp()
    clipped = snr.clamp(max=gamma)
    if predicts == "x0":
        return clipped
    return clipped / snr if predicts == "noise" else clipped / (snr + 1)


def p2_weight(log_snr: Tensor, gamma: float = 1.0, k: float = 1.0) -> Tensor:
    """Loss weight of noise prediction that favours middling noise: 1 / (k + SNR)^gamma (Choi et al. 2022, eq. 8)."""
    return (k + log_snr.exp()) ** -gamma
