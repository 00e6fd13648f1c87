"""Stored log-mels as recordings: files of both ears, or the windows that stage 1 wrote, put together again.

Either gives the frames of one grid, read where they are wanted, so that a recording may be of any length. Windows begin
at whole hundredths of a second, between two frames of that grid: each is read in between its own frames (linearly) and
where windows overlap they are cross-faded. On true mels this is nearer to the mel of the whole recording than rounding
the starts to frames (mean error 0.046 instead of 0.077 on the rendered samples).

Conventions: mels are (E, M, F) float32, natural log, E = 2 with row 0 the left ear, or 1 for a mono file.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from binaural_core.audio import LOG_FLOOR, MelConfig
from binaural_core.data.mel_pairs import EARS, NAME
from binaural_core.errors import InputError, need

BLOCK_FRAMES = 4096  # looked through at a time
LOWEST, HIGHEST = -14.0, 6.0  # beyond the natural log of any sound's mel magnitude


class StoredMels(Protocol):
    """Mels of one recording, on disk."""

    name: str
    ears: int
    frames: int
    samples: int  # that the wave shall have: at most frames * hop_samples

    def read(self, low: int, high: int) -> np.ndarray:
        """Frames low … high - 1, (E, M, F). Raises InputError when a file is gone."""
        ...


@dataclass(frozen=True)
class Found:
    """What a folder holds: recordings that can be read, and why the others cannot."""

    recordings: list[StoredMels]
    broken: dict[str, InputError]


@dataclass(frozen=True)
class MelFiles:
    """A file for each ear, or one file for all it holds."""

    name: str
    paths: tuple[Path, ...]
    ears: int
    frames: int
    samples: int
    bands: int

    def read(self, low: int, high: int) -> np.ndarray:
        return _both([_open(path, self.bands)[..., low:high] for path in self.paths])


@dataclass(frozen=True)
class Window:
    """One window of a recording: where it begins, in frames of the recording's grid, and how many it has."""

    first: float
    frames: int
    paths: tuple[Path, ...]


@dataclass(frozen=True)
class MelWindows:
    """The windows of one recording. Where there is none the mel is at its floor: silence."""

    name: str
    windows: tuple[Window, ...]  # by their beginning
    frames: int
    samples: int
    bands: int
    ears: int = 2

    def read(self, low: int, high: int) -> np.ndarray:
        sum_EMF = np.zeros((self.ears, self.bands, high - low))
        weight_F = np.zeros(high - low)
        for window in self.windows:
            at_F = np.arange(low, high) - window.first
            inside = (at_F > -1) & (at_F < window.frames)
            if inside.any():
                at_F = at_F[inside]
                weight = np.minimum(at_F + 1, window.frames - at_F)  # the middle of a window counts most
                mel_EMW = _both([_open(path, self.bands) for path in window.paths])
                sum_EMF[..., inside] += weight * _between(mel_EMW, at_F)
                weight_F[inside] += weight
        heard = weight_F > 0
        sum_EMF[..., heard] /= weight_F[heard]
        sum_EMF[..., ~heard] = LOG_FLOOR
        return sum_EMF.astype(np.float32)

    def gaps(self) -> Iterator[tuple[int, int]]:
        """Stretches of frames (first, last + 1) that no window covers."""
        end = 0.0
        for window in self.windows:
            if math.ceil(end) <= window.first - 1:
                yield math.ceil(end), math.floor(window.first - 1) + 1
            end = max(end, window.first + window.frames)


def mel_files(folder: str | Path, mel: MelConfig) -> Found:
    """Recordings whose mels lie in a folder as ``{name}_left.npy`` and ``{name}_right.npy``, (M, F) each.

    The ears may lie side by side, or under ``left/`` and ``right/`` (with or without the suffix), at any depth. A file that
    names no ear is a recording of its own: (2, M, F) both ears, (M, F) mono.
    Raises InputError when the folder is not there or empty, or holds two recordings of one name.
    """
    found, broken = [], {}
    for name, by_ear in _by_name(folder).items():
        try:
            paths, ears, frames = _whole(name, by_ear, mel.n_mels)
            found.append(MelFiles(name, paths, ears, frames, frames * mel.hop_samples, mel.n_mels))
        except InputError as error:
            broken[name] = error
    return Found(found, broken)


def mel_windows(folder: str | Path, mel: MelConfig) -> Found:
    """Whole recordings from what `binaural mels` wrote: ``{left,right}/{split}/{video_id}_{start_s:.2f}_{ear}.npy``.

    Windows of one recording may lie in several splits. One that cannot be read breaks its recording.
    Raises InputError as `mel_files` does.
    """
    windows: dict[str, list[Window]] = {}
    broken: dict[str, InputError] = {}
    for name, by_ear in _by_name(folder).items():
        video_id, start_s = window_of(name) or (name, math.nan)
        try:
            need(
                start_s >= 0,
                f"{next(iter(by_ear.values()))} does not say where it begins",
                why="windows are named {video_id}_{start_s:.2f}_left.npy and …_right.npy",
                fix="rename it, or make a sound of each file with --mels",
            )
            paths, ears, frames = _whole(name, by_ear, mel.n_mels)
            need(
                ears == 2, f"the window {name} has one ear", why="two are needed", fix="write the other ear's mels too"
            )
            first = round(start_s * mel.sample_rate_hz) / mel.hop_samples
            windows.setdefault(video_id, []).append(Window(first, frames, paths))
        except InputError as error:
            broken.setdefault(video_id, error)
    found: list[StoredMels] = []
    for video_id, parts in windows.items():
        if video_id not in broken:
            ordered = tuple(sorted(parts, key=lambda part: part.first))
            end = max(part.first + part.frames for part in parts)
            found.append(MelWindows(video_id, ordered, math.ceil(end), round(end * mel.hop_samples), mel.n_mels))
    return Found(found, broken)


def window_of(name: str) -> tuple[str, float] | None:
    """``("one", 0.92)`` of ``one_0.92``; None for a name that says no beginning."""
    match = NAME.fullmatch(f"{name}_{EARS[0]}.npy")
    return (match["video_id"], float(match["start_s"])) if match else None


def _by_name(folder: str | Path) -> dict[str, dict[str, Path]]:
    """The files of every name by ear; under "" where none is named."""
    folder = Path(folder)
    need(folder.is_dir(), f"{folder} is not a folder", why="it should hold mel files", fix="check the path")
    files: dict[str, dict[str, Path]] = {}
    for path in sorted(folder.rglob("*.npy")):
        if path.name.startswith("."):
            continue
        name, _, suffix = path.stem.rpartition("_")
        told = bool(name) and suffix in EARS
        shelf = next((part for part in reversed(path.relative_to(folder).parts[:-1]) if part in EARS), "")
        ear = suffix if told else shelf
        by_ear = files.setdefault(name if told else path.stem, {})
        need(
            shelf in ("", ear),
            f"{path} is named for the {ear} ear",
            why=f"it lies under {shelf}/",
            fix="rename or move it",
        )
        need(
            ear not in by_ear,
            f"{path} and {by_ear.get(ear)} have one name",
            why="each sound is written under its name, so one would replace the other",
            fix="rename one of them, or name a smaller folder",
        )
        by_ear[ear] = path
    need(bool(files), f"{folder} holds no mel files", why="there is no .npy in it", fix="check the path")
    return files


def _whole(name: str, by_ear: dict[str, Path], bands: int) -> tuple[tuple[Path, ...], int, int]:
    """Paths, ears and frames of one name, looked through. Raises InputError when they are no whole."""
    there = ", ".join(str(path) for path in by_ear.values())
    if set(by_ear) != {""}:
        missing = [ear for ear in EARS if ear not in by_ear]
        need(
            not missing,
            f"the {' and '.join(missing)} ear of {name} is missing",
            why=f"there is only {there}",
            fix="write it again; a mel that names no ear is taken alone",
        )
        need(len(by_ear) == 2, f"{name} has three files", why=there, fix="rename the one that names no ear")
    paths = tuple(by_ear[ear] for ear in EARS if ear in by_ear) or (by_ear[""],)
    shapes = [_checked(path, bands).shape for path in paths]
    need(
        len(shapes) == 1 or shapes[0][0] == shapes[1][0] == 1,
        f"a file of {name} holds two ears",
        why="by its name it is for one",
        fix="write (bands, frames) for each ear, or one file without left or right in its name",
    )
    need(
        len({shape[2] for shape in shapes}) == 1,
        f"the ears of {name} have {shapes[0][2]} and {shapes[-1][2]} frames",
        why="they must be the same stretch",
        fix="write them again",
    )
    return paths, sum(shape[0] for shape in shapes), shapes[0][2]


def _open(path: Path, bands: int) -> np.ndarray:
    """A file as (E, M, F), left on disk."""
    try:
        mel = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"the mel file {path} cannot be read", why=str(error), fix="write it again") from error
    shape = getattr(mel, "shape", ())
    need(
        len(shape) in (2, 3) and shape[-2] == bands and shape[-1] > 0 and shape[:-2] in ((), (2,)),
        f"the mel file {path} has shape {tuple(shape)}",
        why=f"the vocoder hears ({bands}, frames), or (2, {bands}, frames) for both ears",
        fix="write mels with the vocoder's mel config, bands first",
    )
    need(
        np.issubdtype(mel.dtype, np.floating),
        f"the mel file {path} holds {mel.dtype}",
        why="a log-mel is a floating-point array",
        fix="write float32, natural log, not scaled",
    )
    return mel if mel.ndim == 3 else mel[None]


def _checked(path: Path, bands: int) -> np.ndarray:
    """`_open`, looked through. Warns of numbers that are hardly the natural log of a mel magnitude."""
    mel_EMF, lowest, highest = _open(path, bands), math.inf, -math.inf
    for at in range(0, mel_EMF.shape[2], BLOCK_FRAMES):
        block_EMF = mel_EMF[..., at : at + BLOCK_FRAMES]
        need(
            bool(np.isfinite(block_EMF).all()),
            f"the mel file {path} has NaN or infinite values",
            why="they would be heard as noise, or end in no sound at all",
            fix="write it again; silence is ln 1e-5, not minus infinity",
        )
        lowest, highest = min(lowest, float(block_EMF.min())), max(highest, float(block_EMF.max()))
    if lowest < LOWEST or highest > HIGHEST or (lowest >= -1 and highest <= 1):
        warnings.warn(
            f"{path} goes from {lowest:.3g} to {highest:.3g}: a natural log of mel magnitudes, not scaled, goes from "
            "-11.5 to about 2; others become noise",
            stacklevel=2,
        )
    return mel_EMF


def _both(arrays: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.asarray(array, np.float32) for array in arrays])


def _between(mel_EMW: np.ndarray, at_F: np.ndarray) -> np.ndarray:
    """Values between frames, linear; the first and the last are held."""
    last = mel_EMW.shape[2] - 1
    at_F = np.clip(at_F, 0, last)
    before = np.minimum(at_F.astype(int), max(last - 1, 0))
    part_F = at_F - before
    return (1 - part_F) * mel_EMW[..., before] + part_F * mel_EMW[..., np.minimum(before + 1, last)]
