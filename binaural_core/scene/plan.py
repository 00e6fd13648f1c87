"""What happens in a scene: which sounds, where, when, in what room. Plain data that is saved with `Scene.save`.

Conventions: times in seconds from the scene's beginning; directions as in `geometry`; distances in metres from the
head. The level falls with 1 / distance. Direct sound arrives without delay: it stays in step with the picture, and a
moving source has no Doppler shift.
"""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import PchipInterpolator

from binaural_core.config import Config
from binaural_core.errors import need
from binaural_core.scene.geometry import Camera, unit_vectors, wrap_deg
from binaural_core.scene.room import Room

MAX_SOURCES = 3
NEAREST_M = 0.2
"""Sources closer than this would need near-field responses."""


@dataclass(frozen=True, kw_only=True)
class Keyframe(Config):
    """Where a source is at one time. In between it moves smoothly; angles are taken as written (350 is not -10)."""

    time_s: float = 0.0
    azimuth_deg: float
    elevation_deg: float = 0.0
    distance_m: float = 1.5

    def validate(self) -> None:
        values = (self.time_s, self.azimuth_deg, self.elevation_deg, self.distance_m)
        need(
            bool(np.isfinite(values).all()) and abs(self.azimuth_deg) <= 720 and abs(self.elevation_deg) <= 90,
            f"a keyframe has the time and place {values}",
            why="azimuth and elevation are degrees, elevation between -90 and 90",
            fix="give degrees and metres",
        )
        need(
            self.distance_m >= NEAREST_M,
            f"a source stands {self.distance_m:g} m from the head",
            why=f"the responses are far-field ones, good from {NEAREST_M:g} m on",
            fix=f"put it at {NEAREST_M:g} m or farther",
        )


@dataclass(frozen=True, kw_only=True)
class Source(Config):
    """One sound and the way it takes."""

    sound: str
    """A sound file (as it is, else below data_samples), or a name that the renderer is given a wave for."""
    path: tuple[Keyframe, ...]
    """One keyframe: still. More: moving; the first and last places are held."""
    gain_db: float = 0.0
    label: str = "speaker"
    """What the picture shows."""
    start_s: float = 0.0
    """When the sound begins in the scene."""
    from_s: float = 0.0
    """Where in the recording it begins."""
    speed: float = 1.0
    """How fast the recording is played: at 2 twice as fast and an octave higher."""

    @classmethod
    def still(
        cls,
        sound: str,
        azimuth_deg: float,
        elevation_deg: float = 0.0,
        distance_m: float = 1.5,
        *,
        label: str = "speaker",
        gain_db: float = 0.0,
    ) -> Self:
        """A source that stays where it is and sounds from the beginning."""
        place = Keyframe(azimuth_deg=azimuth_deg, elevation_deg=elevation_deg, distance_m=distance_m)
        return cls(sound=sound, path=(place,), label=label, gain_db=gain_db)

    def validate(self) -> None:
        times_s = [k.time_s for k in self.path]
        need(len(times_s) > 0, f"source {self.sound} has no place", why="its path is empty", fix="give one keyframe")
        need(
            all(a < b for a, b in pairwise(times_s)),
            f"the keyframes of {self.sound} are at {times_s} s",
            why="a source can be at one place at a time",
            fix="sort them by time, no two at the same time",
        )
        need(
            self.start_s >= 0 and self.from_s >= 0,
            f"source {self.sound} begins at {self.start_s:g} s, {self.from_s:g} s into the recording",
            why="neither can be before the beginning",
            fix="give times from 0 on",
        )
        need(
            0.25 <= self.speed <= 4,
            f"source {self.sound} is played at speed {self.speed:g}",
            why="beyond two octaves nothing sounds like itself",
            fix="give a speed from 0.25 to 4",
        )

    @property
    def moves(self) -> bool:
        return len({(k.azimuth_deg, k.elevation_deg, k.distance_m) for k in self.path}) > 1

    def positions(self, times_s: ArrayLike) -> np.ndarray:
        """Azimuth, elevation, distance (L, 3) at times (L,)."""
        places_P3 = np.array([(k.azimuth_deg, k.elevation_deg, k.distance_m) for k in self.path])
        return positions_between([k.time_s for k in self.path], places_P3, times_s)


@dataclass(frozen=True, kw_only=True)
class Scene(Config):
    """One to three sources around a head, in a room or in the open, seen by a camera at the head."""

    sources: tuple[Source, ...]
    duration_s: float = 4.0
    room: Room | None = None
    """None: in the open, no reflections."""
    camera: Camera = field(default_factory=Camera)
    mono: Literal["mean", "omni"] = "mean"
    """The mono recording: the mean of both ears, or an omnidirectional microphone in place of the head's centre."""
    seed: int = 0
    """For what is random within a scene: the room's late tail, the picture's looks."""

    def validate(self) -> None:
        need(
            1 <= len(self.sources) <= MAX_SOURCES,
            f"the scene has {len(self.sources)} sources",
            why=f"scenes of 1 to {MAX_SOURCES} sources are rendered",
            fix="add or remove sources",
        )
        need(
            0 < self.duration_s <= 3600,
            f"the scene lasts {self.duration_s:g} s",
            why="it must last some time, at most an hour",
            fix="set duration_s",
        )
        if self.room is not None:
            times_s = np.linspace(0, self.duration_s, 65)
            for source in self.sources:
                self.room.need_inside(self.points(source, times_s), source.sound)

    def positions(self, times_s: ArrayLike) -> np.ndarray:
        """Azimuth, elevation (degrees), distance (metres) of all sources: (L, O, 3), float32."""
        return np.stack([s.positions(times_s) for s in self.sources], axis=1).astype(np.float32)

    @staticmethod
    def points(source: Source, times_s: ArrayLike) -> np.ndarray:
        """Places (L, 3) of a source in metres from the head: x ahead, y left, z up."""
        places_L3 = source.positions(times_s)
        return unit_vectors(places_L3[:, 0], places_L3[:, 1]) * places_L3[:, 2:]


def positions_between(keyframe_times_s: ArrayLike, places_P3: np.ndarray, times_s: ArrayLike) -> np.ndarray:
    """Azimuth, elevation, distance (L, 3) at times (L,), given at P times; the azimuth comes out in [-180, 180).

    Monotone cubics in between, the first and last place held beyond. Source: Fritsch & Carlson 1980.
    """
    if len(places_P3) == 1:
        places_L3 = np.repeat(np.asarray(places_P3, float), np.size(times_s), axis=0)
    else:
        held_L = np.clip(np.ravel(times_s), keyframe_times_s[0], keyframe_times_s[-1])
        places_L3 = PchipInterpolator(keyframe_times_s, places_P3)(held_L)
    places_L3[:, 0] = wrap_deg(places_L3[:, 0])
    return places_L3
