"""Scenes rendered on the fly as clips: as many as wanted, each known by its split, seed and number.

Splits share nothing: each has dry sounds of its own, and a scene's seed holds the split in its lowest bits. A clip is
only a plan until its sound or pictures are asked for; each process then keeps what it rendered last.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal, TypeVar, get_args

import numpy as np

from binaural_core import places
from binaural_core.audio.io import resample
from binaural_core.config import Config
from binaural_core.errors import need
from binaural_core.scene.head import Head
from binaural_core.scene.plan import Scene
from binaural_core.scene.render import (
    DrySound,
    RenderedSound,
    SceneConfig,
    find_dry_sounds,
    random_scene,
    render_sound,
)
from binaural_core.scene.video import draw
from binaural_core.scene.view import View
from binaural_core.seeds import numpy_stream

T = TypeVar("T")
Split = Literal["train", "val", "test"]
SPLITS: tuple[str, ...] = get_args(Split)
MOST_BYTES = 3 << 29  # of sound and pictures that each process keeps: 1.5 GB
NUMBER_BITS = 20  # of a scene's seed; two bits below them hold the split, the run's seed stands above


@dataclass(frozen=True, kw_only=True)
class RenderedConfig(Config):
    """What is rendered, and how it is seen."""

    scene: SceneConfig = field(default_factory=SceneConfig)
    duration_s: tuple[float, float] | None = None
    """Shortest and longest clip, in steps of 0.1 s; None: scene.duration_s for all."""
    dry_sounds: str | None = None
    """Folder with one folder of dry sounds for each split; None: the shipped data_samples/dry."""
    hrtf: str | None = None
    """SOFA file of the head; None: the shipped MIT KEMAR."""
    width_px: int = 320
    height_px: int = 180
    frames_per_s: float = 10.0

    def validate(self) -> None:
        low_s, high_s = self.duration_s or (1.0, 1.0)
        need(
            0 < low_s <= high_s,
            f"duration_s={self.duration_s}",
            why="it is the shortest and the longest duration",
            fix="give seconds such as (3.0, 6.0)",
        )
        need(
            0 < self.frames_per_s <= 120,
            f"frames_per_s={self.frames_per_s:g}",
            why="films have more than 0 and at most 120 pictures a second",
            fix="10 is usual here",
        )


@dataclass(frozen=True)
class RenderedClip:
    """A `Clip` that is rendered where it is read. Pictures lie on the grid of ``config.frames_per_s``."""

    clip_id: str
    scene: Scene
    config: RenderedConfig = RenderedConfig()

    @property
    def duration_s(self) -> float:
        return self.scene.duration_s

    @property
    def frame_times_s(self) -> np.ndarray:
        """The times of the film's pictures: 0, 1 / frames_per_s … before the end."""
        count = int(np.ceil(self.scene.duration_s * self.config.frames_per_s - 1e-6))
        return np.arange(count) / self.config.frames_per_s

    def rendered(self) -> RenderedSound:
        """The whole scene's sound at the head's rate."""
        return _rendered(self.scene, self.config.hrtf)

    def sound(self, start_s: float, duration_s: float, sample_rate_hz: int) -> tuple[np.ndarray, np.ndarray]:
        """(mono_N, binaural_EN); raises InputError when the stretch is not within the clip."""
        mono_N, binaural_EN = _at_rate(self.scene, self.config.hrtf, sample_rate_hz)
        first, count = round(start_s * sample_rate_hz), round(duration_s * sample_rate_hz)
        need(
            first >= 0 and first + count <= len(mono_N) + 1 and count > 0,
            f"clip {self.clip_id} was asked for {start_s:.2f} s to {start_s + duration_s:.2f} s",
            why=f"it lasts {self.duration_s:.2f} s",
            fix="ask for a stretch within it",
        )
        short = max(first + count - len(mono_N), 0)  # one sample where both ends were rounded
        mono_N = np.pad(mono_N[first : first + count], (0, short))
        return mono_N, np.pad(binaural_EN[:, first : first + count], ((0, 0), (0, short)))

    def look(self, times_s: Sequence[float]) -> list[View]:
        grid_s = self.frame_times_s
        nearest = np.floor(np.asarray(times_s, float) * self.config.frames_per_s + 0.5).astype(int)
        times_s = grid_s[np.clip(nearest, 0, len(grid_s) - 1)]
        return [_picture(self.scene, float(t), self.config.width_px, self.config.height_px) for t in times_s]


def clips(split: Split, count: int, seed: int = 0, config: RenderedConfig | None = None) -> list[RenderedClip]:
    """The first ``count`` clips of a split's stream; the same arguments give the same clips, more of them go on.

    Raises InputError when the split is unknown or its folder of dry sounds is missing or empty.
    """
    config = config or RenderedConfig()
    need(count > 0, f"count={count}", why="there would be nothing to read", fix="ask for one clip or more")
    scene_seed(split, seed, count - 1)  # refuses what no clip could have
    sounds = _dry_sounds(config.dry_sounds, split)
    return [_clip(split, seed, number, config, sounds) for number in range(count)]


def scene_seed(split: Split, seed: int, number: int) -> int:
    """A scene's seed: no two of (split, seed, number) share one."""
    need(
        split in SPLITS,
        f"split is {split!r}",
        why=f"the splits are {', '.join(SPLITS)}",
        fix="choose one of them",
    )
    need(
        0 <= number < 1 << NUMBER_BITS and seed >= 0,
        f"scene {number} of seed {seed}",
        why=f"seeds are 0 or more, and a stream has {1 << NUMBER_BITS} scenes",
        fix="choose another seed to have more scenes",
    )
    return ((seed << NUMBER_BITS | number) << 2) | SPLITS.index(split)


def _clip(split: Split, seed: int, number: int, config: RenderedConfig, sounds: tuple[DrySound, ...]) -> RenderedClip:
    own_seed, settings = scene_seed(split, seed, number), config.scene
    if config.duration_s is not None:
        low, high = (round(10 * limit_s) for limit_s in config.duration_s)
        tenths = int(numpy_stream(own_seed, "duration").integers(low, high + 1))
        settings = settings.replace(duration_s=tenths / 10)
    return RenderedClip(f"{split}_{seed}_{number:06d}", random_scene(settings, sounds, own_seed), config)


@lru_cache(maxsize=16)
def _dry_sounds(folder: str | None, split: Split) -> tuple[DrySound, ...]:
    return find_dry_sounds((Path(folder) if folder else places.data_samples() / "dry") / split)


class Kept:
    """What was made last, up to so many bytes; the longest unused goes first."""

    def __init__(self, most_bytes: int):
        self.most_bytes, self.bytes, self.made = most_bytes, 0, OrderedDict()

    def get(self, key: Hashable, make: Callable[[], T], size: Callable[[T], int]) -> T:
        """What was made for the key, or what ``make`` gives now; ``size`` says how many bytes it takes."""
        if key in self.made:
            self.made.move_to_end(key)
        else:
            self.made[key] = make()
            self.bytes += size(self.made[key])
            while self.bytes > self.most_bytes and len(self.made) > 1:
                self.bytes -= size(self.made.popitem(last=False)[1])
        return self.made[key]

    def forget(self) -> None:
        self.bytes, self.made = 0, OrderedDict()


_sounds, _pictures = Kept(MOST_BYTES // 2), Kept(MOST_BYTES // 2)


def _rendered(scene: Scene, hrtf: str | None) -> RenderedSound:
    return _sounds.get(
        (scene, hrtf),
        lambda: render_sound(scene, Head.from_sofa(hrtf) if hrtf else Head.kemar()),
        lambda sound: sound.mono_N.nbytes + sound.binaural_EN.nbytes,
    )


def _picture(scene: Scene, time_s: float, width_px: int, height_px: int) -> View:
    return _pictures.get(
        (scene, time_s, width_px, height_px),
        lambda: draw(scene, [time_s], width_px, height_px)[0],
        lambda view: view.image_HW3.nbytes,
    )


@lru_cache(maxsize=32)
def _resampled(scene: Scene, hrtf: str | None, sample_rate_hz: int) -> tuple[np.ndarray, np.ndarray]:
    sound = _rendered(scene, hrtf)
    three_CN = resample(np.concatenate([sound.mono_N[None], sound.binaural_EN]), sound.sample_rate_hz, sample_rate_hz)
    return three_CN[0], three_CN[1:]


def _at_rate(scene: Scene, hrtf: str | None, sample_rate_hz: int) -> tuple[np.ndarray, np.ndarray]:
    sound = _rendered(scene, hrtf)
    if sound.sample_rate_hz == sample_rate_hz:
        return sound.mono_N, sound.binaural_EN
    return _resampled(scene, hrtf, sample_rate_hz)
