"""What one picture shows: the pixels, the objects in it, and where they are.

Conventions: image positions in [0, 1], x from left to right, y from top to bottom; boxes are (x1, y1, x2, y2) in the same
unit; positions are (azimuth_deg, elevation_deg, distance_m) seen from the head, azimuth positive to the left, NaN where
unknown.
"""

from dataclasses import dataclass, field

import numpy as np


def _nothing(*shape: int):
    return field(default_factory=lambda: np.zeros((0, *shape), np.float32))


@dataclass(frozen=True)
class View:
    """One picture and its O objects, in a fixed order over a clip where their identity is known."""

    image_HW3: np.ndarray  # uint8, RGB
    boxes_O4: np.ndarray = _nothing(4)
    positions_O3: np.ndarray = _nothing(3)
    scores_O: np.ndarray = _nothing()
    labels: tuple[str, ...] = ()
    objects_known: bool = False  # False: nobody looked for objects; True with O = 0: somebody looked and found none
    h_fov_deg: float | None = None  # the camera's horizontal field of view, where it is known
