"""What the loop asks of whoever is trained: a `Stage` with its players, and `Data` in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from binaural_core.seeds import stream

if TYPE_CHECKING:
    from binaural_core.training.state import State


@dataclass(frozen=True)
class Draw:
    """Hands out one generator per sample of a batch: ``draw("noise")``."""

    seed: int
    epoch: int
    indices: Sequence[int]

    def __call__(self, purpose: str) -> list[torch.Generator]:
        return [stream(self.seed, purpose, self.epoch, index) for index in self.indices]


@dataclass(frozen=True)
class Player:
    """One optimizer and the loss it lowers; ``loss(work)`` returns named scalars, 'total' the one to lower."""

    name: str
    groups: list[dict[str, Any]]  # AdamW parameter groups with their own "lr"
    loss: Callable[[Any], dict[str, Tensor]]
    clip_norm: float
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    from_step: int = 0  # sits out until then
    clip_apart: Mapping[str, list[nn.Parameter]] = field(default_factory=dict)  # by name; empty: all clipped together
    early_clip: tuple[float, int] | None = None  # (norm, until this step): clipped lower at the beginning
    moments: Callable[[], dict[int, Any]] | None = (
        None  # what a new run's optimizer begins with: AdamW's state by index
    )

    @property
    def parameters(self) -> list[nn.Parameter]:
        return [p for group in self.groups for p in group["params"]]

    @property
    def clipped(self) -> Mapping[str, list[nn.Parameter]]:
        """What is clipped together, by the name of its gradient's norm in the log."""
        return {f"gradient_norm_{k}": v for k, v in self.clip_apart.items()} or {"gradient_norm": self.parameters}

    def clip_norm_at(self, step: int) -> float:
        norm, until = self.early_clip or (self.clip_norm, 0)
        return norm if step < until else self.clip_norm


@dataclass
class Shown:
    """What TensorBoard gets to see and to hear at a validation."""

    pictures: dict[str, Figure] = field(default_factory=dict)
    sounds: dict[str, tuple[np.ndarray, int]] = field(default_factory=dict)  # name -> (2, N) and its rate in Hz


class Batch(Protocol):
    """What the loop asks of a batch."""

    clip_ids: tuple[str, ...]
    indices: tuple[int, ...]

    def to(self, device: torch.device) -> Batch: ...

    def __len__(self) -> int: ...


class Stage(Protocol):
    """What differs between the stages."""

    modules: Mapping[str, nn.Module]  # everything that has weights
    averaged: Sequence[str]  # the modules whose moving average is validated and kept as the best
    players: Sequence[Player]  # in the order they move
    best_by: str  # the validation measure that decides, lower is better

    def inputs(self, batch: Batch) -> Mapping[str, Tensor]:
        """What of a batch must be finite, each with one row per clip."""

    def prepare(self, batch: Batch, draw: Draw, step: int) -> Any:
        """Everything the players' losses share: mels, drawn noise, the generator's output.

        What it returns has ``watched``, a dict of named tensors that must be finite; a loss may add to it.
        """

    def validate(self, batch: Batch, draw: Draw) -> dict[str, float | tuple[float, float]]:
        """Measures of a batch, means over its samples; (mean, over how many) where it is not defined for all."""

    def show(self, batch: Batch, draw: Draw) -> Shown: ...

    def export(self, folder: Path, tag: str, weights: Mapping[str, dict[str, Tensor]], state: State) -> list[Path]:
        """Write weight files a user loads; ``tag`` is 'latest', 'best' or the epoch in six digits."""


class Data(Protocol):
    """Batches by epoch; the same epoch gives the same batches, from any of them on. In many processes each has a share."""

    batches_per_epoch: int

    def training(self, epoch: int, start_batch: int) -> Iterable[Batch]: ...

    def validation(self) -> Iterable[Batch]: ...
