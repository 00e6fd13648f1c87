"""Writing films: pictures and their sound as mp4 (H.264 and AAC), which every browser plays."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from binaural_core.checkpoint import write_whole
from binaural_core.errors import need

SOUND_BITS_PER_S = 128_000
X264 = "mbtree=0"  # with it, x264 gives other bits from run to run
LAYOUTS = {1: "mono", 2: "stereo"}


def write_film(
    path: str | Path,
    images_HW3: Iterable[np.ndarray],
    frames_per_s: float,
    wave_CN: np.ndarray,
    sample_rate_hz: int,
    *,
    crf: int = 20,
) -> Path:
    """Write pictures (uint8 RGB, even sides, all of one size) and sound (1 or 2 channels, [-1, 1]); whole or not at all.

    crf : quality of the pictures, 0 lossless to 51; 18 looks like the original.
    The same input gives the same file.
    Raises InputError when there is no picture, a side is odd, or the sound has another shape.
    """
    need(
        wave_CN.ndim == 2 and wave_CN.shape[0] in LAYOUTS,
        f"the sound for {path} has shape {wave_CN.shape}",
        why="a film has one or two channels",
        fix="give (1, N) or (2, N)",
    )
    return write_whole(
        path, lambda temporary: _write(temporary, images_HW3, frames_per_s, wave_CN, sample_rate_hz, crf)
    )


def _write(
    path: Path, images: Iterable[np.ndarray], frames_per_s: float, wave_CN: np.ndarray, sample_rate_hz: int, crf: int
) -> None:
    rate = Fraction(frames_per_s).limit_denominator(1001)
    with av.open(str(path), "w", format="mp4") as file:
        film = sound = None
        for number, image_HW3 in enumerate(images):
            if film is None:
                film = file.add_stream("libx264", rate=rate, options={"crf": str(crf), "x264-params": X264})
                film.height, film.width = image_HW3.shape[:2]
                film.pix_fmt, film.thread_count = "yuv420p", 1
                need(
                    film.height % 2 == 0 and film.width % 2 == 0,
                    f"pictures of {film.width} x {film.height} pixels for {path}",
                    why="H.264 halves the colours' size",
                    fix="choose even sides",
                )
                sound = file.add_stream("aac", rate=sample_rate_hz, layout=LAYOUTS[wave_CN.shape[0]])
                sound.bit_rate = SOUND_BITS_PER_S
            picture = av.VideoFrame.from_ndarray(image_HW3, format="rgb24")
            picture.pts, picture.time_base = number, 1 / rate
            file.mux(film.encode(picture))
        need(film is not None, f"no pictures for {path}", why="a film shows something", fix="give one picture or more")
        file.mux(film.encode())
        for frame in _frames(wave_CN, sample_rate_hz, sound.codec_context.frame_size or 1024):
            file.mux(sound.encode(frame))
        file.mux(sound.encode())


def _frames(wave_CN: np.ndarray, sample_rate_hz: int, size: int) -> Iterable[av.AudioFrame]:
    for first in range(0, wave_CN.shape[1], size):
        part_CN = np.ascontiguousarray(wave_CN[:, first : first + size].clip(-1, 1), np.float32)
        frame = av.AudioFrame.from_ndarray(part_CN, format="fltp", layout=LAYOUTS[wave_CN.shape[0]])
        frame.sample_rate, frame.pts, frame.time_base = sample_rate_hz, first, Fraction(1, sample_rate_hz)
        yield frame
