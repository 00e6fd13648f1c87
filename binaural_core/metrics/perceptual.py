"""Models of what listeners say of speech.

Conventions: (prediction, reference, sample_rate_hz), (E, N) or (N,); each ear is judged alone and the ears are averaged.
An ear in which the model finds no speech (silence, too short) is left out; when that is all of them the result is NaN.
"""

import math
import warnings
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from binaural_core.audio.io import resample
from binaural_core.metrics.pairs import pair

PESQ_HZ = {"wb": 16_000, "nb": 8_000}
STOI_HAS_NO_FRAMES = 1e-5


def pesq(
    prediction_EN: ArrayLike, reference_EN: ArrayLike, sample_rate_hz: int, *, band: Literal["wb", "nb"] = "wb"
) -> float:
    """Perceptual evaluation of speech quality, MOS-LQO from 1 to about 4.6; more is better.

    Resampled to 16 kHz for the wide band (ITU-T P.862.2) and to 8 kHz for the narrow one (P.862.1). Takes about as long
    as a tenth of the sound.
    """
    from pesq import PesqError
    from pesq import pesq as itu_pesq

    def one_ear(prediction_N: np.ndarray, reference_N: np.ndarray) -> float:
        score = itu_pesq(PESQ_HZ[band], reference_N, prediction_N, band, on_error=PesqError.RETURN_VALUES)
        return score if score > 0 else math.nan

    waves = (resample(wave_EN, sample_rate_hz, PESQ_HZ[band]) for wave_EN in pair(prediction_EN, reference_EN))
    return _mean_over_ears(one_ear, *waves)


def stoi(prediction_EN: ArrayLike, reference_EN: ArrayLike, sample_rate_hz: int, *, extended: bool = False) -> float:
    """Short-time objective intelligibility, 0 to 1; more is better; ``extended`` suits fluctuating noise.

    Source: Taal et al. 2011; Jensen and Taal 2016.
    """
    from pystoi import stoi as taal_stoi

    def one_ear(prediction_N: np.ndarray, reference_N: np.ndarray) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # says that there is no speech; so does its value
            score = float(taal_stoi(reference_N, prediction_N, sample_rate_hz, extended=extended))
        return math.nan if score == STOI_HAS_NO_FRAMES else score

    return _mean_over_ears(one_ear, *pair(prediction_EN, reference_EN))


def _mean_over_ears(one_ear, prediction_EN: np.ndarray, reference_EN: np.ndarray) -> float:
    scores = [
        one_ear(prediction_N, reference_N)
        for prediction_N, reference_N in zip(prediction_EN, reference_EN, strict=True)
        if reference_N.any() and prediction_N.any()
    ]
    scores = [score for score in scores if not math.isnan(score)]
    return sum(scores) / len(scores) if scores else math.nan
