"""Two sounds side by side: the same channels, the same length, float64.

Conventions: (C, N) or (N,), numpy or torch, row 0 the left ear. Lengths may differ by `LENGTH_TOLERANCE` samples, one mel
hop (vocoders give whole hops); then both end with the shorter. More is a mistake worth hearing of.
"""

import numpy as np
from numpy.typing import ArrayLike

from binaural_core.errors import need

LENGTH_TOLERANCE = 256


def pair(prediction_CN: ArrayLike, reference_CN: ArrayLike, *, ears: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Both waves as float64 (C, N) of one length; ``ears`` demands C = 2.

    Raises InputError when one is empty or not finite, or when channels or lengths differ.
    """
    prediction_CN, reference_CN = _wave(prediction_CN, "prediction"), _wave(reference_CN, "reference")
    channels = reference_CN.shape[0]
    need(
        prediction_CN.shape[0] == channels,
        f"the prediction has {prediction_CN.shape[0]} channels, the reference {channels}",
        why="each channel is compared with its own",
        fix="give both as (2, N), or one ear of both",
    )
    need(
        not ears or channels == 2,
        f"the sounds have shape {reference_CN.shape}, not (2, N)",
        why="this measure compares what differs between two ears",
        fix="give both ears, row 0 the left one",
    )
    longer, shorter = sorted((prediction_CN.shape[1], reference_CN.shape[1]), reverse=True)
    need(
        longer - shorter <= LENGTH_TOLERANCE,
        f"the prediction has {prediction_CN.shape[1]} samples, the reference {reference_CN.shape[1]}",
        why=f"up to {LENGTH_TOLERANCE} may be missing at the end; more means two rates or two recordings",
        fix="bring both to one rate (binaural_core.audio.resample) and cut them to the same stretch",
    )
    return prediction_CN[:, :shorter], reference_CN[:, :shorter]


def at_own_peak(wave_CN: np.ndarray) -> np.ndarray:
    """The wave divided by its largest magnitude over all channels; silence stays silent."""
    peak = np.abs(wave_CN).max()
    return wave_CN / peak if peak > 0 else wave_CN


def as_float64(values: ArrayLike) -> np.ndarray:
    """Numbers from numpy, a list or a tensor on any device."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().double()
    return np.asarray(values, np.float64)


def _wave(wave: ArrayLike, name: str) -> np.ndarray:
    wave = np.atleast_1d(as_float64(wave))
    wave_CN = wave[None] if wave.ndim == 1 else wave
    need(
        wave_CN.ndim == 2 and wave_CN.size > 0 and wave_CN.shape[0] <= wave_CN.shape[1],
        f"the {name} has shape {wave.shape}",
        why="a sound is (channels, samples) or (samples,)",
        fix="transpose it if it is (samples, channels), and give at least one sample",
    )
    need(
        bool(np.isfinite(wave_CN).all()),
        f"the {name} has NaN or infinite samples",
        why="every measure would be NaN",
        fix="find where they come from",
    )
    return wave_CN
