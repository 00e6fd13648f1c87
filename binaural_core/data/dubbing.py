"""A film with another sound: its pictures as they are, packet by packet, and the new sound encoded beside them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from binaural_core.audio import audio_info, stream_audio
from binaural_core.checkpoint import write_whole
from binaural_core.data.film import SOUND_BITS_PER_S, write_film
from binaural_core.data.frames import FrameFolder, read_picture
from binaural_core.errors import InputError, need

BLOCK_SAMPLES = 1 << 16


def dub(pictures: str | Path, sound: str | Path, out: str | Path) -> Path:
    """Write ``out`` (mp4) with the pictures of a video or of a folder of frames, and a sound file's sound.

    Both are read piece by piece, so length costs no memory.
    Raises InputError when the pictures cannot be read, or a film's pictures cannot stand in an mp4.
    """
    pictures, sound = Path(pictures), Path(sound)
    info = audio_info(sound)
    blocks = stream_audio(sound, sample_rate_hz=info.sample_rate_hz, block_samples=BLOCK_SAMPLES)
    if pictures.is_file():
        return write_whole(out, lambda temporary: _dub(temporary, pictures, blocks, info.sample_rate_hz))
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "film.mp4"
        frames = FrameFolder(pictures)
        images = (_even(read_picture(frames.files[number])) for number in sorted(frames.files))
        silence = np.zeros((1, 0), np.float32)
        write_film(film, images, frames.rate(info.duration_s), silence, info.sample_rate_hz)
        return write_whole(out, lambda temporary: _dub(temporary, film, blocks, info.sample_rate_hz))


def _even(image_HW3: np.ndarray) -> np.ndarray:
    """Without its last row or column where a side is odd; H.264 halves the colours' size."""
    height, width = image_HW3.shape[:2]
    return np.ascontiguousarray(image_HW3[: height - height % 2, : width - width % 2])


def _dub(path: Path, video: Path, blocks: Iterable[np.ndarray], sample_rate_hz: int) -> None:
    try:
        source = av.open(f"file:{video}", options={"protocol_whitelist": "file"})
    except av.FFmpegError as error:
        raise InputError(
            f"video {video} cannot be read", why=str(error), fix="play it in another program to see what it is"
        ) from error
    with source, av.open(str(path), "w", format="mp4") as film:
        need(
            len(source.streams.video) > 0,
            f"{video} has no pictures",
            why="it holds sound alone",
            fix="give a video or a folder of frames",
        )
        shown = source.streams.video[0]
        try:
            copied = film.add_stream_from_template(shown)
            heard = film.add_stream("aac", rate=sample_rate_hz, layout="stereo")
            heard.bit_rate = 2 * SOUND_BITS_PER_S
            sounds = _sounds(blocks, sample_rate_hz, heard.codec_context.frame_size or 1024)
            sounded_s, first = 0.0, shown.start_time or 0  # both begin at 0
            for packet in source.demux(shown):
                if packet.dts is None:  # the demuxer's last, empty packet
                    continue
                packet.dts -= first
                packet.pts = packet.pts - first if packet.pts is not None else None
                packet_s = float(packet.dts * packet.time_base)
                while sounded_s <= packet_s and (frame := next(sounds, None)) is not None:
                    film.mux(heard.encode(frame))
                    sounded_s = frame.pts / sample_rate_hz
                packet.stream = copied
                film.mux(packet)
            for frame in sounds:
                film.mux(heard.encode(frame))
            film.mux(heard.encode())
        except (av.FFmpegError, ValueError) as error:
            raise InputError(
                f"the pictures of {video} cannot be put into an mp4",
                why=f"its codec {shown.codec_context.name} does not allow it ({error})",
                fix="convert the video to H.264 first, or write a .wav",
            ) from error


def _sounds(blocks: Iterable[np.ndarray], sample_rate_hz: int, size: int) -> Iterator[av.AudioFrame]:
    """Stereo frames of ``size`` samples; the last is shorter."""
    kept_EN, first = np.zeros((2, 0), np.float32), 0
    for block_CN in blocks:
        kept_EN = np.concatenate([kept_EN, np.broadcast_to(block_CN, (2, block_CN.shape[1]))], axis=1)
        while kept_EN.shape[1] >= size:
            yield _frame(kept_EN[:, :size], sample_rate_hz, first)
            kept_EN, first = kept_EN[:, size:], first + size
    if kept_EN.shape[1]:
        yield _frame(kept_EN, sample_rate_hz, first)


def _frame(part_EN: np.ndarray, sample_rate_hz: int, first: int) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(
        np.ascontiguousarray(part_EN.clip(-1, 1), np.float32), format="fltp", layout="stereo"
    )
    frame.sample_rate, frame.pts, frame.time_base = sample_rate_hz, first, Fraction(1, sample_rate_hz)
    return frame
