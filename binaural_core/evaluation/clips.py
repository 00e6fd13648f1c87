"""Which clips are measured, and what is known of each: how many sources, where, in a room or in the open."""

from __future__ import annotations

import csv
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from binaural_core.config import Config
from binaural_core.data.catalog import DatasetConfig, open_clips
from binaural_core.data.config import DataConfig
from binaural_core.data.objects import Places
from binaural_core.data.sample import Clip
from binaural_core.data.scene_files import read_scene
from binaural_core.errors import InputError, need
from binaural_core.predicting import chosen
from binaural_core.scene.plan import Scene

STILL_DEG = 2.0
SUBSETS = ("one_source", "several_sources", "room", "open", "still", "moving")


@dataclass(frozen=True, kw_only=True)
class ClipsConfig(Config):
    """Which clips of which data set."""

    dataset: DatasetConfig = DatasetConfig()
    splits: tuple[str, ...] = ("test",)
    """Such as test; of FAIR-Play also split2/test, to have several."""
    few: int | None = None
    """So many of each split, evenly over it; None: all."""
    subset: str | None = None
    """A file with one clip a line (or a csv with a column ``clip``), or names that must all hold, such as one_source,room."""


@dataclass(frozen=True)
class Facts:
    """What is known of a clip beside its sound; empty or NaN where it is not."""

    cluster: str = ""  # what it shares with other clips: the main source's dry sound, or the video
    room: str = ""  # "room" or "open"
    motion: str = ""  # "still" or "moving": the main source
    sources: float = math.nan
    azimuth_deg: float = math.nan  # of the main source, in the middle of its way

    @property
    def names(self) -> set[str]:
        """The subsets that it belongs to."""
        count = {} if math.isnan(self.sources) else {"one_source" if self.sources == 1 else "several_sources"}
        return {name for name in (self.room, self.motion, *count) if name}


@dataclass(frozen=True)
class Listed:
    """A clip of a split, and what is known of it."""

    split: str
    clip: Clip
    facts: Facts


def listed(config: ClipsConfig) -> list[Listed]:
    """The clips. Raises InputError when there is none, or a name is not known; warns of listed clips that are in no split."""
    found, ids = [], set()
    for split in config.splits:
        split_name, slash, own = split.rpartition("/")
        dataset = config.dataset.replace(split_name=split_name) if slash else config.dataset
        clips = open_clips(dataset, own, DataConfig())
        some = [Listed(split, clip, facts(clip, dataset)) for clip in clips]
        ids |= {one.clip.clip_id for one in some}
        found += chosen(_kept(some, config.subset), config.few)
    need(
        len(found) > 0,
        f"no clip of {', '.join(config.splits)} is in the subset {config.subset!r}",
        why="there is nothing to measure",
        fix=f"choose another subset or split; clips are named like {min(ids, default='…')}",
    )
    _warn_of_strangers(config.subset, ids)
    keys = [(one.split, one.clip.clip_id) for one in found]
    twice = sorted({clip_id for split, clip_id in keys if keys.count((split, clip_id)) > 1})
    need(
        not twice,
        f"the clip {', '.join(twice[:3])} stands more than once in its split",
        why="each has its row under its name",
        fix="correct the list, or measure the members of a mix by themselves",
    )
    return found


def facts(clip: Clip, dataset: DatasetConfig) -> Facts:
    """From the clip's scene where it was rendered, else from the true places beside the data set, else from its name.

    Of a recording that cannot be read only its name is known; why is said when it is measured.
    """
    scene = getattr(clip, "scene", None) or _scene_beside(clip, dataset)
    video = getattr(clip, "video_id", "")
    objects = getattr(clip, "objects", None)
    try:
        if scene is not None:
            return _of_scene(scene, clip)
        return _of_places(objects, clip, video) if isinstance(objects, Places) else Facts(cluster=video)
    except InputError:
        return Facts(cluster=video)


def _of_scene(scene: Scene, clip: Clip) -> Facts:
    """The main source is the one that would be loudest for equal recordings."""
    start_s = getattr(clip, "offset_s", 0.0)
    times_s = start_s + np.linspace(0.0, max(clip.duration_s, 1e-3), 33)
    positions_LO3 = scene.positions(times_s)
    gain_db_O = np.array([source.gain_db for source in scene.sources])
    level_db_LO = gain_db_O - 20 * np.log10(positions_LO3[..., 2])
    main = int(level_db_LO.mean(axis=0).argmax())
    azimuth_deg, motion = _way(positions_LO3[:, main, 0])
    return Facts(
        Path(scene.sources[main].sound).stem,
        "room" if scene.room is not None else "open",
        motion,
        float(len(scene.sources)),
        azimuth_deg,
    )


def _of_places(places: Places, clip: Clip, video: str) -> Facts:
    """The main source is the nearest one."""
    start_s = getattr(clip, "offset_s", 0.0)
    during_T = (places.times_s_T >= start_s - 1e-6) & (places.times_s_T <= start_s + clip.duration_s)
    positions_TO3 = places.positions_TO3[during_T] if during_T.any() else places.positions_TO3
    there_O = np.isfinite(positions_TO3[..., 0]).any(axis=0)
    if not there_O.any():
        return Facts(cluster=video)
    distance_TO = np.where(np.isfinite(positions_TO3[..., 2]), positions_TO3[..., 2], np.inf)
    main = int(np.where(there_O, distance_TO.min(axis=0), np.inf).argmin())
    main = main if there_O[main] else int(there_O.argmax())
    azimuth_T = positions_TO3[:, main, 0]
    azimuth_deg, motion = _way(azimuth_T[np.isfinite(azimuth_T)])
    return Facts(video, "", motion, float(there_O.sum()), azimuth_deg)


def _way(azimuth_deg_T: np.ndarray) -> tuple[float, str]:
    """The middle of the way (the short way round), and whether it is one."""
    unwrapped_T = np.rad2deg(np.unwrap(np.deg2rad(azimuth_deg_T.astype(np.float64))))
    middle_deg = (float(np.median(unwrapped_T)) + 180) % 360 - 180
    return middle_deg, "still" if np.ptp(unwrapped_T) <= STILL_DEG else "moving"


def _scene_beside(clip: Clip, dataset: DatasetConfig) -> Scene | None:
    """The scene of which a recorded clip was rendered, where the data set keeps it."""
    if dataset.root is None or not hasattr(clip, "video_id"):
        return None
    path = Path(dataset.root) / "scenes" / f"{clip.video_id}.json"
    return read_scene(path).scene if path.is_file() else None


def _kept(clips: Sequence[Listed], subset: str | None) -> list[Listed]:
    if subset is None:
        return list(clips)
    if Path(subset).is_file():
        names = _names(Path(subset))
        return [one for one in clips if one.clip.clip_id in names]
    wanted = {name.strip() for name in subset.split(",")}
    unknown = sorted(wanted - set(SUBSETS))
    need(
        not unknown,
        f"the subset {', '.join(unknown)} is not known",
        why=f"it is no file, and the names are {', '.join(SUBSETS)}",
        fix="name a file with one clip a line, or choose among the names",
    )
    return [one for one in clips if wanted <= one.facts.names]


def _names(path: Path) -> set[str]:
    lines = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines()))
    column = lines[0].index("clip") if lines and "clip" in lines[0] else 0
    return {line[column].strip() for line in lines if len(line) > column} - {"", "clip"}


def _warn_of_strangers(subset: str | None, ids: set[str]) -> None:
    """A list may hold more than the splits that are measured; a misspelt name would be missing without a word."""
    if subset is None or not Path(subset).is_file():
        return
    strange = sorted(_names(Path(subset)) - ids)
    if strange:
        some = ", ".join(strange[:5]) + (" …" if len(strange) > 5 else "")
        warnings.warn(f"{len(strange)} names of {subset} are no clip of the splits: {some}", stacklevel=3)
