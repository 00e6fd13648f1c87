"""Sound files in and out, whole or as a stream at constant memory, and resampling.

Conventions: waves are float32 (C, N), row 0 the left ear. A file's own rate and channels are kept unless others are
asked for. Silence is sound: whoever cannot use it asks `is_silent`.
"""

import math
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import soundfile
import soxr

from binaural_core.audio.decode import open_sound
from binaural_core.checkpoint import write_whole
from binaural_core.errors import InputError, need
from binaural_core.shapes import check

QUALITY = "VHQ"
MARGIN_S = 0.1  # what a resampled stretch must know on either side to equal the same stretch of the whole
FORMATS = {
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".ogg": ("OGG", "VORBIS"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
}
WRITE_SAMPLES = 65_536  # libsndfile's vorbis encoder fails on very long single writes


@dataclass(frozen=True, eq=False)
class Sound:
    """A wave and its rate."""

    wave_CN: np.ndarray
    sample_rate_hz: int

    @property
    def duration_s(self) -> float:
        return self.wave_CN.shape[1] / self.sample_rate_hz

    @property
    def mono_N(self) -> np.ndarray:
        """The mean of the channels."""
        return self.wave_CN.mean(axis=0)


@dataclass(frozen=True)
class AudioInfo:
    """What a file says of itself without being decoded (for films the duration may be off by a packet)."""

    duration_s: float
    sample_rate_hz: int
    channels: int


def audio_info(path: str | Path) -> AudioInfo:
    """Duration, rate and channels. Raises InputError as `read_audio` does, as far as the header shows it."""
    with open_sound(path) as sound:
        return AudioInfo(sound.duration_s, sound.sample_rate_hz, sound.channels)


def read_audio(
    path: str | Path,
    *,
    sample_rate_hz: int | None = None,
    channels: int | None = None,
    start_s: float = 0.0,
    duration_s: float | None = None,
) -> Sound:
    """Read a sound file or the sound of a film, or a stretch of it.

    sample_rate_hz : resampled to it; None keeps the file's own.
    channels : 2 demands stereo, 1 takes the mean of all channels, None takes one or two as they are.
    start_s, duration_s : equal to the same stretch of the whole (but for the noise that AAC makes up); shorter
    where the file ends earlier.

    Raises InputError naming the file when it is missing, empty, cut off, has NaN, no sound or other channels than asked
    for, or ends before ``start_s``.
    """
    need(start_s >= 0, f"start_s is {start_s}", why="a file begins at 0", fix="give 0 or more")
    need(
        duration_s is None or duration_s > 0,
        f"duration_s is {duration_s}",
        why="no sound is asked for",
        fix="give more than 0, or None for the rest of the file",
    )
    with open_sound(path) as sound:
        own_hz, to_hz = sound.sample_rate_hz, _rate(sample_rate_hz or sound.sample_rate_hz)
        whole_s = sound.duration_s
        begin, end, cut = _stretch(start_s, duration_s, own_hz, to_hz)
        pieces, position = [], begin
        for block_Cn in sound.blocks(begin):
            pieces.append(_as_channels(block_Cn, channels, path))
            position += block_Cn.shape[1]
            if end is not None and position >= end:
                break
    wave_CN = np.concatenate(pieces, axis=1)[:, : None if end is None else end - begin] if pieces else np.zeros((1, 0))
    wave_CN = np.ascontiguousarray(resample(wave_CN, own_hz, to_hz)[:, cut])
    need(
        wave_CN.shape[1] > 0,
        f"sound file {path} ends before {start_s:g} s",
        why=f"it is {whole_s:.3f} s long",
        fix="ask for an earlier stretch",
    )
    return Sound(wave_CN, to_hz)


def stream_audio(
    path: str | Path, *, sample_rate_hz: int, block_samples: int, channels: int | None = None
) -> Iterator[np.ndarray]:
    """The wave of `read_audio` in (C, block_samples) pieces, the last one shorter, at constant memory.

    Raises InputError as `read_audio` does, when the stream gets to the fault.
    """
    need(block_samples > 0, f"block_samples is {block_samples}", why="no block would come", fix="give 1 or more")
    waiting, length = [], 0
    for piece_Cn in _resampled(path, _rate(sample_rate_hz), channels):
        waiting.append(piece_Cn)
        length += piece_Cn.shape[1]
        if length >= block_samples:
            ready_Cn = np.concatenate(waiting, axis=1)
            whole = length - length % block_samples
            for at in range(0, whole, block_samples):
                yield ready_Cn[:, at : at + block_samples].copy()
            waiting, length = [ready_Cn[:, whole:].copy()], length - whole
    if length:
        yield np.concatenate(waiting, axis=1)


def resample(wave_CN: np.ndarray, from_hz: float, to_hz: float) -> np.ndarray:
    """The wave, (C, N) or (N,), at another rate: soxr, very high quality, linear phase."""
    if _rate(from_hz) == _rate(to_hz):
        return wave_CN
    return np.ascontiguousarray(soxr.resample(np.ascontiguousarray(wave_CN.T), from_hz, to_hz, QUALITY).T)


def is_silent(wave_CN: np.ndarray, floor_db: float = -90.0) -> bool:
    """Whether no sample rises above ``floor_db`` (dB re full scale); -90 is one step of 16 bits."""
    return not np.size(wave_CN) or float(np.abs(wave_CN).max()) <= 10 ** (floor_db / 20)


def write_audio(path: str | Path, wave_CN: np.ndarray, sample_rate_hz: int) -> Path:
    """Write (C, N) as wav (16 bit), flac (16 bit), ogg or mp3, by the suffix; whole or not at all.

    What lies outside [-1, 1] is clipped, with a warning. Raises InputError on NaN, no samples, or a suffix or rate that
    cannot be written.
    """
    path = Path(path)
    need(
        path.suffix.lower() in FORMATS,
        f"{path} cannot be written as sound",
        why=f"its suffix is {path.suffix or 'missing'}; known are {', '.join(FORMATS)}",
        fix="choose one of these",
    )
    wave_CN = _writable(wave_CN, path)
    need(wave_CN.shape[1] > 0, f"no samples to write to {path}", why="the wave is empty", fix="give a longer one")
    _say_clipping(int((np.abs(wave_CN) > 1).sum()), float(np.abs(wave_CN).max()), path)
    container, coding = FORMATS[path.suffix.lower()]

    def write(temporary: Path) -> None:
        with soundfile.SoundFile(
            temporary, "w", int(sample_rate_hz), wave_CN.shape[0], subtype=coding, format=container
        ) as file:
            for at in range(0, wave_CN.shape[1], WRITE_SAMPLES):
                block_Cn = wave_CN[:, at : at + WRITE_SAMPLES]
                file.write((_to_16_bit(block_Cn) if coding == "PCM_16" else block_Cn.clip(-1, 1)).T)

    try:
        return write_whole(path, write)
    except soundfile.SoundFileError as error:
        raise InputError(
            f"{path} cannot be written with {wave_CN.shape[0]} channels at {sample_rate_hz} Hz",
            why=str(error).split(" : ")[-1].rstrip("."),
            fix="write wav, or resample to a rate that the format has (mp3: up to 48000 Hz)",
        ) from error


class AudioWriter:
    """A wav file (16 bit) written piece by piece: ``with AudioWriter(path, 22050, 2) as file: file.write(wave_CN)``.

    It bears its name only after the block has ended without an error. Clipping is told once, at the end.
    """

    def __init__(self, path: str | Path, sample_rate_hz: int, channels: int):
        self.path = Path(path)
        need(
            self.path.suffix.lower() == ".wav",
            f"{path} cannot be written piece by piece",
            why="only wav can",
            fix="name it .wav, and convert it afterwards",
        )
        self._sample_rate_hz, self._channels = _rate(sample_rate_hz), channels
        self._clipped, self._peak = 0, 0.0

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._temporary = self.path.with_name(f".{os.getpid()}.{self.path.name}")
        self._file = soundfile.SoundFile(
            self._temporary, "w", self._sample_rate_hz, self._channels, subtype="PCM_16", format="WAV"
        )
        return self

    def write(self, wave_CN: np.ndarray) -> None:
        """Append (C, n). Raises InputError on NaN and on other channels than promised."""
        wave_CN = _writable(wave_CN, self.path)
        check(wave_CN, f"{self._channels} N", "wave")
        if wave_CN.shape[1]:
            self._clipped += int((np.abs(wave_CN) > 1).sum())
            self._peak = max(self._peak, float(np.abs(wave_CN).max()))
            self._file.write(_to_16_bit(wave_CN).T)

    def __exit__(self, kind, *_) -> None:
        self._file.close()
        try:
            if kind is None:
                with open(self._temporary, "rb") as written:
                    os.fsync(written.fileno())
                os.replace(self._temporary, self.path)
                _say_clipping(self._clipped, self._peak, self.path)
        finally:
            self._temporary.unlink(missing_ok=True)


def _rate(sample_rate_hz: float) -> float:
    need(sample_rate_hz > 0, f"the rate {sample_rate_hz} Hz is no rate", why="it is not above 0", fix="give e.g. 22050")
    return sample_rate_hz


def _stretch(start_s: float, duration_s: float | None, own_hz: int, to_hz: int) -> tuple[int, int | None, slice]:
    """Own samples to read, [begin, end), and the part to keep once they are resampled.

    ``begin`` falls on a sample that both rates share, so that the resampler's grid is the one of the whole file.
    """
    first = round(start_s * to_hz)
    count = None if duration_s is None else max(1, round(duration_s * to_hz))
    step, margin = own_hz // math.gcd(own_hz, to_hz), 0 if own_hz == to_hz else math.ceil(MARGIN_S * own_hz)
    begin = max(0, (first * own_hz // to_hz - margin) // step * step)
    end = None if count is None else math.ceil((first + count) * own_hz / to_hz) + margin
    skip = first - begin * to_hz // own_hz
    return begin, end, slice(skip, None if count is None else skip + count)


def _resampled(path: str | Path, to_hz: int, channels: int | None) -> Iterator[np.ndarray]:
    with open_sound(path) as sound:
        blocks = (_as_channels(block_Cn, channels, path) for block_Cn in sound.blocks())
        if sound.sample_rate_hz == to_hz:
            yield from blocks
            return
        first_Cn = next(blocks)
        resampler = soxr.ResampleStream(sound.sample_rate_hz, to_hz, first_Cn.shape[0], "float32", QUALITY)
        yield resampler.resample_chunk(np.ascontiguousarray(first_Cn.T)).T
        for block_Cn in blocks:
            yield resampler.resample_chunk(np.ascontiguousarray(block_Cn.T)).T
        yield resampler.resample_chunk(np.zeros((0, first_Cn.shape[0]), np.float32), last=True).T


def _as_channels(block_Cn: np.ndarray, channels: int | None, path: str | Path) -> np.ndarray:
    has = block_Cn.shape[0]
    if channels == 1:
        return block_Cn.mean(axis=0, keepdims=True, dtype=np.float32)
    need(
        has <= 2,
        f"sound file {path} has {has} channels",
        why="only one or two can be told apart: a mono recording, or the two ears",
        fix="pick or mix the channels you mean, or read it with channels=1 for the mean of all",
    )
    need(
        channels is None or channels == has,
        f"sound file {path} has {has} channel{'s' * (has > 1)}, not {channels}",
        why="two are needed, one for each ear" if channels == 2 else "a wave has one or two channels",
        fix="give a stereo recording" if channels == 2 else "ask for channels=1, channels=2 or None",
    )
    return block_Cn


def _writable(wave_CN: np.ndarray, path: Path) -> np.ndarray:
    wave_CN = np.asarray(wave_CN, np.float32)
    check(wave_CN, "C N", "wave")
    need(
        bool(np.isfinite(wave_CN).all()),
        f"the wave for {path} has NaN or infinite samples",
        why="no player knows what to do with them",
        fix="find where they come from",
    )
    return wave_CN


def _to_16_bit(wave_CN: np.ndarray) -> np.ndarray:
    return np.rint(wave_CN * 32_768.0).clip(-32_768, 32_767).astype(np.int16)


def _say_clipping(count: int, peak: float, path: Path) -> None:
    if count:
        warnings.warn(
            f"{path}: {count} samples clipped, the loudest {20 * math.log10(peak):.1f} dB above full scale",
            stacklevel=3,
        )
