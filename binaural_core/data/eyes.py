"""What is seen at any time of a recording, wherever it comes from: a clip, pictures, told positions, or nothing.

The pipeline asks ``eyes.sight(times_s)`` and gets what the visual network takes. Times beyond the sound's end see its last
moment, because the last window of a recording reaches over its end. Where pictures come without boxes, a localiser finds
the objects in them if there is one (`locating`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from binaural_core.data.config import DataConfig
from binaural_core.data.crops import sight
from binaural_core.data.frames import FrameFolder, VideoFrames
from binaural_core.data.locating import Finder, Locate, Look
from binaural_core.data.sample import Clip, Sight
from binaural_core.errors import InputError, need
from binaural_core.scene.geometry import Camera
from binaural_core.scene.view import View

TOLD_BOX = 0.3  # side of the crop around a told position, as a part of the picture's height


class Eyes(Protocol):
    def sight(self, times_s: Sequence[float]) -> Sight:
        """Crops and places of the objects at these times (seconds from the sound's start)."""
        ...


@dataclass(frozen=True)
class Looking:
    """Eyes that look at pictures: ``look(times)`` as a `Clip` has it."""

    look: Look
    data: DataConfig
    duration_s: float

    def sight(self, times_s: Sequence[float]) -> Sight:
        return sight(self.look([min(max(t, 0.0), self.duration_s) for t in times_s]), self.data)


@dataclass(frozen=True)
class Told:
    """Eyes that were told where the objects are, L times evenly over the sound; crops only where there are pictures."""

    positions_LO3: np.ndarray
    image_positions_LO2: np.ndarray
    data: DataConfig
    duration_s: float
    look: Look | None = None

    def sight(self, times_s: Sequence[float]) -> Sight:
        count = len(self.positions_LO3)
        at = np.clip((np.asarray(times_s) / max(self.duration_s, 1e-9) * count).astype(int), 0, count - 1)
        positions, places = self.positions_LO3[at], self.image_positions_LO2[at]
        shape = (len(at), self.data.objects)
        crops = np.zeros((*shape, 3, *self.data.crop_size), np.float32)
        if self.look is not None:
            times = [min(max(t, 0.0), self.duration_s) for t in times_s]
            shown = [boxed(v, i, p) for v, i, p in zip(self.look(times), places, positions, strict=True)]
            crops = sight(shown, self.data.replace(whole_frame="never")).crops_LOCHW
        told = min(positions.shape[1], self.data.objects)
        all_positions = np.full((*shape, 3), np.nan, np.float32)
        all_places = np.full((*shape, 2), np.nan, np.float32)
        all_positions[:, :told], all_places[:, :told] = positions[:, :told], places[:, :told]
        nothing = ~np.isfinite(all_positions[..., 0]) & ~np.isfinite(all_places[..., 0])
        return Sight(crops, all_places, all_positions, nothing)


@dataclass(frozen=True)
class Closed:
    """Eyes that see nothing."""

    data: DataConfig

    def sight(self, times_s: Sequence[float]) -> Sight:
        shape = (len(times_s), self.data.objects)
        return Sight(
            np.zeros((*shape, 3, *self.data.crop_size), np.float32),
            np.zeros((*shape, 2), np.float32),
            np.full((*shape, 3), np.nan, np.float32),
            np.ones(shape, bool),
        )


def boxed(view: View, image_positions_O2: np.ndarray, positions_O3: np.ndarray) -> View:
    """The view with one box around each told position that lies in the picture."""
    height, width = view.image_HW3.shape[:2]
    half = np.array([TOLD_BOX * height / width, TOLD_BOX]) / 2
    boxes = np.concatenate([image_positions_O2 - half, image_positions_O2 + half], axis=1).astype(np.float32)
    count = len(boxes)
    return View(view.image_HW3, boxes, positions_O3, np.ones(count, np.float32), tuple(map(str, range(count))), True)


def clip_eyes(clip: Clip, data: DataConfig, locate: Locate | None = None) -> Looking:
    """Eyes that look at a clip's pictures with what it knows of its objects, or with what ``locate`` finds."""
    return Looking(Finder(clip.look, locate) if locate else clip.look, data, clip.duration_s)


def open_eyes(
    data: DataConfig,
    duration_s: float,
    *,
    frames: str | Path | np.ndarray | None = None,
    video: str | Path | None = None,
    positions: np.ndarray | None = None,
    image_positions: np.ndarray | None = None,
    fps: float | None = None,
    locate: Locate | None = None,
) -> Eyes:
    """Eyes for a sound of ``duration_s`` seconds from whatever the user has.

    frames : a folder of numbered pictures or (L, H, W, 3) uint8.   video : a file.
    positions : (3,), (O, 3), (L, O, 3).   image_positions : (2,), (O, 2), (L, O, 2).   fps : of a folder of frames.
    locate : finds objects in pictures where no positions were told; without it the pictures are covered by a grid.
    Raises InputError when frames and video are both given, or shapes are wrong.
    """
    need(
        frames is None or video is None,
        "both frames and a video were given",
        why="the pictures come from one of them",
        fix="leave one out",
    )
    look = None
    if video is not None:
        look = _looker(VideoFrames(Path(video)), duration_s)
    elif frames is not None and not isinstance(frames, np.ndarray):
        look = _looker(FrameFolder(Path(frames), fps or data.fps), duration_s)
    elif frames is not None:
        look = _array_looker(frames, duration_s)
    if positions is None and image_positions is None:
        if look is None:
            return Closed(data)
        return Looking(Finder(look, locate) if locate else look, data, duration_s)
    where, places = _told(positions, image_positions, Camera(h_fov_deg=data.h_fov_deg))
    return Told(where, places, data, duration_s, look)


def _looker(pictures: FrameFolder | VideoFrames, duration_s: float) -> Look:
    return lambda times: [View(p.image_HW3) for p in pictures.at(times, duration_s)]


def _array_looker(frames_LHW3: np.ndarray, duration_s: float) -> Look:
    need(
        frames_LHW3.ndim == 4 and frames_LHW3.shape[3] == 3 and frames_LHW3.dtype == np.uint8 and len(frames_LHW3) > 0,
        f"frames have shape {frames_LHW3.shape} and type {frames_LHW3.dtype}",
        why="pictures are (L, H, W, 3) uint8 RGB",
        fix="convert them",
    )
    count = len(frames_LHW3)

    def look(times: Sequence[float]) -> list[View]:
        return [View(frames_LHW3[min(int(t / max(duration_s, 1e-9) * count), count - 1)]) for t in times]

    return look


def _told(positions, image_positions, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """(L, O, 3) and (L, O, 2), each filled in from the other where the camera allows."""
    where = None if positions is None else _three_axes(positions, 3, "positions")
    places = None if image_positions is None else _three_axes(image_positions, 2, "image_positions")
    if where is not None:
        inside = ~np.isfinite(where[..., 0]) | ((np.abs(where[..., 0]) <= 360) & ~(where[..., 2] <= 0))
        need(
            bool(inside.all()),
            "positions hold an azimuth beyond 360 degrees or a distance of 0 or less",
            why="they are azimuth_deg (positive left), elevation_deg, distance_m",
            fix="check the order and the units",
        )
    if where is None:
        where = np.full((*places.shape[:2], 3), np.nan, np.float32)
        where[..., 0] = camera.azimuth_deg(places[..., 0])
        where[..., 1] = camera.elevation_deg(places[..., 0], places[..., 1])
    elif places is None:
        x, y = camera.image_position(where[..., 0], np.nan_to_num(where[..., 1]))
        places = np.stack([x, y], axis=-1).astype(np.float32)
        places[~((places >= 0) & (places <= 1)).all(axis=-1)] = np.nan  # out of view
    need(
        where.shape[:2] == places.shape[:2],
        f"positions are {where.shape} and image_positions {places.shape}",
        why="they describe the same objects at the same times",
        fix="give both for all, or one of them",
    )
    return where, places


def _three_axes(values, last: int, name: str) -> np.ndarray:
    try:
        array = np.asarray(values, np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} cannot be read as numbers", why=str(error), fix="give an array") from error
    need(
        1 <= array.ndim <= 3 and array.shape[-1] == last and array.size > 0,
        f"{name} have shape {array.shape}",
        why=f"they are ({last},), (objects, {last}) or (times, objects, {last})",
        fix="reshape them",
    )
    return array.reshape((1,) * (3 - array.ndim) + array.shape)
