"""Two sounds side by side: the same channels, the same length, float64.

Conventions: (C, N) or (N,), row 0 the left ear; numpy, torch on any device, or lists, of any real type. Samples are in
[-1, 1]: whole numbers beyond it are a file's raw values and are refused. Lengths may differ by `LENGTH_TOLERANCE`
samples, one mel hop (vocoders give whole hops); then both end with the shorter. More is a mistake worth hearing of.
"""

import numpy as np
from numpy.typing import ArrayLike

from binaural_core.audio.interaural import need_rate
from binaural_core.errors import InputError, need

LENGTH_TOLERANCE = 256


def pair(
    prediction_CN: ArrayLike, reference_CN: ArrayLike, sample_rate_hz: float, *, ears: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Both waves as float64 (C, N) of one length; ``ears`` demands C = 2.

    Raises InputError when one is empty, not finite or not of real numbers, when channels or lengths differ, or when the
    rate is none.
    """
    need_rate(sample_rate_hz)
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


def as_float64(values: ArrayLike, name: str) -> np.ndarray:
    """Real numbers from numpy, a list or a tensor on any device. Raises InputError for anything else."""
    return _real(values, name).astype(np.float64)


def _real(values: ArrayLike, name: str) -> np.ndarray:
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = values.double() if values.is_floating_point() else values
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise InputError(
            f"the {name} is no array", why=str(error), fix="give rows of one length, as an array or a tensor"
        ) from error
    need(
        array.dtype.kind in "fiub",
        f"the {name} holds {array.dtype} values",
        why="a measure compares real numbers",
        fix="give waves (not spectra, not names of files) as floats",
    )
    return array


def _wave(wave: ArrayLike, name: str) -> np.ndarray:
    wave = np.atleast_1d(_real(wave, name))
    wave_CN = wave[None] if wave.ndim == 1 else wave
    need(
        wave_CN.ndim == 2 and wave_CN.size > 0 and wave_CN.shape[0] <= max(2, wave_CN.shape[1]),
        f"the {name} has shape {wave.shape}",
        why="a sound is (channels, samples) or (samples,)",
        fix="transpose it if it is (samples, channels), and give at least one sample",
    )
    need(
        wave_CN.dtype.kind not in "iu" or (wave_CN.max() <= 1 and wave_CN.min() >= -1),
        f"the {name} holds {wave_CN.dtype} samples up to {wave_CN.max()}",
        why="sound is in [-1, 1] here, and measures that depend on the level would be meaningless",
        fix="divide 16-bit samples by 32768, or read the file with binaural_core.audio.read_audio",
    )
    wave_CN = wave_CN.astype(np.float64)
    need(
        bool(np.isfinite(wave_CN).all()),
        f"the {name} has NaN or infinite samples",
        why="every measure would be NaN",
        fix="find where they come from",
    )
    return wave_CN
