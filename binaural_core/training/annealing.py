"""Scheduled sampling: how often the vocoder hears a predicted mel instead of the true one (Bengio et al. 2015).

Two schedules, both functions of the epoch: the piecewise one of the original system and its linear short form.
"""

from itertools import pairwise


def piecewise(epoch: float) -> float:
    """0 to 20 % over epochs 0-200, to 50 % by 500, to 80 % by 1000, then constant."""
    corners = ((0.0, 0.0), (200.0, 0.2), (500.0, 0.5), (1000.0, 0.8))
    for (from_epoch, low), (to_epoch, high) in pairwise(corners):
        if epoch < to_epoch:
            return low + (high - low) * max(epoch - from_epoch, 0.0) / (to_epoch - from_epoch)
    return corners[-1][1]


def linear(epoch: float, total: float) -> float:
    """min(0.8, 0.8 epoch / total)."""
    return min(0.8, 0.8 * epoch / total)
