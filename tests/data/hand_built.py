"""Small data sets built by hand: sounds whose samples tell the time, pictures whose grey tells their number."""

from pathlib import Path

import av
import h5py
import numpy as np
import soundfile
from PIL import Image

TONE_HZ = 307  # half-seconds differ


def write_sound(path: Path, seconds=2.0, rate=22_050, channels=2, gain=1.0) -> Path:
    """Left: a tone at 0.5, right: the same at 0.25."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tone = np.sin(2 * np.pi * TONE_HZ * np.arange(round(seconds * rate)) / rate)
    soundfile.write(path, gain * np.stack([0.5 * tone, 0.25 * tone][:channels], axis=1), rate)
    return path


def write_picture(path: Path, index: int, size=(32, 18)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (2 * index,) * 3).save(path, quality=95)
    return path


def write_frames(folder: Path, count: int, name="{:06d}.png", first=1) -> Path:
    for index in range(count):
        write_picture(folder / name.format(index + first), index)
    return folder


def write_video(path: Path, count=50, fps=25, size=(64, 48), sound=False) -> Path:
    """Picture n is grey 4 n."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=fps, options={"g": "12", "qscale": "1"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.bit_rate = 2_000_000
        voice = container.add_stream("aac", rate=22_050) if sound else None
        for index in range(count):
            picture = np.full((size[1], size[0], 3), min(4 * index, 255), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
        if voice:
            samples = count * 22_050 // fps
            tone = (0.3 * np.sin(2 * np.pi * 300 * np.arange(samples) / 22_050)).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(np.stack([tone, tone]), format="fltp", layout="stereo")
            frame.sample_rate = 22_050
            container.mux(voice.encode(frame))
            container.mux(voice.encode())
    return path


def write_h5(path: Path, entries: list[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["audio"] = np.array([entry.encode() for entry in entries])
    return path


def write_text(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def indices(views) -> list[int]:
    """Which pictures these are."""
    return [round(float(view.image_HW3.mean()) / 2) for view in views]
