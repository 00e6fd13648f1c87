"""NaN, infinity and spikes in training: found, named, written down; never replaced by zero in silence.

Inputs, features, losses and gradients are looked at. A step with something that is not finite is skipped and counted;
after ``patience`` such steps in a row training stops, because weights that keep giving NaN do not recover. A loss far above
its usual value is a spike: the step is taken, since its gradient is clipped, and written down with its clips; of many
processes each looks at its own share, and the first one's spikes are in the history.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from binaural_core.errors import InputError

log = logging.getLogger(__name__)
MEMORY = 0.98  # of the running mean that says what a loss usually is
SETTLING = 20  # losses after which it is known


def first_nonfinite(tensors: Mapping[str, Tensor]) -> str | None:
    """The name of the first tensor that holds NaN or infinity, or None."""
    names = list(tensors)
    if not names:
        return None
    sound = torch.stack(
        [torch.isfinite(tensors[name]).all() for name in names]
    )  # one look for all: the device waits once
    return None if sound.all() else names[int((~sound).nonzero()[0])]


def culprits(value: Tensor, clip_ids: Sequence[str]) -> list[str]:
    """The clips whose rows are not finite; all of them where a tensor has no row for each clip."""
    if value.ndim == 0 or len(value) != len(clip_ids):
        return list(dict.fromkeys(clip_ids))
    broken_B = ~torch.isfinite(value).flatten(1).all(dim=1) if value.ndim > 1 else ~torch.isfinite(value)
    return list(dict.fromkeys(clip for clip, broken in zip(clip_ids, broken_B.tolist(), strict=True) if broken))


def first_broken_gradient(modules: Mapping[str, nn.Module]) -> str | None:
    """The name of the first parameter whose gradient is not finite."""
    gradients = {
        f"{name}.{key}": p.grad
        for name, module in modules.items()
        for key, p in module.named_parameters()
        if p.grad is not None
    }
    return first_nonfinite(gradients)


@dataclass
class Stabilizer:
    """Counts skipped steps and spikes, and stops when too many steps are skipped in a row."""

    patience: int
    spike: float = 0.0
    skipped: int = 0
    in_a_row: int = 0
    spikes: int = 0
    usual: dict[str, tuple[float, int]] = field(default_factory=dict)  # running mean of each loss, how many are in it

    def sound(self, tensors: Mapping[str, Tensor], clip_ids: Sequence[str], step: int) -> bool:
        """True when every tensor is finite; else says which is not, and of which clips."""
        name = first_nonfinite(tensors)
        if name is not None:
            clips = ", ".join(culprits(tensors[name], clip_ids))
            log.warning("step %d skipped: %s is not finite (clips %s)", step, name, clips)
        return name is None

    def skip(self, step: int, clip_ids: Iterable[str]) -> None:
        """Count a skipped step. Raises InputError when patience ends."""
        self.skipped += 1
        self.in_a_row += 1
        if self.in_a_row >= self.patience:
            clips = ", ".join(dict.fromkeys(clip_ids))
            raise InputError(
                f"training stopped at step {step}: something was not finite {self.in_a_row} steps in a row",
                why=f"the weights or the data are broken; the lines above name what (last clips: {clips})",
                fix="lower the learning rate or the clipping norm, look at those clips, and resume from the last checkpoint",
            )

    def step_done(self) -> None:
        self.in_a_row = 0

    def spiked(self, player: str, loss: float, clip_ids: Iterable[str], step: int) -> bool:
        """Whether a loss is far above its usual value; then it is written down, and what is usual stays as it was."""
        mean, count = self.usual.get(player, (0.0, 0))
        if self.spike and count >= SETTLING and loss > self.spike * mean > 0:
            self.spikes += 1
            clips = ", ".join(dict.fromkeys(clip_ids))
            log.warning("step %d: the loss of %s is %.4g, usually %.4g (clips %s)", step, player, loss, mean, clips)
            return True
        if math.isfinite(loss):
            memory = min(MEMORY, count / (count + 1))
            self.usual[player] = (memory * mean + (1 - memory) * loss, count + 1)
        return False

    def state_dict(self) -> dict:
        return {"skipped": self.skipped, "in_a_row": self.in_a_row, "spikes": self.spikes, "usual": self.usual}

    def load_state_dict(self, state: dict) -> None:
        self.skipped, self.in_a_row = state["skipped"], state["in_a_row"]
        self.spikes, self.usual = state["spikes"], {k: tuple(v) for k, v in state["usual"].items()}
