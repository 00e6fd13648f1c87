"""From pictures to object crops: what the visual network sees of one window.

Each picture gives O slots. An object keeps its slot through the window: by its place in the list where the clip knows
its objects (they have true positions), else by following detections of one label from picture to picture, best score
first. A crop is a square around the object's box, moved inside the picture; its image position is the centre of the
object. Where the direction is not known it is what the camera sees at that centre, and the distance is NaN.

Boxes come from a data set, from a detector, or from the localiser (`locating`), which fills them in where there are none.
Fallback: where nobody looked for objects, or the localiser was sure of none, the slots hold the whole picture (slot 0,
unless the config says never; its direction is unknown, NaN) and a row of squares from left to right, with the direction
of each square's centre. Where somebody looked and found nothing, the slots are empty: zeros, NaN and mask True.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from PIL import Image

from binaural_core.data.augment import WHOLE, recolour
from binaural_core.data.config import DataConfig
from binaural_core.data.sample import Sight
from binaural_core.scene.geometry import Camera
from binaural_core.scene.view import View

IMAGENET_MEAN_3 = np.array([0.485, 0.456, 0.406], np.float32)
IMAGENET_DEVIATION_3 = np.array([0.229, 0.224, 0.225], np.float32)
FARTHEST_STEP = 0.3  # a detection farther than this from the last one (part of the picture) is another object

_camera = lru_cache(maxsize=64)(lambda h_fov_deg, aspect: Camera(h_fov_deg=h_fov_deg, aspect=aspect))


def sight(
    views: Sequence[View],
    data: DataConfig,
    *,
    region: tuple[float, float, float, float] = WHOLE,
    colour: tuple[float, float, float] | None = None,
) -> Sight:
    """Crops, image positions, positions and mask of L pictures.

    The camera's field of view is the view's where it says one, else ``data.h_fov_deg``.
    region : the part of each picture that is kept, (x, y, width, height) in [0, 1].
    colour : factors of brightness, contrast and saturation.
    """
    shape = (len(views), data.objects)
    pixels = np.zeros((*shape, *data.crop_size, 3), np.uint8)
    image_positions = np.zeros((*shape, 2), np.float32)
    positions = np.full((*shape, 3), np.nan, np.float32)
    mask = np.ones(shape, bool)
    reserved = 1 if data.whole_frame == "always" else 0
    slots = follow(views, data.objects - reserved, data.min_score)
    for at, view in enumerate(views):
        height, width = view.image_HW3.shape[:2]
        camera = _camera(view.h_fov_deg or data.h_fov_deg, min(max(width / height, 0.1), 10.0))
        window = _pixels(region, width, height)
        boxes, known = _wanted(view, slots[at], data, reserved, region, width / height)
        for slot, box in enumerate(boxes):
            centre = np.array([box[0] + box[2], box[1] + box[3]]) / 2
            here = (centre - region[:2]) / region[2:]
            if not (np.isfinite(here).all() and (here >= 0).all() and (here <= 1).all()):
                continue
            whole = slot < reserved or (not view.objects_known and data.whole_frame != "never" and slot == 0)
            square = window if whole else _square(box, data.crop_margin, window, width, height)
            pixels[at, slot] = _cut(view.image_HW3, square, data.crop_size)
            image_positions[at, slot], mask[at, slot] = here, False
            if not whole:
                seen = (camera.azimuth_deg(centre[0]), camera.elevation_deg(*centre), np.nan)
                positions[at, slot] = np.where(np.isfinite(known[slot]), known[slot], seen)
    return Sight(normalise(pixels, mask, colour), image_positions, positions, mask)


def normalise(
    pixels_LOHW3: np.ndarray, mask_LO: np.ndarray, colour: tuple[float, float, float] | None = None
) -> np.ndarray:
    """uint8 pixels -> (L, O, 3, H, W) float32 with ImageNet's mean and deviation; empty slots are zero."""
    *shape, height, width, _ = pixels_LOHW3.shape
    there = ~mask_LO
    planes = pixels_LOHW3[there].reshape(-1, height * width, 3).transpose(0, 2, 1)
    planes = np.ascontiguousarray(planes).astype(np.float32)
    planes *= np.float32(1 / 255)
    if colour is not None and len(planes):
        planes = recolour(planes, colour)
    planes -= IMAGENET_MEAN_3[:, None]
    planes *= 1 / IMAGENET_DEVIATION_3[:, None]
    crops = np.zeros((*shape, 3, height, width), np.float32)
    crops[there] = planes.reshape(-1, 3, height, width)
    return crops


def follow(views: Sequence[View], slots: int, min_score: float) -> np.ndarray:
    """Which object of each picture fills which slot: (L, slots) indices, -1 for none."""
    chosen = np.full((len(views), slots), -1)
    if _identity_known(views):
        count = min(slots, len(views[0].labels))
        chosen[:, :count] = np.arange(count)
        return chosen
    tracks: list[tuple[str, np.ndarray]] = []  # label and last centre of each filled slot
    for at, view in enumerate(views):
        best_first = [o for o in np.argsort(-view.scores_O, kind="stable") if view.scores_O[o] >= min_score]
        centres = (view.boxes_O4[:, :2] + view.boxes_O4[:, 2:]) / 2
        steps = sorted(
            (float(np.linalg.norm(centres[o] - centre)), rank, slot)
            for slot, (label, centre) in enumerate(tracks)
            for rank, o in enumerate(best_first)
            if view.labels[o] == label
        )
        taken: set[int] = set()
        for step, rank, slot in steps:
            if step <= FARTHEST_STEP and rank not in taken and chosen[at, slot] < 0:
                chosen[at, slot] = best_first[rank]
                taken.add(rank)
        for rank, o in enumerate(best_first):
            if rank not in taken and len(tracks) < slots:
                chosen[at, len(tracks)] = o
                tracks.append((view.labels[o], centres[o]))
        for slot, (label, _) in enumerate(tracks):
            if chosen[at, slot] >= 0:
                tracks[slot] = (label, centres[chosen[at, slot]])
    return chosen


def _identity_known(views: Sequence[View]) -> bool:
    """A clip that knows true directions lists the same objects in the same order in every view."""
    same = len({view.labels for view in views}) == 1
    return same and any(np.isfinite(view.positions_O3[:, :2]).any() for view in views)


def _wanted(view: View, slots: np.ndarray, data: DataConfig, reserved: int, region, aspect: float):
    """Boxes (O, 4) and positions (O, 3) of the slots, NaN where empty."""
    boxes = np.full((data.objects, 4), np.nan)
    known = np.full((data.objects, 3), np.nan)
    x, y, width, height = region
    if not view.objects_known:
        first = 0 if data.whole_frame == "never" else 1
        boxes[:first] = x, y, x + width, y + height
        squares = row_of_squares(data.objects - first, aspect * width / height)
        boxes[first:] = squares * ((width, height) * 2) + (x, y) * 2
        return boxes, known
    boxes[:reserved] = x, y, x + width, y + height
    for slot, o in enumerate(slots, start=reserved):
        if o >= 0:
            boxes[slot], known[slot] = view.boxes_O4[o], view.positions_O3[o]
    return boxes, known


def row_of_squares(count: int, aspect: float) -> np.ndarray:
    """Boxes (count, 4) of equal squares, evenly from the left edge to the right, half-way up; they may overlap."""
    width = min(1.0 / aspect, 1.0 if count < 2 else 2.0 / count)
    left = np.linspace(0.0, 1.0 - width, count) if count > 1 else np.full(count, (1.0 - width) / 2)
    high = width * aspect
    ones = np.ones_like(left)
    return np.stack([left, ones * (0.5 - high / 2), left + width, ones * (0.5 + high / 2)], axis=-1)


def _pixels(region, width: int, height: int) -> tuple[float, float, float, float]:
    x, y, w, h = region
    return x * width, y * height, (x + w) * width, (y + h) * height


def _square(box_4, margin: float, window, width: int, height: int) -> tuple[float, float, float, float]:
    """A square in pixels around the box with its margin, no larger than the window and moved inside it."""
    x1, y1, x2, y2 = box_4[0] * width, box_4[1] * height, box_4[2] * width, box_4[3] * height
    side = max(x2 - x1, y2 - y1, 1.0) * (1.0 + 2.0 * margin)
    side = min(side, window[2] - window[0], window[3] - window[1])
    left = min(max((x1 + x2 - side) / 2, window[0]), window[2] - side)
    top = min(max((y1 + y2 - side) / 2, window[1]), window[3] - side)
    return left, top, left + side, top + side


def _cut(image_HW3: np.ndarray, box, size: tuple[int, int]) -> np.ndarray:
    """The box (pixels, fractions count) of a picture, resized to a height and a width."""
    x, y = int(box[0]), int(box[1])
    part = image_HW3[y : int(np.ceil(box[3])) + 1, x : int(np.ceil(box[2])) + 1]
    high, wide = part.shape[:2]
    inside = (box[0] - x, box[1] - y, min(box[2] - x, wide), min(box[3] - y, high))
    picture = Image.fromarray(np.ascontiguousarray(part))
    return np.asarray(picture.resize(size[::-1], Image.Resampling.BILINEAR, box=inside, reducing_gap=2.0))
