"""Pictures by time: from a folder of frames, or from the video itself; and the extractor that turns one into the other.

Conventions: time 0 is the first picture. Frames are numbered from 0 or 1 (n0); frame n shows the time (n - n0) / fps.
The rate of a folder is read from its ``frames.json`` (our extractor writes it), given, or inferred from the number of
frames and the length of the sound.
"""

import json
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

import av
import numpy as np
from PIL import Image, UnidentifiedImageError

from binaural_core.checkpoint import save_json
from binaural_core.data.splits import PICTURE_SUFFIXES, base_name
from binaural_core.errors import InputError, need

USUAL_FPS = (10, 25, 30, 8, 5, 24, 15, 12, 20, 1, 2, 4, 6, 12.5, 16, 50, 60)  # the likelier first
HOLD_S = 1.0  # the last picture stands this long when the sound goes on
JUMP_S = 3.0  # decoding this far is quicker than a jump
TIE_S = 1e-6  # half-way between two pictures the earlier one counts
NOTE = "frames.json"


@dataclass(frozen=True)
class Picture:
    """One picture and the number of its frame, where frames are numbered."""

    image_HW3: np.ndarray  # uint8, RGB
    number: int | None = None


@dataclass(frozen=True)
class FrameFolder:
    """A folder of numbered pictures, whatever their names: 000001.png, 1.jpg, frame_000001.jpg."""

    folder: Path
    fps: float | None = None

    def at(self, times_s: Sequence[float], sound_s: float | None = None) -> list[Picture]:
        """The picture nearest to each time; ``sound_s``, the length of the sound, tells the rate where nothing else does.

        Raises InputError naming the file or folder when a picture is missing or broken, or the rate cannot be told.
        """
        return [self._read(number) for number in self.numbers(times_s, sound_s)]

    def numbers(self, times_s: Sequence[float], sound_s: float | None = None) -> list[int]:
        """The frame numbers of `at`."""
        first, last, fps = min(1, *self.files), max(self.files), self.rate(sound_s)
        numbers = [first + max(0, round(time * fps)) for time in times_s]
        latest = max(numbers, default=first)
        need(
            latest - last <= max(1.0, HOLD_S * fps),
            f"the frames in {self.folder} end at {(last - first + 1) / fps:.2f} s, asked for {(latest - first) / fps:.2f} s",
            why=f"there are {last - first + 1} at {fps:g} frames per second, and the sound goes on",
            fix="extract the frames again (binaural frames), or give their true rate as fps",
        )
        return [min(number, last) for number in numbers]

    def rate(self, sound_s: float | None = None) -> float:
        """Frames per second."""
        return self.fps or self._noted_fps or infer_fps(1 + max(self.files) - min(1, *self.files), sound_s, self.folder)

    @cached_property
    def _noted_fps(self) -> float | None:
        note = self.folder / NOTE
        try:
            return float(json.loads(note.read_text())["fps"]) if note.is_file() else None
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{note} cannot be read", why=str(error), fix="extract the frames again") from error

    @cached_property
    def files(self) -> dict[int, str]:
        """The pictures' file names by number."""
        need(
            self.folder.is_dir(),
            f"frame folder {self.folder} is not there",
            why="it holds the pictures",
            fix="check the path",
        )
        files: dict[int, str] = {}
        for path in sorted(self.folder.iterdir()):
            digits = re.findall(r"\d+", path.stem)
            if path.suffix.lower() in PICTURE_SUFFIXES and digits and not path.name.startswith("."):
                other = files.setdefault(int(digits[-1]), path.name)
                need(
                    other == path.name,
                    f"{other} and {path.name} in {self.folder} are both frame {int(digits[-1])}",
                    why="one number stands for one time",
                    fix="keep one of them",
                )
        need(
            bool(files),
            f"frame folder {self.folder} holds no numbered pictures",
            why=f"frames are files such as 000001.jpg ({', '.join(PICTURE_SUFFIXES)})",
            fix="extract the frames again (binaural frames)",
        )
        return files

    def _read(self, number: int) -> Picture:
        name = self.files.get(number)
        if name is None:
            near = self.files[min(self.files, key=lambda other: abs(other - number))]
            raise InputError(
                f"frame {number} is missing in {self.folder}",
                why=f"others are there, such as {near}",
                fix="extract the frames again (binaural frames)",
            )
        return Picture(read_picture(self.folder / name), number)


def read_picture(path: str | Path) -> np.ndarray:
    """uint8 RGB (H, W, 3). Raises InputError naming the file when it is missing or broken."""
    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("RGB"))
    except FileNotFoundError as error:
        raise InputError(f"picture {path} is not there", why="a window needs it", fix="extract it again") from error
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        raise InputError(f"picture {path} is broken", why=str(error), fix="extract it again") from error


def infer_fps(count: int, sound_s: float | None, name: str | Path) -> float:
    """The usual rate that ``count`` frames in ``sound_s`` seconds mean. Raises InputError where none fits."""
    need(bool(sound_s), f"the rate of the frames in {name} is not known", why="no sound tells it", fix="give fps")
    misses = [(round(abs(count - fps * sound_s)), rank, fps) for rank, fps in enumerate(USUAL_FPS)]
    miss, _, fps = min(misses)
    need(
        miss <= max(1, 0.04 * count),
        f"{count} frames in {name} for {sound_s:.2f} s of sound are {count / sound_s:.2f} per second",
        why="that is no usual rate, so frames are missing or sound and frames do not belong together",
        fix="give the rate as fps, or extract the frames again (binaural frames)",
    )
    return float(fps)


@dataclass(frozen=True)
class VideoFrames:
    """The pictures of a video file, decoded where they are asked for. For training, extracted frames are quicker."""

    path: Path

    def at(self, times_s: Sequence[float], sound_s: float | None = None) -> list[Picture]:
        """The picture nearest to each time. Raises InputError naming the video when it is broken or ends before."""
        del sound_s
        # One open decoder per process and thread, a few videos each: hundreds of open files would exhaust the system.
        changed_ns = self.path.stat().st_mtime_ns if self.path.is_file() else 0
        reader = _open(self.path, changed_ns, os.getpid(), threading.get_ident())
        try:
            return [Picture(reader.at(time)) for time in times_s]
        except av.FFmpegError as error:
            _open.cache_clear()
            raise _broken(self.path, error) from error


class _Decoder:
    """An open video that gives the picture nearest to a time, cheaply when times go forward."""

    def __init__(self, path: Path):
        self.path = path
        self._container, self._stream = _film(path)
        self._zero_s = float((self._stream.start_time or 0) * self._stream.time_base)
        self._now = self._next = None
        self._shown: tuple[float, np.ndarray] | None = None

    def at(self, time_s: float) -> np.ndarray:
        if self._now is None or not -1e-9 <= time_s - self._time(self._now) <= JUMP_S:
            self._jump(time_s)
        while self._next is not None and self._time(self._next) <= time_s:
            self._now, self._next = self._next, next(self._decoded, None)
        ends_s = self._time(self._now)
        need(
            self._next is not None or time_s - ends_s <= max(HOLD_S, 1.5 / float(self._stream.average_rate or 25)),
            f"video {self.path} ends at {ends_s:.2f} s, asked for {time_s:.2f} s",
            why="it is shorter than its sound, or was cut off",
            fix="shorten the sound, or copy the video again",
        )
        nearest = self._now
        if self._next is not None and self._time(self._next) - time_s < time_s - ends_s - 2 * TIE_S:
            nearest = self._next
        if self._shown is None or self._shown[0] != self._time(nearest):
            self._shown = self._time(nearest), upright(nearest)
        return self._shown[1]

    def _jump(self, time_s: float) -> None:
        self._start(max(0.0, time_s + self._zero_s))
        if self._now is None or self._time(self._now) > time_s:
            self._start(0.0)
        need(
            self._now is not None,
            f"video {self.path} holds no picture",
            why="its film track cannot be decoded",
            fix="convert it to mp4 (H.264)",
        )

    def _start(self, from_s: float) -> None:
        self._container.seek(int(from_s / self._stream.time_base), stream=self._stream)
        self._decoded = (frame for frame in self._container.decode(self._stream) if frame.pts is not None)
        self._now, self._next = next(self._decoded, None), next(self._decoded, None)

    def _time(self, frame: av.VideoFrame) -> float:
        return float(frame.pts * frame.time_base) - self._zero_s


@lru_cache(maxsize=4)
def _open(path: Path, changed_ns: int, process: int, thread: int) -> _Decoder:
    return _Decoder(path)


def _film(path: Path) -> tuple[av.container.InputContainer, av.VideoStream]:
    need(path.is_file(), f"video {path} is not there", why="it holds the pictures", fix="check the path")
    need(path.stat().st_size > 0, f"video {path} is empty (0 bytes)", why="it was never written", fix="copy it again")
    try:
        container = av.open(f"file:{path}", options={"protocol_whitelist": "file"})
    except (av.FFmpegError, UnicodeError) as error:
        raise _broken(path, error) from error
    films = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
    need(bool(films), f"{path} has no pictures", why="it holds sound alone", fix="give a video or a frame folder")
    return container, films[0]


def upright(frame: av.VideoFrame) -> np.ndarray:
    """A decoded frame as uint8 RGB (H, W, 3), turned as the camera was held."""
    image = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(image, frame.rotation // 90)) if frame.rotation else image


def _broken(path: Path, error: Exception) -> InputError:
    return InputError(
        f"video {path} cannot be decoded",
        why=f"it is broken, cut off or no video ({error})",
        fix="play it in another program to see what it is; copy it again or convert it to mp4",
    )


@dataclass
class Extraction:
    """What `extract_all` did: folders made, folders that were complete already, and what went wrong, by video."""

    made: list[Path] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)
    broken: dict[Path, InputError] = field(default_factory=dict)


def extract_all(
    videos: Sequence[str | Path],
    out: str | Path,
    *,
    fps: float = 10.0,
    height_px: int | None = None,
    on_video: Callable[[int, int, Path], None] | None = None,
) -> Extraction:
    """Extract the frames of many videos into ``out/{name of the video}/frame_000001.jpg``.

    A folder that is there is complete and is kept, so a stopped run goes on where it was. A broken video is noted and
    the rest goes on. ``on_video(done, total, path)`` is called after each.
    """
    result = Extraction()
    for done, video in enumerate(map(Path, videos), start=1):
        folder = Path(out) / base_name(video.name)
        try:
            made = extract(video, folder, fps=fps, height_px=height_px)
            (result.made if made else result.kept).append(folder)
        except InputError as error:
            result.broken[video] = error
        if on_video:
            on_video(done, len(videos), video)
    return result


def extract(video: str | Path, folder: str | Path, *, fps: float = 10.0, height_px: int | None = None) -> int:
    """Write a video's frames at ``fps`` as ``folder/frame_000001.jpg``, whole or not at all; returns how many.

    height_px : height of the pictures; None keeps the video's. 0 is returned where the folder is complete already.
    Raises InputError when the video is broken, or the folder holds frames of another rate.
    """
    video, folder = Path(video), Path(folder)
    need(fps > 0, f"fps is {fps:g}", why="it is a rate", fix="give frames per second, such as 10")
    if folder.exists():
        there = json.loads((folder / NOTE).read_text())["fps"] if (folder / NOTE).is_file() else None
        need(
            there == fps,
            f"{folder} is there already, with frames at {there or 'an unknown rate'}, not {fps:g} per second",
            why="frames of two rates must not mix",
            fix="delete it or choose another folder",
        )
        return 0
    temporary = folder.with_name(f".{os.getpid()}.{folder.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        count = 0
        for count, image in enumerate(_at_rate(video, fps), start=1):
            picture = Image.fromarray(image)
            if height_px:
                picture = picture.resize((max(1, round(picture.width * height_px / picture.height)), height_px))
            picture.save(temporary / f"frame_{count:06d}.jpg", quality=95)
        need(count > 0, f"video {video} holds no picture", why="nothing could be decoded", fix="convert it to mp4")
        save_json(temporary / NOTE, {"fps": fps, "frames": count, "video": video.name})
        temporary.rename(folder)
        return count
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _at_rate(video: Path, fps: float) -> Iterator[np.ndarray]:
    """The picture nearest to each of 0, 1 / fps, 2 / fps … to the video's end."""
    container, stream = _film(video)
    with container:
        zero_s = float((stream.start_time or 0) * stream.time_base)
        count, last, last_s = 0, None, 0.0
        try:
            for frame in container.decode(stream):
                if frame.pts is None:
                    continue
                time_s = float(frame.pts * frame.time_base) - zero_s
                while last is not None and count / fps <= (last_s + time_s) / 2 + TIE_S:
                    yield upright(last)
                    count += 1
                last, last_s = frame, time_s
        except av.FFmpegError as error:
            raise _broken(video, error) from error
        promised_s = float(stream.duration * stream.time_base) if stream.duration else last_s
        need(
            last_s >= promised_s - HOLD_S,
            f"video {video} breaks off at {last_s:.2f} s of {promised_s:.2f} s",
            why="it was cut off or is damaged",
            fix="copy it again",
        )
        while last is not None and count / fps < last_s + 0.5 / float(stream.average_rate or 25):
            yield upright(last)
            count += 1
