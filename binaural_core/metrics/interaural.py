"""How far the cues that place a sound are off: time, level and phase differences, coherence.

Conventions: (prediction_EN, reference_EN, sample_rate_hz), row 0 the left ear; the cues are those of
`binaural_core.audio.interaural`, with its frames and blocks; a sound shorter than a frame is filled with zeros. The
reference says which frames, bands and bins count. Just noticeable: about 16 us at 500 Hz, 0.5 to 1 dB.

Silence: a prediction without sound in both ears (or, for time and phase, in one) has no cues and counts as a mono copy
does: no differences, coherence 1. Against a silent reference nothing can be off, and the result is NaN; against one that
has sound in one ear alone, time and phase are NaN, and its level difference is 50 to 100 dB, as an ear counts as no quieter
than 100 dB under the loudest.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from binaural_core.audio import interaural as cues
from binaural_core.metrics.pairs import pair

QUIET_DB = 50.0  # bands this far under the loudest are not heard beside it


def itd_error_us(prediction_EN: ArrayLike, reference_EN: ArrayLike, sample_rate_hz: int) -> float:
    """Absolute error of the time difference, in us, 0 to 2,000: mean over blocks, weighted by the reference's energy.

    Of a block: the peak of the PHAT cross-correlation of its active frames, 100 to 1,500 Hz, within +-1 ms, between
    samples.   Source: Knapp and Carter 1976, The generalized correlation method for estimation of time delay, table I.
    """
    prediction_EN, reference_EN = pair(prediction_EN, reference_EN, sample_rate_hz, ears=True)
    true_us_T, energy_T = cues.itd_blocks(reference_EN, sample_rate_hz)
    active_F = cues.spectra(reference_EN, sample_rate_hz).active_F
    predicted_us_T, _ = cues.itd_blocks(prediction_EN, sample_rate_hz, active_F=active_F)
    return _mean(np.abs(predicted_us_T - true_us_T), energy_T * _both_ears_T(reference_EN, sample_rate_hz, active_F))


def ild_error_db(prediction_EN: ArrayLike, reference_EN: ArrayLike, sample_rate_hz: int) -> float:
    """Absolute error of the level difference, in dB, from 0: mean over third octaves and blocks, but for the quiet ones.

    125 to 8,000 Hz as far as the rate reaches; what is 50 dB under the reference's loudest band and block is left out.
    """
    prediction_EN, reference_EN = pair(prediction_EN, reference_EN, sample_rate_hz, ears=True)
    true_db_GT, level_db_GT = cues.ild_bands(reference_EN, sample_rate_hz)
    predicted_db_GT, _ = cues.ild_bands(prediction_EN, sample_rate_hz)
    return _mean(np.abs(predicted_db_GT - true_db_GT), level_db_GT > level_db_GT.max(initial=-np.inf) - QUIET_DB)


def ipd_error_rad(prediction_EN: ArrayLike, reference_EN: ArrayLike, sample_rate_hz: int) -> float:
    """Wrapped error of the phase difference, in rad, 0 to pi, 100 to 1,500 Hz, weighted by the reference's cross-spectrum."""
    prediction_EN, reference_EN = pair(prediction_EN, reference_EN, sample_rate_hz, ears=True)
    predicted_KF, _ = cues.cross_spectrum(prediction_EN, sample_rate_hz)
    true_KF, _ = cues.cross_spectrum(reference_EN, sample_rate_hz)
    predicted_KF = np.where(predicted_KF == 0, 1, predicted_KF)  # no phase is 0, whatever the signs of the zeros
    turn_KF = np.exp(1j * (np.angle(predicted_KF) - np.angle(true_KF)))
    return _mean(np.abs(np.angle(turn_KF)), np.abs(true_KF))


def iacc_error(prediction_EN: ArrayLike, reference_EN: ArrayLike, sample_rate_hz: int) -> float:
    """Absolute error of the interaural coherence, 0 to 2: the largest normalised cross-correlation within +-1 ms.

    Below 1.5 kHz. The sign counts (ISO takes the magnitude), so that ears in opposite phase are not coherent. Silence in both
    ears counts as 1, in one as 0.   Source: ISO 3382-1, annex B, but for the low pass and the sign.
    """
    prediction_EN, reference_EN = pair(prediction_EN, reference_EN, sample_rate_hz, ears=True)
    if not reference_EN.any():
        return math.nan
    return abs(cues.iacc(prediction_EN, sample_rate_hz) - cues.iacc(reference_EN, sample_rate_hz))


def _both_ears_T(wave_EN: np.ndarray, sample_rate_hz: int, active_F: np.ndarray) -> np.ndarray:
    """Where both ears hear something: one of them alone has no time difference."""
    cross_KF, _ = cues.cross_spectrum(wave_EN, sample_rate_hz)
    heard_F = np.abs(cross_KF).sum(axis=0) * active_F
    return np.add.reduceat(heard_F, np.arange(0, len(heard_F), cues.BLOCK_FRAMES)) > 0


def _mean(errors: np.ndarray, weights: np.ndarray) -> float:
    total = weights.sum()
    return float((errors * weights).sum() / total) if total > 0 else math.nan
