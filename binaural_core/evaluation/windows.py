"""The protocol of 2.5D Visual Sound (Gao and Grauman 2019, 1812.04204), by which FAIR-Play's numbers were published.

What the public evaluation of that paper does:

- Sound at 16 kHz. A window is 0.63 s (10,080 samples), the next begins 0.05 s (800 samples) later as long as one more
  fits, and a last one ends with the sound. A sample is the plain mean of all windows that cover it.
- Every window is brought to a root mean square of 0.1 (no more than by 1,000) before the network, and back after it. It is
  measured over both ears of the *truth*, whose level the mono alone does not show; here it is that of the mono.
- The picture is the one at the window's middle, at 10 frames a second, counted from 1, of a clip that lasts 10 s.
- The distances are those of the whole joined recording, not of windows: `metrics.stft_distance` and `metrics.env_distance`.
- Its script normalises on request, and the command in its instructions asks for it: prediction and reference, each divided
  by its own largest sample over both ears. Papers do not always say which; here both stand side by side (``…_normalized``
  is at the own peak). Published are means over clips.

Systems that make whole recordings are asked for the whole recording at 16 kHz, and measured in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from binaural_core.data.sample import Clip
from binaural_core.metrics.spectral import stft_distance
from binaural_core.metrics.summary import FIELD_HZ
from binaural_core.metrics.waveform import env_distance, snr_db
from binaural_core.scene.view import View

WINDOW_S, HOP_S = 0.63, 0.05
RMS, RMS_FLOOR = 0.1, 1e-4
DISTANCES = {
    "stft_distance": (stft_distance, {}),
    "env_distance": (env_distance, {}),
    "stft_distance_normalized": (stft_distance, {"normalized": True}),
    "env_distance_normalized": (env_distance, {"normalized": True}),
    "snr_db": (snr_db, {}),
}


@dataclass(frozen=True)
class Moment:
    """A window of a clip that shows one picture: the one at its middle."""

    clip: Clip
    start_s: float
    duration_s: float

    @property
    def clip_id(self) -> str:
        return self.clip.clip_id

    def sound(self, start_s: float, duration_s: float, sample_rate_hz: int) -> tuple[np.ndarray, np.ndarray | None]:
        return self.clip.sound(self.start_s + start_s, duration_s, sample_rate_hz)

    def look(self, times_s: Sequence[float]) -> list[View]:
        middle_s = self.start_s + self.duration_s / 2
        return self.clip.look([middle_s]) * len(times_s)


def window_starts(samples: int, window: int, hop: int) -> list[int]:
    """Where the windows begin: every ``hop`` samples while one more fits, and one that ends with the sound."""
    return [*range(0, samples - window, hop), max(samples - window, 0)]


def in_windows(system, mono_N: np.ndarray, sample_rate_hz: int, clip: Clip) -> np.ndarray:
    """Both ears (2, N) from a system that makes one window at a time: the mean of all windows over each sample.

    Raises InputError as the system does. A sound shorter than a window is filled up with zeros.
    """
    window, hop = int(WINDOW_S * sample_rate_hz), int(HOP_S * sample_rate_hz)
    sum_EN, count_N = np.zeros((2, max(len(mono_N), window))), np.zeros(max(len(mono_N), window))
    padded_N = np.pad(mono_N, (0, max(window - len(mono_N), 0)))
    for start in window_starts(len(mono_N), window, hop):
        there = slice(start, start + window)
        gain = RMS / max(float(np.sqrt(np.mean(padded_N[there].astype(np.float64) ** 2))), RMS_FLOOR)
        moment = Moment(clip, start / sample_rate_hz, window / sample_rate_hz)
        sum_EN[:, there] += system((padded_N[there] * gain).astype(np.float32), sample_rate_hz, moment) / gain
        count_N[there] += 1
    return (sum_EN / count_N)[:, : len(mono_N)].astype(np.float32)


def distances(prediction_EN: ArrayLike, reference_EN: ArrayLike, sample_rate_hz: int = FIELD_HZ) -> dict[str, float]:
    """STFT and ENV distance as they are and at own peaks, and the SNR, of whole recordings at 16 kHz."""
    return {
        name: measure(prediction_EN, reference_EN, sample_rate_hz, **how) for name, (measure, how) in DISTANCES.items()
    }
