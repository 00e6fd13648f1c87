"""What a fair comparison by ear and eye needs: one gain for every version, one definition of level for every picture.

Conventions: the level difference between the ears is the message, so a gain is one number for both ears and for all the
versions that are compared. Levels are dB re full scale: a sine that swings between -1 and 1 reads 0 dB.
"""

import math
from collections.abc import Mapping

import numpy as np
import torch

from binaural_core.audio.stft import stft
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

    wave_CN : (C, N). Returns levels (C, K, F) float32, frequencies (K,) in Hz and the middles of the frames (F,) in s;
    the frames are those of `stft`, centred. With ``max_frames`` the *powers* of neighbouring frames are averaged until
    no more than that many remain, so that a picture stays small and no sound falls between its columns.
    Raises InputError for an empty wave.
    """
    check(wave_CN, "C N", "wave_CN")
    wave = torch.from_numpy(np.ascontiguousarray(wave_CN, np.float64))
    full_scale = window_samples / 4  # what a sine of amplitude 1 reads: half of the Hann window's sum
    power_CKF = (stft(wave, window_samples, hop_samples, window_samples).abs() / full_scale).square().numpy()
    times_s_F = np.arange(power_CKF.shape[2]) * hop_samples / sample_rate_hz
    if max_frames is not None and len(times_s_F) > max_frames:
        starts = np.arange(0, len(times_s_F), math.ceil(len(times_s_F) / max_frames))
        counts = np.diff(starts, append=len(times_s_F))
        power_CKF = np.add.reduceat(power_CKF, starts, axis=2) / counts
        times_s_F = np.add.reduceat(times_s_F, starts) / counts
    level_CKF = 10 * np.log10(np.maximum(power_CKF, 10 ** (FLOOR_DB / 10)))
    return level_CKF.astype(np.float32), np.fft.rfftfreq(window_samples, 1 / sample_rate_hz), times_s_F
