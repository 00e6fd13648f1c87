"""Measures on the samples themselves.

Conventions: (prediction, reference, sample_rate_hz), both (E, N); ``normalized`` divides each by its own peak over both
ears first, as half of the published numbers do: say which one a table holds. Silence is a sound like any other here, and one
sample is enough; all are 0 or finite, never NaN.
"""

import numpy as np
import scipy.signal
from numpy.typing import ArrayLike

from binaural_core.metrics.pairs import at_own_peak, pair

SNR_FLOOR = 1e-4


def env_distance(
    prediction_EN: ArrayLike, reference_EN: ArrayLike, sample_rate_hz: int, *, normalized: bool = False
) -> float:
    """Sum over ears of the RMS difference of the Hilbert envelopes; published at 16 kHz; 0 is best.

    The envelope is that of the whole signal, as one transform.
    Source: Gao and Grauman 2019, 2.5D Visual Sound (1812.04204), sec. 5.
    """
    prediction_EN, reference_EN = pair(prediction_EN, reference_EN, sample_rate_hz)
    if normalized:
        prediction_EN, reference_EN = at_own_peak(prediction_EN), at_own_peak(reference_EN)
    difference_EN = np.abs(scipy.signal.hilbert(prediction_EN)) - np.abs(scipy.signal.hilbert(reference_EN))
    return float(np.sqrt((difference_EN**2).mean(axis=1)).sum())


def snr_db(
    prediction_EN: ArrayLike, reference_EN: ArrayLike, sample_rate_hz: int, *, normalized: bool = False
) -> float:
    """Signal-to-noise ratio over both ears, in dB; more is better.

    1e-4 is added to signal and noise power, so that a perfect copy reaches 12 to 23 dB, not infinity; silence against
    silence is 0.
    Source: the evaluation of PseudoBinaural (Xu et al. 2021, 2104.06162).
    """
    prediction_EN, reference_EN = pair(prediction_EN, reference_EN, sample_rate_hz)
    if normalized:
        prediction_EN, reference_EN = at_own_peak(prediction_EN), at_own_peak(reference_EN)
    noise = ((prediction_EN - reference_EN) ** 2).mean()
    return float(10 * np.log10(((reference_EN**2).mean() + SNR_FLOOR) / (noise + SNR_FLOOR)))


def wave_l2(prediction_EN: ArrayLike, reference_EN: ArrayLike, sample_rate_hz: int) -> float:
    """Mean squared difference of the samples, published times 1,000 at 48 kHz; 0 is best.

    Source: Richard et al. 2021, Neural Synthesis of Binaural Speech, sec. 4.
    """
    prediction_EN, reference_EN = pair(prediction_EN, reference_EN, sample_rate_hz)
    return float(((prediction_EN - reference_EN) ** 2).mean())
