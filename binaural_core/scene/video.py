"""Pictures of a scene: every source drawn where the camera sees it, in front of its room or of a meadow.

The camera is a pinhole at the head that looks straight ahead. A source's picture has its true size over its distance,
its middle lies exactly at the source's azimuth, and near sources hide far ones. Same scene, same time: the same pixels.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from PIL import Image

from binaural_core.errors import need
from binaural_core.scene.backdrop import EYE_M, Hall, backdrop
from binaural_core.scene.drawing import RIM, Look, Sprite, halves, sprite
from binaural_core.scene.geometry import unit_vectors
from binaural_core.scene.plan import Scene
from binaural_core.scene.view import View

NEAREST_M = 0.25
"""Nearer to the picture plane a source would fill the whole picture: it is not drawn."""
STEP_M = 0.12
"""Feet this much above the floor stand on a podium."""

Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels


def draw(scene: Scene, times_s: Sequence[float], width_px: int = 320, height_px: int = 180) -> list[View]:
    """The pictures (uint8 RGB) of a scene at some times, with the boxes, labels and true positions of what is in view.

    Objects come in the order of the scene's sources; a source whose middle is out of view is left out. Boxes are tight
    around the whole player or instrument and end at the picture's edge; scores are 1.
    Raises InputError when the picture would be smaller than 16 pixels or larger than 4,096.
    """
    need(
        min(width_px, height_px) >= 16 and max(width_px, height_px) <= 4096,
        f"a picture of {width_px} x {height_px} pixels",
        why="pictures of 16 to 4,096 pixels a side are drawn",
        fix="choose a size such as 320 x 180",
    )
    empty = backdrop(_hall(scene), scene.seed, scene.camera, width_px, height_px)
    views: dict[bytes, View] = {}  # what stands still is drawn once
    seen = []
    for positions_O3 in scene.positions(times_s):
        key = positions_O3.tobytes()
        if key not in views:
            views[key] = _view(scene, positions_O3, empty)
        seen.append(views[key])
    return seen


def shown(scene: Scene, times_s: Sequence[float]) -> np.ndarray:
    """Which sources are among the objects of `draw`'s pictures: bool (L, O)."""
    positions_LO3 = scene.positions(times_s)
    azimuth_LO, elevation_LO = positions_LO3[..., 0], positions_LO3[..., 1]
    ahead_LO = unit_vectors(azimuth_LO, elevation_LO)[..., 0] * positions_LO3[..., 2]
    return scene.camera.in_view(azimuth_LO, elevation_LO) & (ahead_LO >= NEAREST_M)


def _hall(scene: Scene) -> Hall | None:
    if scene.room is None:
        return None
    (length, width, height), (back, right, floor) = scene.room.size_m, (float(v) for v in scene.room.place_m)
    return Hall(length - back, width - right, right, floor, height - floor)


def _view(scene: Scene, positions_O3: np.ndarray, empty: Image.Image) -> View:
    picture = empty.copy()
    points_O3 = unit_vectors(positions_O3[:, 0], positions_O3[:, 1]) * positions_O3[:, 2:]
    middles_O2 = np.stack(scene.camera.image_position(positions_O3[:, 0], positions_O3[:, 1]), -1) * picture.size
    shown_O = scene.camera.in_view(positions_O3[:, 0], positions_O3[:, 1])
    boxes = {}
    for index in np.argsort(-points_O3[:, 0]):
        ahead_m = points_O3[index, 0]
        if ahead_m < NEAREST_M:
            continue
        image = sprite(scene.sources[index].label, Look.of(scene.seed, int(index)))
        box = _box(image, middles_O2[index], ahead_m, scene, picture)
        _ground(picture, box, image, points_O3[index], scene)
        stamp(picture, image.levels, box)
        if shown_O[index]:
            boxes[int(index)] = box
    shown = sorted(boxes)
    edges_O4 = np.array([boxes[i] for i in shown], np.float32).reshape(-1, 4) / np.tile(picture.size, 2)
    return View(
        image_HW3=np.asarray(picture),
        boxes_O4=np.clip(edges_O4, 0, 1).astype(np.float32),
        positions_O3=positions_O3[shown].astype(np.float32),
        scores_O=np.ones(len(shown), np.float32),
        labels=tuple(scene.sources[i].label for i in shown),
        objects_known=True,
        h_fov_deg=scene.camera.h_fov_deg,
    )


def _pixels_per_m(scene: Scene, picture: Image.Image, ahead_m: float) -> np.ndarray:
    """How many pixels a metre across and a metre up take, ``ahead_m`` in front of the camera."""
    half_width_m = ahead_m * np.tan(np.radians(scene.camera.h_fov_deg) / 2)
    return np.array((picture.width, picture.height * scene.camera.aspect)) / (2 * half_width_m)


def _box(image: Sprite, middle_px: np.ndarray, ahead_m: float, scene: Scene, picture: Image.Image) -> Box:
    """Where a source's picture goes."""
    across, up = _pixels_per_m(scene, picture, ahead_m)
    (x, y), half = middle_px, image.half_width_m * across
    return x - half, y - image.up_m * up, x + half, y + image.down_m * up


def _ground(picture: Image.Image, box: Box, image: Sprite, point_3: np.ndarray, scene: Scene) -> None:
    """A shadow on the floor, and a podium for feet above it."""
    floor_m = EYE_M if scene.room is None else float(scene.room.place_m[2])  # both counted down from the camera
    feet_m = image.feet_m - point_3[2]
    (_, up), middle = _pixels_per_m(scene, picture, point_3[0]), (box[0] + box[2]) / 2
    half, depth_m = 0.5 * (box[2] - box[0]), 0.4 * image.half_width_m

    def flat(below_m: float, half: float) -> Box:
        """A round mark lying ``below_m`` under the camera, seen in perspective."""
        y = picture.height / 2 + below_m * up
        thin = max(abs(below_m) * up * depth_m / point_3[0], 0.5)
        return middle - half, y - thin, middle + half, y + thin

    if feet_m >= floor_m - STEP_M:
        stamp(picture, _disc((0, 0, 0), blurred=True), flat(feet_m, 1.15 * half))
        return
    stamp(picture, _disc((0, 0, 0), blurred=True), flat(floor_m, 1.5 * half))
    bottom, top = flat(floor_m, 1.1 * half), flat(feet_m, 1.1 * half)
    stamp(picture, _disc((74, 62, 56)), bottom)
    stamp(picture, _block((74, 62, 56)), (top[0], (top[1] + top[3]) / 2, top[2], (bottom[1] + bottom[3]) / 2))
    stamp(picture, _disc((118, 100, 88)), top)


def stamp(picture: Image.Image, levels: Sequence[Image.Image], box: Box) -> None:
    """Paste a picture (see `drawing.halves`) scaled into ``box``, exact to a fraction of a pixel, cut at the edges."""
    left, top, right, bottom = box
    full = levels[0].width - 2 * RIM, levels[0].height - 2 * RIM
    shrink = min(full[0] / (right - left), full[1] / (bottom - top))
    level = min(max(int(np.log2(max(shrink, 1.0))), 0), len(levels) - 1)
    x1, y1 = max(int(np.floor(left)), 0), max(int(np.floor(top)), 0)
    x2, y2 = min(int(np.ceil(right)), picture.width), min(int(np.ceil(bottom)), picture.height)
    if x1 >= x2 or y1 >= y2:
        return
    across, down = full[0] / 2**level / (right - left), full[1] / 2**level / (bottom - top)
    source = levels[level]
    part = (
        max(RIM + (x1 - left) * across, 0.0),
        max(RIM + (y1 - top) * down, 0.0),
        min(RIM + (x2 - left) * across, float(source.width)),
        min(RIM + (y2 - top) * down, float(source.height)),
    )
    scaled = source.resize((x2 - x1, y2 - y1), Image.Resampling.BICUBIC, box=part)
    picture.paste(scaled, (x1, y1), scaled)


@lru_cache(maxsize=8)
def _disc(colour: tuple[int, int, int], *, blurred: bool = False) -> tuple[Image.Image, ...]:
    side = 128
    away = np.hypot(*np.meshgrid(*2 * [(np.arange(side) + 0.5) / side * 2 - 1]))
    alpha = 0.42 * np.clip(1.25 - 1.25 * away, 0, 1) if blurred else np.clip((1 - away) * side / 2, 0, 1)
    disc = Image.new("RGBA", (side, side), (*colour, 0))
    disc.putalpha(Image.fromarray(np.round(255 * alpha).astype(np.uint8), "L"))
    return halves(disc)


@lru_cache(maxsize=8)
def _block(colour: tuple[int, int, int]) -> tuple[Image.Image, ...]:
    """The side of something round, lit from the left."""
    light = 1.06 - 0.4 * (np.linspace(-0.6, 1, 128) ** 2)
    row = np.clip(np.round(light[:, None] * np.array((*colour, 0)) + (0, 0, 0, 255)), 0, 255).astype(np.uint8)
    return halves(Image.fromarray(np.repeat(row[None], 128, axis=0), "RGBA"))
