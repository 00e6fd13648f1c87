"""Sound out of any file, block by block: libsndfile for sound files, FFmpeg (PyAV) for films and the rest.

Conventions: a decoder gives (C, n) float32 blocks at the file's own rate, from any sample on. Sample 0 of a film's
sound is its first picture: sound that begins later is led by silence, sound that begins earlier is cut. What a file is,
is read from its content, never from its name.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, Self

import av
import numpy as np
import soundfile

from binaural_core.errors import InputError, need

BLOCK_SAMPLES = 65_536
PREROLL_S = 0.25  # a transform codec is exact only some packets after a jump
GAP_S = 0.05  # a hole in a film's sound longer than this is kept as silence, so that picture and sound stay together
OGG_PAGE_BYTES = 65_307  # the longest there is
CUT_WHY = "it is truncated or damaged, and the rest would be read as if it were not missing"
CUT_FIX = "copy it again, or re-encode what is left of it (for instance with ffmpeg) to accept the loss"
ENDLESS_BYTES = 0x7FFF_F000  # recorders that cannot go back to the header write a size like this


class Decoder(Protocol):
    """An open file with sound in it."""

    sample_rate_hz: int
    channels: int
    duration_s: float

    def blocks(self, start: int = 0) -> Iterator[np.ndarray]:
        """(C, n) float32 from sample ``start`` to the end. Raises InputError when the file breaks off or has NaN."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_) -> None: ...


def open_sound(path: str | Path) -> Decoder:
    """Open any file that holds sound.

    Raises InputError naming the file when it is missing, a folder, empty, cut off, or has no sound in it.
    """
    path = Path(path)
    need(not path.is_dir(), f"{path} is a folder", why="a sound file is needed", fix="name one file in it")
    need(path.is_file(), f"sound file {path} is not there", why="there is nothing to read", fix="check the path")
    need(
        path.stat().st_size > 0,
        f"sound file {path} is empty (0 bytes)",
        why="it was probably never written to the end",
        fix="copy or record it again",
    )
    _refuse_cut_wav(path)
    _refuse_cut_ogg(path)
    try:
        return _SoundFile(path)
    except (soundfile.SoundFileError, TypeError):  # TypeError: a headerless .raw
        return _Film(path)


class _SoundFile:
    """wav, flac, ogg, mp3 and whatever else libsndfile knows."""

    def __init__(self, path: Path):
        self._path, self._file = path, soundfile.SoundFile(path)
        self.sample_rate_hz, self.channels = self._file.samplerate, self._file.channels
        self.duration_s = self._file.frames / self.sample_rate_hz
        if self._file.frames == 0:
            self._file.close()
            raise _soundless(path)

    def blocks(self, start: int = 0) -> Iterator[np.ndarray]:
        promised = self._file.frames
        position = max(0, min(start, promised) - round(PREROLL_S * self.sample_rate_hz))
        try:
            self._file.seek(position)
            while len(block_nC := self._file.read(BLOCK_SAMPLES, dtype="float32", always_2d=True)):
                fresh_Cn = block_nC.T[:, max(0, start - position) :]
                if fresh_Cn.shape[1]:
                    yield _finite(fresh_Cn, max(start, position), self._path, self.sample_rate_hz)
                position += len(block_nC)
        except soundfile.SoundFileError as error:
            raise _cut(self._path, position / self.sample_rate_hz, self.duration_s) from error
        if position < promised:
            raise _cut(self._path, position / self.sample_rate_hz, self.duration_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        self._file.close()


class _Film:
    """mp4, mkv, m4a, webm and whatever else FFmpeg knows: the first sound track."""

    def __init__(self, path: Path):
        self._path = path
        try:
            self._container = av.open(f"file:{path}", options={"protocol_whitelist": "file"})
        except (av.FFmpegError, UnicodeError) as error:
            raise InputError(
                f"{path} cannot be read as sound",
                why="it is no sound or video file, or it is broken at its head"
                " (an mp4 whose recording was cut off has no index)",
                fix="play it in another program to see what it is; convert it to wav, flac or mp4",
            ) from error
        if not self._container.streams.audio:
            self._container.close()
            raise _soundless(path)
        self._stream = self._container.streams.audio[0]
        self.sample_rate_hz, self.channels = int(self._stream.rate or 0), int(self._stream.channels or 0)
        if not (self.sample_rate_hz and self.channels):
            self._container.close()
            raise _soundless(path)
        self._zero_s = self._first_picture_s()
        self._ends_s = self._end_s()
        whole_s = float((self._container.duration or 0) / av.time_base)
        self.duration_s = whole_s if self._ends_s is None else self._ends_s

    def _first_picture_s(self) -> float:
        pictures = [s for s in self._container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
        stream = pictures[0] if pictures else self._stream
        return float((stream.start_time or 0) * stream.time_base)

    def _end_s(self) -> float | None:
        """Where the header says that the sound ends, None where it does not say."""
        begins_s = float((self._stream.start_time or 0) * self._stream.time_base)
        if self._stream.duration is not None:
            return begins_s + float(self._stream.duration * self._stream.time_base) - self._zero_s
        clock = self._stream.metadata.get("DURATION", "").split(":")  # mkv: hours:minutes:seconds
        if len(clock) != 3 or not all(part.replace(".", "", 1).isdigit() for part in clock):
            return None
        return 3600 * float(clock[0]) + 60 * float(clock[1]) + float(clock[2]) - self._zero_s

    def blocks(self, start: int = 0) -> Iterator[np.ndarray]:
        rate, position, clock = self.sample_rate_hz, start, None  # the next samples to give and to decode
        try:
            if start and self._stream.time_base * rate <= 1:  # a clock of milliseconds cannot say where a jump landed
                seek_s = max(0.0, start / rate + self._zero_s - PREROLL_S)
                self._container.seek(int(seek_s / self._stream.time_base), stream=self._stream)
            for at, block_Cn in self._decoded():
                if clock is None or (at is not None and at - clock > GAP_S * rate):
                    clock = at or 0
                if clock > position:
                    yield np.zeros((self.channels, clock - position), np.float32)
                    position = clock
                fresh_Cn = block_Cn[:, max(0, position - clock) :]
                clock += block_Cn.shape[1]
                if fresh_Cn.shape[1]:
                    yield _finite(fresh_Cn, position, self._path, rate)
                    position += fresh_Cn.shape[1]
        except av.FFmpegError as error:
            raise _cut(self._path, position / rate, self.duration_s) from error
        if self._ends_s is not None and position / rate < min(self._ends_s - 0.1, self._ends_s * 0.98):
            raise _cut(self._path, position / rate, self._ends_s)
        if clock is None and not start:
            raise _soundless(self._path)

    def _decoded(self) -> Iterator[tuple[int | None, np.ndarray]]:
        """(sample index of the block, or None where the file does not say; block)."""
        planar = av.AudioResampler(format="fltp", layout=self._stream.layout, rate=self.sample_rate_hz)
        for frame in self._container.decode(self._stream):
            at_s = None if frame.pts is None else float(frame.pts * frame.time_base) - self._zero_s
            for piece in planar.resample(frame):
                yield (None if at_s is None else round(at_s * self.sample_rate_hz)), piece.to_ndarray()
                at_s = None
        for piece in planar.resample(None):
            yield None, piece.to_ndarray()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        self._container.close()


def _refuse_cut_wav(path: Path) -> None:
    """libsndfile reads a cut-off wav as a shorter one without a word; its header knows better."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        if file.read(4) != b"RIFF" or file.read(8)[4:] != b"WAVE":
            return
        bytes_per_s = 0
        while len(head := file.read(8)) == 8:
            name, length = head[:4], struct.unpack("<I", head[4:])[0]
            if name == b"data":
                there = size - file.tell()
                if there < length < ENDLESS_BYTES and bytes_per_s:
                    raise _cut(path, there / bytes_per_s, length / bytes_per_s)
                return
            if name == b"fmt " and len(body := file.read(min(length, 12))) == 12:
                bytes_per_s = struct.unpack("<I", body[8:])[0]
                length -= 12
            file.seek(length + length % 2, 1)


def _refuse_cut_ogg(path: Path) -> None:
    """Nothing at the head of an ogg says how long it is, but a cut leaves half a page at its end."""
    with open(path, "rb") as file:
        if file.read(4) != b"OggS":
            return
        file.seek(-min(path.stat().st_size, OGG_PAGE_BYTES), 2)
        tail = file.read()
    page = tail[tail.rfind(b"OggS") :]
    lengths = page[27 : 27 + page[26]] if len(page) > 26 else b""
    if len(page) < 27 or len(lengths) < page[26] or len(page) < 27 + len(lengths) + sum(lengths):
        raise InputError(f"sound file {path} breaks off in the middle of a page", why=CUT_WHY, fix=CUT_FIX)


def _finite(block_Cn: np.ndarray, position: int, path: Path, sample_rate_hz: int) -> np.ndarray:
    if not np.isfinite(block_Cn).all():
        first = position + int(np.argmin(np.isfinite(block_Cn).all(axis=0)))
        raise InputError(
            f"sound file {path} has NaN or infinite samples (the first at {first / sample_rate_hz:.3f} s)",
            why="one of them spoils every number computed from the sound",
            fix="find the program that wrote it, or replace them, and write the file again",
        )
    return block_Cn


def _soundless(path: Path) -> InputError:
    return InputError(
        f"{path} holds no sound",
        why="it has no sound track, or one without samples",
        fix="give a file with sound in it; a silent film needs its recording as a second file",
    )


def _cut(path: Path, there_s: float, promised_s: float) -> InputError:
    return InputError(
        f"sound file {path} breaks off at {there_s:.3f} s of {promised_s:.3f} s",
        why=CUT_WHY,
        fix=CUT_FIX,
    )
