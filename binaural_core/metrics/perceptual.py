"""Models of what listeners say of speech.

Conventions: (prediction, reference, sample_rate_hz), (E, N) or (N,); each ear is judged alone and the ears are averaged.
An ear whose reference holds no speech for the model (silence, too short) is left out; when that is all of them the
result is NaN. A prediction that is silent where the reference speaks gets the lowest value (of STOI 0), so that silence
never pays.
"""

import math
import warnings
from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from binaural_core.audio.io import resample
from binaural_core.errors import need
from binaural_core.metrics.pairs import pair

PESQ_HZ = {"wb": 16_000, "nb": 8_000}
PESQ_LOWEST = {"wb": 0.999 + 4 / (1 + math.exp(4.50585)), "nb": 0.999 + 4 / (1 + math.exp(5.40795))}
"""What the maps of P.862.2 and P.862.1 make of -0.5, the lowest raw score."""
PESQ_LONGEST_S = 20.0
"""The ITU's program has room for 50 utterances and writes past its end when there are more; one takes 0.4 s at least."""
STOI_SHORTEST_S = 3968 / 10_000  # 30 frames of 256 samples, half overlapping, at 10 kHz
STOI_HAS_NO_FRAMES = 1e-5


def pesq(
    prediction_EN: ArrayLike, reference_EN: ArrayLike, sample_rate_hz: int, *, band: Literal["wb", "nb"] = "wb"
) -> float:
    """Perceptual evaluation of speech quality, MOS-LQO from 1.0 to 4.64 (wide band) or 4.55; more is better.

    Resampled by soxr (`binaural_core.audio.resample`) to 16 kHz for the wide band (ITU-T P.862.2) and to 8 kHz for the
    narrow one (P.862.1); then the ITU's program as the package `pesq` ships it, which takes both at their joint peak. It
    aligns times and levels itself: a common gain, a delay or an inverted sign costs nothing. Sounds longer than
    `PESQ_LONGEST_S` are judged in equal pieces that are no longer, and averaged. NaN under a quarter of a second.
    """
    from pesq import PesqError
    from pesq import pesq as itu_pesq

    need(band in PESQ_HZ, f"no band is called {band!r}", why="P.862 knows a wide and a narrow one", fix="give wb or nb")

    def piece(prediction_N: np.ndarray, reference_N: np.ndarray) -> float:
        if not reference_N.any():
            return math.nan
        score = itu_pesq(PESQ_HZ[band], reference_N, prediction_N, band, on_error=PesqError.RETURN_VALUES)
        if math.isnan(score):  # nothing in the prediction
            return PESQ_LOWEST[band]
        return score if score > 0 else math.nan  # negative: too short, or no utterance

    def one_ear(prediction_N: np.ndarray, reference_N: np.ndarray) -> float:
        count = math.ceil(len(reference_N) / (PESQ_LONGEST_S * PESQ_HZ[band]))
        cut = (np.array_split(wave_N, count) for wave_N in (prediction_N, reference_N))
        return _mean([piece(*both) for both in zip(*cut, strict=True)])

    waves = pair(prediction_EN, reference_EN, sample_rate_hz)
    return _mean_over_ears(one_ear, *(resample(wave_EN, sample_rate_hz, PESQ_HZ[band]) for wave_EN in waves))


def stoi(prediction_EN: ArrayLike, reference_EN: ArrayLike, sample_rate_hz: int, *, extended: bool = False) -> float:
    """Short-time objective intelligibility, 1 at best and near 0, on either side, without any relation.

    The package `pystoi`, which resamples to 10 kHz itself. A gain costs nothing, a delay does. A silent prediction gets 0;
    NaN when less than 0.4 s of the reference are within 40 dB of its loudest frame.
    Source: Taal et al. 2011, An algorithm for intelligibility prediction of time-frequency weighted noisy speech, eq. 5
    and 6.
    """
    from pystoi import stoi as taal_stoi

    def one_ear(prediction_N: np.ndarray, reference_N: np.ndarray) -> float:
        if len(reference_N) <= STOI_SHORTEST_S * sample_rate_hz:
            return math.nan
        as_extended = extended and bool(prediction_N.any())  # of silence it would correlate its own dither
        state = np.random.get_state()  # noqa: NPY002 (the package draws its dither, 1e-16, from the global stream)
        try:
            np.random.seed(0)  # noqa: NPY002
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # says that there is no speech; so does its value
                score = float(taal_stoi(reference_N, prediction_N, int(sample_rate_hz), extended=as_extended))
        finally:
            np.random.set_state(state)  # noqa: NPY002
        return math.nan if score == STOI_HAS_NO_FRAMES else score

    return _mean_over_ears(one_ear, *pair(prediction_EN, reference_EN, sample_rate_hz))


def estoi(prediction_EN: ArrayLike, reference_EN: ArrayLike, sample_rate_hz: int) -> float:
    """Extended STOI: also right for noise that comes and goes, as spectra are compared as well as envelopes; to 1.

    Silence and short sounds as in `stoi`.   Source: Jensen and Taal 2016, An algorithm for predicting the intelligibility
    of speech masked by modulated noise maskers, sec. II.
    """
    return stoi(prediction_EN, reference_EN, sample_rate_hz, extended=True)


def spoken(prediction_EN: ArrayLike, reference_EN: ArrayLike, sample_rate_hz: int) -> dict[str, float]:
    """All of them: wide-band PESQ of each ear and its mean, narrow-band PESQ, STOI and ESTOI. Waves (2, N)."""
    left, right = (pesq(*ear, sample_rate_hz) for ear in zip(prediction_EN, reference_EN, strict=True))
    return {
        "pesq": _mean([left, right]),
        "pesq_left": left,
        "pesq_right": right,
        "pesq_narrow": pesq(prediction_EN, reference_EN, sample_rate_hz, band="nb"),
        "stoi": stoi(prediction_EN, reference_EN, sample_rate_hz),
        "estoi": estoi(prediction_EN, reference_EN, sample_rate_hz),
    }


def _mean_over_ears(
    one_ear: Callable[[np.ndarray, np.ndarray], float], prediction_EN: np.ndarray, reference_EN: np.ndarray
) -> float:
    return _mean(
        [
            one_ear(prediction_N, reference_N)
            for prediction_N, reference_N in zip(prediction_EN, reference_EN, strict=True)
            if reference_N.any()
        ]
    )


def _mean(scores: list[float]) -> float:
    """Of those that are defined; NaN when none is."""
    scores = [score for score in scores if not math.isnan(score)]
    return sum(scores) / len(scores) if scores else math.nan
