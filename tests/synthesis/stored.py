"""What the tests of stored mels share: sounds, mels, and their files."""

from pathlib import Path

import numpy as np
import torch

from binaural_core.audio import MelConfig, log_mel, read_audio
from binaural_core.data.mel_pairs import write_mels
from binaural_core.models.vocoding import PerEar
from binaural_core.seeds import numpy_stream

MEL = MelConfig()
RATE, HOP = MEL.sample_rate_hz, MEL.hop_samples
WINDOW = 80
GOLDEN = Path(__file__).parents[1] / "golden" / "bigvgan" / "gen_v2_tiny"
STEP_16 = 1.01 / 32768  # one step of a 16-bit file


def noise(seconds: float, *key) -> np.ndarray:
    """Both ears, (2, N), with a level that rises and falls."""
    count = int(seconds * RATE)
    swell = 0.02 + 0.08 * np.sin(np.pi * np.arange(count) / RATE) ** 2
    wave_EN = numpy_stream(0, "noise", *key).normal(0, 1, (2, count)) * swell * np.array([[1.0], [0.5]])
    return wave_EN.astype(np.float32)


def mel_of(wave_EN: np.ndarray) -> np.ndarray:
    return log_mel(wave_EN, MEL).numpy()


def drawn(frames: int, *key, ears: int = 2) -> np.ndarray:
    """Mels of nothing in particular."""
    return numpy_stream(0, "mel", *key).normal(-4, 1.5, (ears, 80, frames)).astype(np.float32)


def store(folder: Path, name: str, mel_EMF: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for ear, mel_MF in zip(("left", "right"), mel_EMF, strict=True):
        np.save(folder / f"{name}_{ear}.npy", mel_MF)


def whole(vocoder: PerEar, mel_EMF: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return vocoder.generator(torch.from_numpy(mel_EMF))[:, 0].numpy()


def heard(path: Path) -> np.ndarray:
    return read_audio(path).wave_CN


class Recorder:
    """Stands before a generator and notes what it is given."""

    def __init__(self, generator, monkeypatch):
        self.shapes, forward = [], generator.forward
        monkeypatch.setattr(generator, "forward", lambda mel: self.shapes.append(tuple(mel.shape)) or forward(mel))


def cut_windows(out: Path, video_id: str, wave_EN: np.ndarray, starts_s, split: str = "val") -> None:
    for start_s in starts_s:
        first = round(start_s * RATE)
        write_mels(out, split, video_id, start_s, mel_of(wave_EN[:, first : first + WINDOW * HOP]))
