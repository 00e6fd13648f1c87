"""Angles, unit vectors and the camera.

Conventions: the head is the origin, x ahead, y left, z up. Azimuth 0° is ahead and positive to the left, elevation is
positive up, both in degrees, as in SOFA. Image positions are in [0, 1], x from left to right, y from top to bottom.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from binaural_core.config import Config
from binaural_core.errors import need


def unit_vectors(azimuth_deg: ArrayLike, elevation_deg: ArrayLike) -> np.ndarray:
    """Unit vectors (..., 3) that point to the directions."""
    azimuth, elevation = np.broadcast_arrays(np.radians(azimuth_deg), np.radians(elevation_deg))
    return np.stack(
        [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)], axis=-1
    )


def directions(points: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Azimuth in [-180, 180) and elevation in degrees, and distance in the points' unit, of points (..., 3)."""
    x, y, z = np.moveaxis(np.asarray(points, float), -1, 0)
    azimuth_deg = wrap_deg(np.degrees(np.arctan2(y, x)))
    return azimuth_deg, np.degrees(np.arctan2(z, np.hypot(x, y))), np.sqrt(x**2 + y**2 + z**2)


def wrap_deg(angle_deg: ArrayLike) -> np.ndarray:
    """The same angle in [-180, 180)."""
    return (np.asarray(angle_deg, float) + 180.0) % 360.0 - 180.0


def angle_between_deg(one: ArrayLike, other: ArrayLike) -> np.ndarray:
    """The angle at the head between two directions, each (..., 2) = azimuth, elevation in degrees."""
    one, other = np.asarray(one, float), np.asarray(other, float)
    a, b = unit_vectors(one[..., 0], one[..., 1]), unit_vectors(other[..., 0], other[..., 1])
    return np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), (a * b).sum(-1)))


@dataclass(frozen=True, kw_only=True)
class Camera(Config):
    """A pinhole camera at the head that looks straight ahead."""

    h_fov_deg: float = 90.0
    """Horizontal angle of view."""
    aspect: float = 16 / 9
    """Picture width over height; pixels are square."""

    def validate(self) -> None:
        need(
            0 < self.h_fov_deg < 180,
            f"h_fov_deg={self.h_fov_deg:g} is no angle of view",
            why="a pinhole camera sees more than 0 and less than 180 degrees",
            fix="give the camera's horizontal angle of view, 90 if it is unknown",
        )
        need(
            0.1 <= self.aspect <= 10,
            f"aspect={self.aspect:g} is no picture format",
            why="it is picture width over height",
            fix="give width / height, such as 1.78",
        )

    def image_position(self, azimuth_deg: ArrayLike, elevation_deg: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """(x, y) of directions: inside [0, 1] when in view, outside when not, NaN from 90 degrees to the side on."""
        ahead, left, up = np.moveaxis(unit_vectors(azimuth_deg, elevation_deg), -1, 0)
        ahead = np.where(ahead > 1e-9, ahead, np.nan)
        return 0.5 - left / ahead / (2 * self._half_width), 0.5 - up / ahead * self.aspect / (2 * self._half_width)

    def azimuth_deg(self, x: ArrayLike) -> np.ndarray:
        """Azimuth of a column of the picture: -atan((2x - 1) tan(h_fov / 2)), the same at every height."""
        return -np.degrees(np.arctan((2 * np.asarray(x, float) - 1) * self._half_width))

    def elevation_deg(self, x: ArrayLike, y: ArrayLike) -> np.ndarray:
        """Elevation of a point of the picture; it depends on x too, as lines of sight to the side are longer."""
        right = (2 * np.asarray(x, float) - 1) * self._half_width
        up = (1 - 2 * np.asarray(y, float)) * self._half_width / self.aspect
        return np.degrees(np.arctan2(up, np.hypot(1.0, right)))

    def in_view(self, azimuth_deg: ArrayLike, elevation_deg: ArrayLike) -> np.ndarray:
        """Whether directions fall into the picture."""
        x, y = self.image_position(azimuth_deg, elevation_deg)
        return (x >= 0) & (x <= 1) & (y >= 0) & (y <= 1)

    @property
    def _half_width(self) -> float:
        """Half the picture's width at a distance of 1."""
        return float(np.tan(np.radians(self.h_fov_deg) / 2))
