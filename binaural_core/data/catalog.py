"""One door to every data set: a `DatasetConfig` and a split in, clips out.

Kinds: ``fairplay``, ``realbinaural``, ``scenes`` (rendered on the fly), and ``mix`` of several.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from binaural_core.config import Config
from binaural_core.data import fair_play, real_binaural, rendered
from binaural_core.data.config import DataConfig
from binaural_core.data.sample import Clip
from binaural_core.errors import need

Kind = Literal["fairplay", "realbinaural", "scenes", "mix"]


@dataclass(frozen=True, kw_only=True)
class DatasetPart(Config):
    """One member of a mix and its share of an epoch's windows."""

    kind: Literal["fairplay", "realbinaural", "scenes"] = "scenes"
    root: str | None = None
    split_name: str = "split1"
    share: float | None = None
    """Weight of this part beside the others'; None for all: as many windows as each has clips."""

    def validate(self) -> None:
        need(
            self.share is None or self.share > 0,
            f"share={self.share}",
            why="the part would be empty",
            fix="give a number above 0, or leave the part out",
        )


@dataclass(frozen=True, kw_only=True)
class DatasetConfig(Config):
    """Which recordings to take."""

    kind: Kind = "scenes"
    root: str | None = None
    """Folder of a recorded data set."""
    split_name: str = "split1"
    """FAIR-Play's: split1 … split10, or new_splits/split1 … 5."""
    list_train: str | None = None
    """A list (csv, txt, h5) instead of the data set's own; likewise list_val and list_test."""
    list_val: str | None = None
    list_test: str | None = None
    scenes: dict[str, int] = field(default_factory=lambda: {"train": 400, "val": 24, "test": 40})
    """How many scenes are rendered for each split."""
    scenes_seed: int = 0
    rendered: rendered.RenderedConfig = rendered.RenderedConfig()
    parts: tuple[DatasetPart, ...] = ()
    """The members of a mix."""

    def validate(self) -> None:
        need(
            self.kind not in ("fairplay", "realbinaural") or self.root is not None,
            f"the data set {self.kind} has no root",
            why="its files lie in a folder of yours",
            fix="give --data_root",
        )
        need(
            self.kind != "mix" or len(self.parts) > 0,
            "the mix has no parts",
            why="it is made of other data sets",
            fix="list at least one under parts",
        )
        need(
            len({part.share is None for part in self.parts}) <= 1,
            "some parts of the mix have a share and some have none",
            why="shares are compared with each other",
            fix="give one for all of them, or for none",
        )

    @property
    def members(self) -> tuple[DatasetConfig, ...]:
        """The data sets of a mix as data sets of their own; without a mix, this one alone."""
        if self.kind != "mix":
            return (self,)
        own = ({"kind": part.kind, "root": part.root, "split_name": part.split_name} for part in self.parts)
        return tuple(self.replace(parts=(), **changes) for changes in own)


def open_clips(dataset: DatasetConfig, split: str, data: DataConfig) -> list[Clip]:
    """The clips of a split. Raises InputError when folders or lists are missing."""
    if dataset.kind == "mix":
        return [clip for member in dataset.members for clip in open_clips(member, split, data)]
    if dataset.kind == "scenes":
        need(
            split in dataset.scenes,
            f"no number of scenes is given for the split {split!r}",
            why=f"scenes are rendered for {', '.join(dataset.scenes)}",
            fix=f"add {split} to dataset.scenes",
        )
        return list(rendered.clips(split, dataset.scenes[split], dataset.scenes_seed, dataset.rendered))
    listed = {"train": dataset.list_train, "val": dataset.list_val, "test": dataset.list_test}.get(split)
    wanted = {"list_file": listed, "fps": data.fps, "columns": data.detection_columns}
    if dataset.kind == "fairplay":
        return list(fair_play.clips(Path(dataset.root), split, split_name=dataset.split_name, **wanted))
    return list(real_binaural.clips(Path(dataset.root), split, **wanted))


def find_clip(clips: Sequence[Clip], clip_id: str) -> Clip:
    """The clip of that name. Raises InputError that lists what there is."""
    found = [clip for clip in clips if clip.clip_id == clip_id]
    need(
        bool(found),
        f"there is no clip {clip_id!r}",
        why=f"there are {', '.join(c.clip_id for c in clips[:8])}{' …' if len(clips) > 8 else ''}",
        fix="choose one of them",
    )
    return found[0]
