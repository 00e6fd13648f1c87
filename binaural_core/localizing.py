"""How well the localiser finds what sounds: films of unseen rendered scenes, with nothing told, against the true places.

The films go the way of a user's film: mp4 in, `open_eyes`, directions out. An object that is not found within `NEAR_DEG`
is missed and counts as infinitely far off in the quantiles; a peak beyond that is false.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment

from binaural_core.checkpoint import write_whole
from binaural_core.data.config import DataConfig
from binaural_core.data.eyes import open_eyes
from binaural_core.data.film import write_film
from binaural_core.data.rendered import RenderedClip, RenderedConfig, clips
from binaural_core.models.localizer import Localizer

NEAR_DEG = 10.0
FILM_S = 2.0
TIMES_S = (0.25, 0.75, 1.25, 1.75)
MOST_OBJECTS = 6
RATE_HZ = 22_050
SOURCES = {1: "one", 2: "two", 3: "three"}


@dataclass(frozen=True)
class Found:
    """What was found in one picture: how far off each true object is (inf: missed), and how many peaks are false."""

    sources: int
    errors_deg: tuple[float, ...]
    false: int


def measure(
    localizer: Localizer,
    *,
    scenes: int = 60,
    seed: int = 77,
    width_px: int = 320,
    h_fov_deg: float = 90.0,
    on_film: Callable[[int, int], None] | None = None,
) -> list[Found]:
    """Four pictures of each of ``scenes`` films of the test split."""
    camera = {"scene.camera.h_fov_deg": h_fov_deg, "scene.duration_s": FILM_S}
    config = RenderedConfig(width_px=width_px, height_px=width_px * 9 // 16).replace(**camera)
    found: list[Found] = []
    for number, clip in enumerate(clips("test", scenes, seed, config), start=1):
        found += _in_film(clip, localizer, h_fov_deg)
        if on_film:
            on_film(number, scenes)
    return found


def off_deg(found_deg: np.ndarray, true_deg: np.ndarray) -> tuple[np.ndarray, int]:
    """How far off each true azimuth is found, each peak belonging to one (inf: missed), and how many peaks are left over."""
    distance_FT = np.abs(found_deg[:, None] - true_deg[None])
    peaks, objects = linear_sum_assignment(distance_FT)
    errors_T = np.full(len(true_deg), np.inf)
    errors_T[objects] = distance_FT[peaks, objects]
    errors_T[errors_T > NEAR_DEG] = np.inf
    return errors_T, len(found_deg) - int(np.isfinite(errors_T).sum())


def table(found: list[Found]) -> str:
    """A markdown table by the number of sources."""
    head = "| sources | objects | median error | 90 % are within | found within 10° | false peaks per picture |"
    lines = [head, "|---|---:|---:|---:|---:|---:|"]
    for name, chosen in [(SOURCES[n], [f for f in found if f.sources == n]) for n in SOURCES] + [("all", found)]:
        errors = np.array([error for picture in chosen for error in picture.errors_deg])
        if not len(errors):
            continue
        median, most = (np.quantile(errors, q, method="lower") for q in (0.5, 0.9))
        near, false = np.isfinite(errors).mean(), np.mean([picture.false for picture in chosen])
        cells = [f"{value:.1f}°" if np.isfinite(value) else "–" for value in (median, most)]
        lines.append(f"| {name} | {len(errors)} | {' | '.join(cells)} | {100 * near:.0f} % | {false:.2f} |")
    return "\n".join(lines)


def save(found: list[Found], folder: str | Path) -> Path:
    """The table as ``measures.md``."""
    return write_whole(Path(folder) / "measures.md", lambda temporary: temporary.write_text(table(found) + "\n"))


def _in_film(clip: RenderedClip, localizer: Localizer, h_fov_deg: float) -> list[Found]:
    silence_CN = np.zeros((1, round(FILM_S * RATE_HZ)), np.float32)
    with tempfile.TemporaryDirectory() as folder:
        images = [view.image_HW3 for view in clip.look(list(clip.frame_times_s))]
        film = write_film(Path(folder) / "film.mp4", images, clip.config.frames_per_s, silence_CN, RATE_HZ)
        data = DataConfig(h_fov_deg=h_fov_deg, objects=MOST_OBJECTS)
        eyes = open_eyes(data, FILM_S, video=film, locate=localizer.locate)
        sight, views = eyes.sight(TIMES_S), eyes.look(TIMES_S)
    found = []
    for at, truth in enumerate(clip.look(TIMES_S)):
        here = ~sight.mask_LO[at] & views[at].objects_known  # a grid of crops finds nobody
        errors, false = off_deg(sight.positions_LO3[at, here, 0], truth.positions_O3[:, 0])
        found.append(Found(len(clip.scene.sources), tuple(errors.tolist()), false))
    return found
