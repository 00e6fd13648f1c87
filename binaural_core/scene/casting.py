"""Scenes by chance: how many sources, which, where, still or moving, in the open or in a room. One seed, one scene."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Literal

import numpy as np

from binaural_core import places
from binaural_core.audio.io import audio_info
from binaural_core.config import Config
from binaural_core.errors import need
from binaural_core.scene.geometry import Camera, angle_between_deg, unit_vectors
from binaural_core.scene.plan import MAX_SOURCES, Keyframe, Scene, Source, positions_between
from binaural_core.scene.room import WALL_MARGIN_M, Room
from binaural_core.seeds import numpy_stream

SUFFIXES = {".wav", ".flac", ".ogg", ".mp3"}
PICTURE_MARGIN_DEG = 3.0
TRIES = 200
FASTEST_DEG_S = 40.0
WIDEST_FAN_DEG = 120.0


@dataclass(frozen=True, kw_only=True)
class DrySound(Config):
    """A recording without room, for scenes to choose from. Recordings should be about equally loud."""

    sound: str
    label: str
    duration_s: float


@dataclass(frozen=True, kw_only=True)
class SceneConfig(Config):
    """What random scenes are like."""

    duration_s: float = 4.0
    sources: tuple[int, int] = (1, 3)
    """Fewest and most; each number is as likely."""
    moving: float = 0.5
    """Chance of a source to move."""
    reverberant: float = 0.5
    """Chance of a scene to be in a room."""
    max_azimuth_deg: float | None = None
    """None: all in the picture, 3 degrees off its edge. Up to 180: all around."""
    elevation_deg: tuple[float, float] = (-10.0, 15.0)
    distance_m: tuple[float, float] = (1.0, 3.5)
    min_separation_deg: float = 15.0
    """Angle that two sources keep at any time."""
    level_db: tuple[float, float] = (-6.0, 0.0)
    rt60_s: tuple[float, float] = (0.2, 0.6)
    speed: tuple[float, float] = (1.0, 1.0)
    """Slowest and fastest that recordings are played, evenly in octaves: more timbres from few recordings."""
    camera: Camera = field(default_factory=Camera)
    h_fov_deg: tuple[float, float] | None = None
    """Narrowest and widest view of the camera; None: as ``camera`` says."""
    mono: Literal["mean", "omni"] = "mean"

    def validate(self) -> None:
        low, high = self.sources
        need(
            1 <= low <= high <= MAX_SOURCES,
            f"sources={self.sources}",
            why=f"scenes have 1 to {MAX_SOURCES}",
            fix="give the fewest and the most, such as (1, 3)",
        )
        for name in ("elevation_deg", "distance_m", "level_db", "rt60_s", "speed"):
            low, high = getattr(self, name)
            need(low <= high, f"{name}={getattr(self, name)}", why="it is a range", fix="give the lower value first")
        need(
            0 < self.widest_deg <= 180
            and self.min_separation_deg * (self.sources[1] - 1) <= 1.4 * min(self.widest_deg, WIDEST_FAN_DEG),
            f"{self.sources[1]} sources, {self.min_separation_deg:g} degrees apart, within {self.widest_deg:g} degrees",
            why="they do not fit",
            fix="lower min_separation_deg or the number of sources, or raise max_azimuth_deg (at most 180)",
        )

    @property
    def widest_deg(self) -> float:
        if self.max_azimuth_deg is not None:
            return self.max_azimuth_deg
        return self.camera.h_fov_deg / 2 - PICTURE_MARGIN_DEG


def find_dry_sounds(folder: str | Path) -> tuple[DrySound, ...]:
    """The sound files below a folder, sorted; the label is the file's name up to the first "_"."""
    folder = Path(folder)
    files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in SUFFIXES)
    need(
        len(files) > 0,
        f"there is no sound file below {folder}",
        why="scenes are made of dry sounds",
        fix=f"put {', '.join(sorted(SUFFIXES))} files there",
    )
    return tuple(
        DrySound(sound=_portable(file), label=file.stem.split("_")[0], duration_s=audio_info(file).duration_s)
        for file in files
    )


def random_scene(config: SceneConfig, dry_sounds: Sequence[DrySound], seed: int) -> Scene:
    """Draw a scene; the same config, sounds and seed give the same one. Its sounds differ if there are enough."""
    need(len(dry_sounds) > 0, "there are no dry sounds", why="a scene sounds", fix="give at least one")
    if config.h_fov_deg is not None:
        h_fov_deg = float(numpy_stream(seed, "camera").uniform(*config.h_fov_deg))
        config = config.replace(camera=config.camera.replace(h_fov_deg=h_fov_deg))
    chance = numpy_stream(seed, "random scene")
    count = int(chance.integers(config.sources[0], config.sources[1] + 1))
    room = _room(config, chance) if chance.random() < config.reverberant else None
    chosen = chance.choice(len(dry_sounds), count, replace=count > len(dry_sounds))
    moving = chance.random(count) < config.moving
    sources = tuple(
        _source(dry_sounds[which], way, config, chance)
        for which, way in zip(chosen, _ways(config, room, moving, chance), strict=True)
    )
    return Scene(
        sources=sources, duration_s=config.duration_s, room=room, camera=config.camera, mono=config.mono, seed=seed
    )


def _room(config: SceneConfig, chance: np.random.Generator) -> Room:
    size_m = tuple(float(x) for x in chance.uniform((4.5, 4.0, 2.5), (10.0, 8.0, 4.0)).round(2))
    return Room(size_m=size_m, rt60_s=float(chance.uniform(*config.rt60_s)))


def _ways(
    config: SceneConfig, room: Room | None, moving: Sequence[bool], chance: np.random.Generator
) -> list[np.ndarray]:
    """A way per source, none near another: places (P, 3) at P times, evenly over the scene."""
    for _ in range(TRIES):
        ways = [_way(_azimuths(config, moves, chance), config, room, chance) for moves in moving]
        if _apart(ways, config):
            return ways
    reach_deg = 0.8 * min(config.widest_deg, WIDEST_FAN_DEG)  # too crowded for chance: a fan of still sources
    fan_deg = chance.permutation(np.linspace(-reach_deg, reach_deg, len(moving)))
    return [_way([azimuth_deg], config, room, chance, elevation_deg=0.0) for azimuth_deg in fan_deg]


def _azimuths(config: SceneConfig, moves: bool, chance: np.random.Generator) -> list[float]:
    """One azimuth, or two or three no faster apart than `FASTEST_DEG_S`."""
    legs = int(chance.integers(1, 3)) if moves else 0
    azimuths_deg = [chance.uniform(-config.widest_deg, config.widest_deg)]
    reach_deg = FASTEST_DEG_S * config.duration_s / max(legs, 1)
    for _ in range(legs):
        low_deg = max(-config.widest_deg, azimuths_deg[-1] - reach_deg)
        high_deg = min(config.widest_deg, azimuths_deg[-1] + reach_deg)
        azimuths_deg.append(chance.uniform(low_deg, high_deg))
    return azimuths_deg


def _way(
    azimuths_deg: Sequence[float],
    config: SceneConfig,
    room: Room | None,
    chance: np.random.Generator,
    *,
    elevation_deg: float | None = None,
) -> np.ndarray:
    """Places (P, 3) at one height, at distances such that the whole way between them is in the room."""
    elevation_deg = chance.uniform(*config.elevation_deg) if elevation_deg is None else elevation_deg
    nearest_m, farthest_m = config.distance_m
    if room is not None:
        between_deg = np.linspace(min(azimuths_deg), max(azimuths_deg), 61)
        farthest_m = min(farthest_m, float(_to_the_walls_m(room, between_deg, elevation_deg).min()))
    distances_m = chance.uniform(min(nearest_m, farthest_m), farthest_m, len(azimuths_deg))
    return np.stack([azimuths_deg, np.full(len(azimuths_deg), elevation_deg), distances_m], axis=1)


def _to_the_walls_m(room: Room, azimuth_deg: np.ndarray, elevation_deg: float) -> np.ndarray:
    """How far (S,) sound goes from the head until it is near a wall."""
    way_S3 = unit_vectors(azimuth_deg, elevation_deg)
    reach_S3 = np.where(way_S3 > 0, np.array(room.size_m) - room.place_m, room.place_m) - 1.5 * WALL_MARGIN_M
    return (reach_S3 / np.maximum(np.abs(way_S3), 1e-9)).min(axis=1)


def _apart(ways: Sequence[np.ndarray], config: SceneConfig) -> bool:
    times_s = np.linspace(0, config.duration_s, 33)
    directions = [positions_between(_even(way, config), way, times_s)[:, :2] for way in ways]
    return all(angle_between_deg(a, b).min() >= config.min_separation_deg for a, b in combinations(directions, 2))


def _even(way: np.ndarray, config: SceneConfig) -> np.ndarray:
    return np.linspace(0, config.duration_s, len(way))


def _source(dry: DrySound, way: np.ndarray, config: SceneConfig, chance: np.random.Generator) -> Source:
    speed = float(2 ** chance.uniform(*np.log2(config.speed))) if config.speed != (1, 1) else 1.0
    spare_s = dry.duration_s / speed - config.duration_s
    offset_s = float(chance.uniform(0, abs(spare_s)))
    path = tuple(
        Keyframe(time_s=float(t), azimuth_deg=float(a), elevation_deg=float(e), distance_m=float(d))
        for t, (a, e, d) in zip(_even(way, config), way, strict=True)
    )
    return Source(
        sound=dry.sound,
        label=dry.label,
        path=path,
        gain_db=float(chance.uniform(*config.level_db)),
        start_s=0.0 if spare_s >= 0 else offset_s,
        from_s=offset_s * speed if spare_s >= 0 else 0.0,
        speed=speed,
    )


def _portable(file: Path) -> str:
    """The path below data_samples where the file lies there, so that a saved scene can be rendered on any machine."""
    file = file.resolve()
    samples = places.data_samples().resolve()
    return file.relative_to(samples).as_posix() if file.is_relative_to(samples) else str(file)
