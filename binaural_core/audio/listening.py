"""What a fair comparison by ear and eye needs: one gain for every version, one definition of level for every picture.

Conventions: the level difference between the ears is the message, so a gain is one number for both ears and for all the
versions that are compared. Levels are dB re full scale: a sine that swings between -1 and 1 reads 0 dB.
"""

import math
from collections.abc import Mapping

import numpy as np

from binaural_core.errors import need
from binaural_core.shapes import check

HEADROOM_DB = 1.0  # room for the overshoot of a player's own resampler
MAX_GAIN_DB = 24.0  # a nearly silent comparison stays quiet: raising it further would only play its noise
FLOOR_DB = -120.0


def shared_gain_db(versions: Mapping[str, np.ndarray]) -> float:
    """The one gain that brings the loudest sample of all versions and ears `HEADROOM_DB` below full scale.

    versions : name -> (C, N), [-1, 1] or beyond. Returns dB, at most `MAX_GAIN_DB`; 0 for silence.
    Raises InputError when there is no version or one holds NaN or infinity.
    """
    need(len(versions) > 0, "there is no version to play", why="a gain is taken from sounds", fix="give at least one")
    peak = 0.0
    for name, wave_CN in versions.items():
        check(wave_CN, "C N", name)
        largest = float(np.abs(wave_CN).max(initial=0.0))
        need(
            math.isfinite(largest),
            f"{name!r} holds NaN or infinity",
            why="such a sound has no level and a player would be silent or loud without warning",
            fix="look for a division by zero where it was made",
        )
        peak = max(peak, largest)
    return min(-20 * math.log10(peak) - HEADROOM_DB, MAX_GAIN_DB) if peak > 0 else 0.0


def spectrogram_db(
    wave_CN: np.ndarray,
    sample_rate_hz: int,
    *,
    window_samples: int = 512,
    hop_samples: int = 128,
    max_frames: int | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Level over frequency and time, dB re full scale, not below `FLOOR_DB`.

    wave_CN : (C, N). Returns levels (C, K, F) float32, frequencies (K,) in Hz and the middles of the frames (F,) in s.
    Periodic Hann window, frames centred on multiples of the hop, zeros beyond the ends. With ``max_frames`` the *powers*
    of neighbouring frames are averaged until no more than that many remain, so that a picture stays small and no sound
    falls between its columns. Source: Oppenheim & Schafer, Discrete-Time Signal Processing, time-dependent Fourier.
    """
    samples = check(wave_CN, "C N", "wave_CN")["N"]
    need(samples > 0, "the wave has no samples", why="there is nothing to see", fix="give at least one sample")
    window_N = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window_samples) / window_samples)
    padded_CN = np.pad(np.asarray(wave_CN, np.float64), ((0, 0), (window_samples // 2, window_samples)))
    frames_CFN = np.lib.stride_tricks.sliding_window_view(padded_CN, window_samples, axis=1)[:, :samples:hop_samples]
    amplitude_CFK = np.abs(np.fft.rfft(frames_CFN * window_N)) / (window_N.sum() / 2)  # a full-scale sine reads 1
    power_CFK = amplitude_CFK**2
    times_s_F = np.arange(power_CFK.shape[1]) * hop_samples / sample_rate_hz
    if max_frames is not None and len(times_s_F) > max_frames:
        starts = np.arange(0, len(times_s_F), math.ceil(len(times_s_F) / max_frames))
        counts = np.diff(starts, append=len(times_s_F))
        power_CFK = np.add.reduceat(power_CFK, starts, axis=1) / counts[:, None]
        times_s_F = np.add.reduceat(times_s_F, starts) / counts
    level_CKF = 10 * np.log10(np.maximum(power_CFK, 10 ** (FLOOR_DB / 10))).transpose(0, 2, 1)
    return level_CKF.astype(np.float32), np.fft.rfftfreq(window_samples, 1 / sample_rate_hz), times_s_F
