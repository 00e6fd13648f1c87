"""NaN and infinity in training: found, named, the step skipped and counted; never replaced by zero.

After ``patience`` skipped steps in a row training stops, because weights that keep giving NaN do not recover.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from binaural_core.errors import InputError

log = logging.getLogger(__name__)


def first_nonfinite(tensors: Mapping[str, Tensor]) -> str | None:
    """The name of the first tensor that holds NaN or infinity, or None."""
    return next((name for name, value in tensors.items() if not torch.isfinite(value).all()), None)


@dataclass
class Stabilizer:
    """Counts skipped steps and stops when too many come in a row."""

    patience: int
    skipped: int = 0
    in_a_row: int = 0

    def sound(self, tensors: Mapping[str, Tensor], clip_ids: Iterable[str], step: int) -> bool:
        """True when every tensor is finite; else the step is to be skipped. Raises InputError when patience ends."""
        culprit = first_nonfinite(tensors)
        if culprit is None:
            return True
        self.skipped += 1
        self.in_a_row += 1
        clips = ", ".join(dict.fromkeys(clip_ids))
        log.warning("step %d skipped: %s is not finite (clips %s)", step, culprit, clips)
        if self.in_a_row >= self.patience:
            raise InputError(
                f"training stopped at step {step}: {culprit} was not finite {self.in_a_row} steps in a row",
                why=f"the weights or the data are broken (last clips: {clips})",
                fix="lower the learning rate or the clipping norm, look at those clips, and resume from the last checkpoint",
            )
        return False

    def step_done(self) -> None:
        self.in_a_row = 0
