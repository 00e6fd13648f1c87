"""What is known of the objects in the pictures: a detector's boxes, or true places from a sidecar.

``detection_results.csv``: ``video_id,frame,label,score,x1,y1,x2,y2``, boxes in pixels, frames by number. Other column
names are mapped by the config. ``places.csv``: ``video_id,time_s,object,label,azimuth_deg,elevation_deg,distance_m,
x1,y1,x2,y2``, boxes in [0, 1], ``object`` an index that one object keeps.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from binaural_core.data.frames import Picture
from binaural_core.data.splits import base_name, number, read_rows
from binaural_core.errors import need
from binaural_core.scene.view import View

DIRECTION, BOX = ("azimuth_deg", "elevation_deg", "distance_m"), ("x1", "y1", "x2", "y2")
DETECTION_COLUMNS = ("video_id", "frame", "label", "score", *BOX)
PLACE_COLUMNS = ("video_id", "time_s", "object", "label", *DIRECTION, *BOX)


class Objects(Protocol):
    """What is known of the objects of one video."""

    def view(self, picture: Picture, time_s: float) -> View: ...


@dataclass(frozen=True, eq=False)
class Detections:
    """A detector's findings in one video, sorted by frame."""

    frames_R: np.ndarray
    boxes_px_R4: np.ndarray
    scores_R: np.ndarray
    labels: tuple[str, ...]
    source: Path

    def view(self, picture: Picture, time_s: float) -> View:
        """The picture with its detections; where a detector looked at every n-th frame only, those of the nearest."""
        if picture.number is None:
            return View(picture.image_HW3)
        looked_at = np.unique(self.frames_R)
        nearest = looked_at[np.argmin(np.abs(looked_at - picture.number))]
        every = int(np.median(np.diff(looked_at))) if len(looked_at) > 1 else 1
        rows = np.flatnonzero(self.frames_R == nearest) if abs(nearest - picture.number) <= every // 2 else []
        height, width = picture.image_HW3.shape[:2]
        boxes = self.boxes_px_R4[rows] / np.float32([width, height, width, height])
        need(
            boxes.size == 0 or bool((boxes <= 1.05).all()),
            f"{self.source} has boxes outside the pictures (frame {nearest}, up to {boxes.max(initial=0):.2f} of its side)",
            why=f"boxes are in pixels of the frames, which are {width} x {height}",
            fix="scale the boxes, or use the frames in which the objects were found",
        )
        return View(
            picture.image_HW3,
            boxes.astype(np.float32).clip(0, 1),
            np.full((len(rows), 3), np.nan, np.float32),
            self.scores_R[rows].astype(np.float32),
            tuple(self.labels[row] for row in rows),
            objects_known=True,
        )


@dataclass(frozen=True, eq=False)
class Places:
    """True places of the O objects of one video at T times; NaN while an object is away."""

    times_s_T: np.ndarray
    boxes_TO4: np.ndarray
    positions_TO3: np.ndarray
    labels: tuple[str, ...]

    def view(self, picture: Picture, time_s: float) -> View:
        """The picture with all objects of the video, in one order; a box is NaN while its object is away."""
        at = int(np.argmin(np.abs(self.times_s_T - time_s)))
        scores = np.ones(len(self.labels), np.float32)
        return View(picture.image_HW3, self.boxes_TO4[at], self.positions_TO3[at], scores, self.labels, True)


def find_objects(folders: Sequence[Path], columns: Mapping[str, str] | None = None) -> dict[str, Objects]:
    """What is known in the folders of a layout, by video: true places where there is a sidecar, else detections."""
    for folder in folders:
        if (folder / "places.csv").is_file():
            return dict(read_places(folder / "places.csv"))
    for folder in folders:
        path = folder / "action_detection_results" / "detection_results.csv"
        if path.is_file():
            return dict(read_detections(path, columns))
    return {}


def read_detections(path: str | Path, columns: Mapping[str, str] | None = None) -> dict[str, Detections]:
    """Detections by video. ``columns`` maps our names to the file's where they differ.

    Raises InputError naming file, line and column when one is missing or no number.
    """
    path, names = Path(path), {name: name for name in DETECTION_COLUMNS} | dict(columns or {})
    unknown = sorted(set(names) - set(DETECTION_COLUMNS))
    need(
        not unknown,
        f"detection_columns maps {', '.join(unknown)}",
        why=f"the columns are {', '.join(DETECTION_COLUMNS)}",
        fix="map our names to the names in your file",
    )
    found = defaultdict(list)
    for line, row in read_rows(path, names.values()):
        box = [number(row, names[side], path, line) for side in BOX]
        digits = re.findall(r"\d+", base_name(row[names["frame"]]))
        need(
            bool(digits),
            f"{path}, line {line}: {names['frame']} is {row[names['frame']]!r}",
            why="it must hold the frame's number",
            fix="correct the line",
        )
        need(
            box[0] <= box[2] and box[1] <= box[3],
            f"{path}, line {line}: the box is {box}",
            why="x1, y1 is its upper left corner and x2, y2 its lower right one",
            fix="correct the line, or map the columns in the config",
        )
        score = number(row, names["score"], path, line)
        found[base_name(row[names["video_id"]])].append((int(digits[-1]), box, score, row[names["label"]]))
    return {video: _detections(rows, path) for video, rows in found.items()}


def _detections(rows: list[tuple[int, list[float], float, str]], path: Path) -> Detections:
    rows.sort(key=lambda row: row[0])
    frames, boxes, scores, labels = zip(*rows, strict=True)
    return Detections(np.array(frames), np.float32(boxes), np.float32(scores), tuple(labels), path)


def read_places(path: str | Path) -> dict[str, Places]:
    """True places by video. Raises InputError naming file, line and column when one is missing or no number."""
    path = Path(path)
    found = defaultdict(list)
    for line, row in read_rows(path, PLACE_COLUMNS):
        place = [_number_or_nan(row, c, path, line) for c in DIRECTION]
        box = [_number_or_nan(row, c, path, line) for c in BOX]
        time_s, which = number(row, "time_s", path, line), int(number(row, "object", path, line))
        found[base_name(row["video_id"])].append((time_s, which, row["label"], place, box))
    return {video: _places(rows) for video, rows in found.items()}


def _number_or_nan(row: dict[str, str], column: str, path: Path, line: int) -> float:
    return float("nan") if row[column].lower() in ("", "nan") else number(row, column, path, line)


def _places(rows: list[tuple[float, int, str, list[float], list[float]]]) -> Places:
    labels = {which: label for _, which, label, _, _ in sorted(rows, key=lambda row: row[1])}
    slot = {which: at for at, which in enumerate(labels)}
    times = sorted({time_s for time_s, *_ in rows})
    at = {time_s: t for t, time_s in enumerate(times)}
    boxes = np.full((len(times), len(labels), 4), np.nan, np.float32)
    positions = np.full((len(times), len(labels), 3), np.nan, np.float32)
    for time_s, which, _, place, box in rows:
        boxes[at[time_s], slot[which]], positions[at[time_s], slot[which]] = box, place
    return Places(np.array(times), boxes, positions, tuple(labels.values()))
