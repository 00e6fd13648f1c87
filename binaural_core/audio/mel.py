"""The log-mel spectrogram, exactly as BigVGAN computes it: what stage 1 predicts and stage 2 turns into sound."""

import functools
import math
from dataclasses import dataclass

import librosa
import numpy as np
import torch
from torch import Tensor

from binaural_core.audio.stft import stft
from binaural_core.config import Config
from binaural_core.errors import need
from binaural_core.shapes import check

FLOOR = 1e-5
LOG_FLOOR = math.log(FLOOR)


@dataclass(frozen=True, kw_only=True)
class MelConfig(Config):
    """What a mel is made of. ``f_max_hz`` None means half the rate."""

    sample_rate_hz: int = 22_050
    n_fft: int = 1024
    hop_samples: int = 256
    win_samples: int = 1024
    n_mels: int = 80
    f_min_hz: float = 0.0
    f_max_hz: float | None = None

    def same_as(self, other: "MelConfig") -> bool:
        """Whether both mean the same mel: half the rate may be said in numbers or by None."""
        spelled = [mel.replace(f_max_hz=mel.f_max_hz or mel.sample_rate_hz / 2) for mel in (self, other)]
        return spelled[0] == spelled[1]

    def validate(self) -> None:
        need(
            min(self.sample_rate_hz, self.n_fft, self.hop_samples, self.win_samples, self.n_mels) > 0,
            f"{self} has a number that is not above 0",
            why="rates, lengths and counts are positive",
            fix="correct it",
        )
        need(
            self.win_samples <= self.n_fft and self.hop_samples <= self.n_fft,
            f"win_samples={self.win_samples} or hop_samples={self.hop_samples} is above n_fft={self.n_fft}",
            why="a frame would not fit, or samples between frames would be lost",
            fix=f"set both to {self.n_fft} or less",
        )
        need(
            self.n_fft % 2 == self.hop_samples % 2,
            f"n_fft={self.n_fft} and hop_samples={self.hop_samples} differ by an odd number",
            why="half their difference is padded at both ends, so that F = N // hop_samples",
            fix="use even numbers",
        )
        nyquist_hz = self.sample_rate_hz / 2
        f_max_hz = nyquist_hz if self.f_max_hz is None else self.f_max_hz
        need(
            f_max_hz <= nyquist_hz,
            f"f_max_hz={f_max_hz:g} is above half of sample_rate_hz={self.sample_rate_hz}",
            why="there is no energy there; the top mel bands would be empty",
            fix=f"set f_max_hz to {nyquist_hz:g} or less",
        )
        need(
            0 <= self.f_min_hz < f_max_hz,
            f"f_min_hz={self.f_min_hz:g} is not between 0 and f_max_hz={f_max_hz:g}",
            why="the bands lie between the two",
            fix="lower f_min_hz, or raise f_max_hz",
        )


@functools.lru_cache(maxsize=32)
def mel_filters(mel: MelConfig = MelConfig(), device: str = "cpu") -> Tensor:
    """The (M, K) triangles of Slaney's mel scale, each with unit area; shared, so never write to it."""
    triangles_MK = librosa.filters.mel(
        sr=mel.sample_rate_hz, n_fft=mel.n_fft, n_mels=mel.n_mels, fmin=mel.f_min_hz, fmax=mel.f_max_hz
    )
    with torch.inference_mode(False):  # a tensor born in inference mode could never be trained through
        return torch.from_numpy(triangles_MK).float().to(device)


def log_mel(wave_BN: Tensor | np.ndarray, mel: MelConfig = MelConfig()) -> Tensor:
    """Natural log of the mel magnitude of each channel, floored at ln 1e-5.

    wave_BN : [-1, 1], at ``mel.sample_rate_hz``.   Returns (B, M, F) float32, F = N // hop_samples; differentiable.
    Runs on the wave's device; a numpy wave on the CPU.
    Raises InputError if the wave has NaN or is shorter than one window.   Source: BigVGAN, meldataset.

    >>> log_mel(torch.zeros(2, 22050)).shape
    torch.Size([2, 80, 86])
    """
    wave_BN = wave_BN.float() if isinstance(wave_BN, Tensor) else torch.from_numpy(np.array(wave_BN, np.float32))
    check(wave_BN, "B N", "wave")
    need(
        wave_BN.shape[1] >= mel.win_samples and wave_BN.shape[1] > (mel.n_fft - mel.hop_samples) // 2,
        f"the wave has {wave_BN.shape[1]} samples ({1000 * wave_BN.shape[1] / mel.sample_rate_hz:.1f} ms)",
        why=f"one mel window is {mel.win_samples} samples",
        fix="give a longer wave, or pad it with silence",
    )
    need(
        bool(torch.isfinite(wave_BN).all()),
        "the wave has NaN or infinite samples",
        why="its mel would be NaN",
        fix="find where they come from; read_audio refuses such files by name",
    )
    with torch.autocast(wave_BN.device.type, enabled=False):
        spectrum_BKF = stft(wave_BN, mel.n_fft, mel.hop_samples, mel.win_samples, framing="mel")
        magnitude_BKF = (spectrum_BKF.real.square() + spectrum_BKF.imag.square() + 1e-9).sqrt()
        return (mel_filters(mel, str(wave_BN.device)) @ magnitude_BKF).clamp(min=FLOOR).log()
