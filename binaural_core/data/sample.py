"""The types that flow from a data layout to a network: `Clip` -> `Sample` -> `Batch`.

A layout lists clips; a clip gives sound and pictures for any stretch of time; `loading` cuts a window out of it, turns
the pictures into object crops and collates samples into a batch. Letters: see `binaural_core.shapes`.

Conventions: waves float32 in [-1, 1], row 0 the left ear; image positions in [0, 1], x right, y down; positions azimuth
(degrees, positive left), elevation (degrees), distance (metres), NaN where unknown; mask True = nothing there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from binaural_core.scene.view import View


@runtime_checkable
class Clip(Protocol):
    """One recording with its pictures. Reads lazily; raises InputError naming the file when something is broken."""

    clip_id: str
    duration_s: float

    def sound(self, start_s: float, duration_s: float, sample_rate_hz: int) -> tuple[np.ndarray, np.ndarray | None]:
        """(mono_N, binaural_EN or None), float32, exactly round(duration_s * sample_rate_hz) samples."""
        ...

    def look(self, times_s: Sequence[float]) -> list[View]:
        """The picture nearest to each time (seconds from the clip's start) with what is known of its objects."""
        ...


@dataclass(frozen=True)
class Sight:
    """What the visual network sees of one window: O object crops in each of L pictures, evenly over the window."""

    crops_LOCHW: np.ndarray  # float32, ImageNet-normalised RGB
    image_positions_LO2: np.ndarray  # float32, centre of each crop
    positions_LO3: np.ndarray  # float32, NaN where unknown
    mask_LO: np.ndarray  # bool, True = nothing there


@dataclass(frozen=True)
class Sample:
    """One training or evaluation window."""

    clip_id: str
    start_s: float
    mono_N: np.ndarray
    binaural_EN: np.ndarray | None
    sight: Sight
    index: int = 0  # position in the dataset: the key of this sample's random streams


@dataclass(frozen=True)
class Batch:
    """B windows as tensors on one device."""

    clip_ids: tuple[str, ...]
    starts_s: tuple[float, ...]
    indices: tuple[int, ...]
    mono_BN: Tensor
    binaural_BEN: Tensor | None
    crops_BLOCHW: Tensor
    image_positions_BLO2: Tensor
    positions_BLO3: Tensor
    mask_BLO: Tensor

    def __len__(self) -> int:
        return len(self.clip_ids)

    def to(self, device: str | torch.device) -> Batch:
        moved = {
            f.name: getattr(self, f.name).to(device, non_blocking=True)
            for f in fields(self)
            if isinstance(getattr(self, f.name), Tensor)
        }
        return replace(self, **moved)

    @property
    def sight(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The visual network's arguments, in its order."""
        return self.crops_BLOCHW, self.image_positions_BLO2, self.positions_BLO3, self.mask_BLO


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack samples of one shape into a batch. ``binaural_BEN`` is None when any sample has no reference."""

    def stacked(arrays) -> Tensor:
        return torch.from_numpy(np.stack(list(arrays)))

    has_reference = all(s.binaural_EN is not None for s in samples)
    return Batch(
        clip_ids=tuple(s.clip_id for s in samples),
        starts_s=tuple(s.start_s for s in samples),
        indices=tuple(s.index for s in samples),
        mono_BN=stacked(s.mono_N for s in samples),
        binaural_BEN=stacked(s.binaural_EN for s in samples) if has_reference else None,
        crops_BLOCHW=stacked(s.sight.crops_LOCHW for s in samples),
        image_positions_BLO2=stacked(s.sight.image_positions_LO2 for s in samples),
        positions_BLO3=stacked(s.sight.positions_LO3 for s in samples),
        mask_BLO=stacked(s.sight.mask_LO for s in samples),
    )
