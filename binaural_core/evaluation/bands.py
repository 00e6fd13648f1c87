"""The level error by frequency: that of `metrics.ild_error_db`, each third octave by itself."""

import numpy as np
from numpy.typing import ArrayLike

from binaural_core.audio.interaural import band_centres_hz, ild_bands
from binaural_core.metrics.interaural import QUIET_DB
from binaural_core.metrics.pairs import pair

PREFIX = "band_ild_error_db_"


def named_bands(sample_rate_hz: int) -> dict[str, float]:
    """Column -> centre in Hz, from 125 Hz up as far as the rate reaches."""
    return {f"{PREFIX}{centre_hz:.0f}hz": float(centre_hz) for centre_hz in band_centres_hz(sample_rate_hz)}


def ild_error_by_band_db(prediction_EN: ArrayLike, reference_EN: ArrayLike, sample_rate_hz: int) -> dict[str, float]:
    """Column -> mean absolute error over the blocks in which the band is heard, in dB; NaN where it never is.

    Weighted by how many blocks each band counts in, their mean is `ild_error_db`.
    """
    prediction_EN, reference_EN = pair(prediction_EN, reference_EN, sample_rate_hz, ears=True)
    true_db_GT, level_db_GT = ild_bands(reference_EN, sample_rate_hz)
    predicted_db_GT, _ = ild_bands(prediction_EN, sample_rate_hz)
    heard_GT = level_db_GT > level_db_GT.max(initial=-np.inf) - QUIET_DB
    count_G = heard_GT.sum(axis=1)
    sum_G = (np.abs(predicted_db_GT - true_db_GT) * heard_GT).sum(axis=1)
    error_G = np.where(count_G > 0, sum_G / np.maximum(count_G, 1), np.nan)
    return dict(zip(named_bands(sample_rate_hz), map(float, error_G), strict=True))


def centre_hz(column: str) -> float:
    """The centre that a column names."""
    return float(column.removeprefix(PREFIX).removesuffix("hz"))
