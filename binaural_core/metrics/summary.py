"""The standard measures of one pair at once, and a table of them.

Conventions: measures of the field are taken at 16 kHz, where their published numbers are; cues at the rate that is given;
mels at the rate of their config. A table says unit and direction of every line; what cannot be measured is a dash. "Mag"
of later papers has no line: it is exactly twice the STFT distance.
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from numpy.typing import ArrayLike

from binaural_core.audio.io import resample
from binaural_core.errors import InputError, need
from binaural_core.metrics.azimuth import AzimuthMatcher, azimuth_error_deg
from binaural_core.metrics.interaural import iacc_error, ild_error_db, ipd_error_rad, itd_error_us
from binaural_core.metrics.intervals import Interval
from binaural_core.metrics.pairs import pair
from binaural_core.metrics.perceptual import spoken
from binaural_core.metrics.spectral import (
    amplitude_l2,
    mel_cepstral_distortion_db,
    mel_ild_error_db,
    mel_l1,
    mel_l2,
    mel_pair,
    mel_rmse,
    multi_resolution_stft,
    phase_distance,
    phase_l2,
    stft_distance,
)
from binaural_core.metrics.waveform import env_distance, snr_db, wave_l2

FIELD_HZ = 16_000
CUES = (itd_error_us, ild_error_db, ipd_error_rad, iacc_error)
MELS = (mel_l1, mel_rmse, mel_l2, mel_ild_error_db, mel_cepstral_distortion_db)
FIELD = (
    stft_distance,
    env_distance,
    snr_db,
    phase_distance,
    wave_l2,
    amplitude_l2,
    phase_l2,
    multi_resolution_stft,
)
SPEECH = ("pesq", "pesq_left", "pesq_right", "pesq_narrow", "stoi", "estoi")  # of `perceptual.spoken`


class Measure(NamedTuple):
    """How a measure is read."""

    label: str
    unit: str
    more_is_better: bool = False
    digits: int = 3


MEASURES = {
    "itd_error_us": Measure("ITD error", "µs", digits=1),
    "ild_error_db": Measure("ILD error", "dB", digits=2),
    "ipd_error_rad": Measure("IPD error", "rad"),
    "iacc_error": Measure("IACC error", ""),
    "azimuth_error_deg": Measure("azimuth error", "°", digits=1),
    "mel_l1": Measure("mel L1", "ln"),
    "mel_rmse": Measure("mel RMSE", "ln"),
    "mel_l2": Measure("mel L2", "ln²"),
    "mel_ild_error_db": Measure("mel ILD error", "dB", digits=2),
    "mel_cepstral_distortion_db": Measure("mel-cepstral distortion", "dB", digits=2),
    "stft_distance": Measure("STFT distance", ""),
    "env_distance": Measure("ENV distance", ""),
    "snr_db": Measure("SNR", "dB", more_is_better=True, digits=2),
    "phase_distance": Measure("phase distance, L-R", "rad"),
    "wave_l2": Measure("wave L2", "", digits=5),
    "amplitude_l2": Measure("amplitude error", ""),
    "phase_l2": Measure("phase error", "rad"),
    "multi_resolution_stft": Measure("multi-resolution STFT", ""),
    "pesq": Measure("PESQ", "MOS", more_is_better=True, digits=2),
    "pesq_left": Measure("PESQ, left ear", "MOS", more_is_better=True, digits=2),
    "pesq_right": Measure("PESQ, right ear", "MOS", more_is_better=True, digits=2),
    "pesq_narrow": Measure("PESQ, narrow band", "MOS", more_is_better=True, digits=2),
    "stoi": Measure("STOI", "", more_is_better=True),
    "estoi": Measure("ESTOI", "", more_is_better=True),
}


def summarize(
    prediction_EN: ArrayLike,
    reference_EN: ArrayLike,
    sample_rate_hz: int,
    *,
    speech: bool = False,
    matcher: AzimuthMatcher | None = None,
) -> dict[str, float]:
    """Every standard measure by the name of its function, in the order of `MEASURES`; not normalised.

    speech : PESQ, STOI and ESTOI too, which take longer and mean nothing for music.
    matcher : a head's cues; with them the azimuth error too.
    A measure whose window is longer than the sounds is NaN.
    Raises InputError unless both are (2, N), finite, and of one length to within a hop.
    """
    waves = pair(prediction_EN, reference_EN, sample_rate_hz, ears=True)
    at_field_rate = [resample(wave_EN, sample_rate_hz, FIELD_HZ) for wave_EN in waves]
    values = {measure.__name__: measure(*waves, sample_rate_hz) for measure in CUES}
    if matcher is not None:
        values["azimuth_error_deg"] = azimuth_error_deg(*waves, sample_rate_hz, matcher)
    try:
        mels = mel_pair(*waves, sample_rate_hz)
        values |= {measure.__name__: measure(*mels) for measure in MELS}
    except InputError:
        values |= {measure.__name__: math.nan for measure in MELS}
    values |= {measure.__name__: _or_nan(measure, *at_field_rate, FIELD_HZ) for measure in FIELD}
    if speech:
        values |= spoken(*waves, sample_rate_hz)
    return values


def table(rows: Mapping[str, Mapping[str, float | Interval]]) -> str:
    """A markdown table, aligned to be read as plain text: one line per measure, one column per named set of values.

    rows : name -> what `summarize` returned, or `measure_intervals` of many (the bounds follow in brackets). Arrows say where
    better is. Names that are not in `MEASURES` are left out.
    """
    need(len(rows) > 0, "there is nothing to tabulate", why="a table needs at least one set", fix="give one")
    names = [name for name in MEASURES if any(name in values for values in rows.values())]
    cells = [["measure", "unit", *rows]]
    for name in names:
        measure = MEASURES[name]
        label = f"{measure.label} {'↑' if measure.more_is_better else '↓'}"
        numbers = [_number(values.get(name, math.nan), measure.digits) for values in rows.values()]
        cells.append([label, measure.unit, *numbers])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rule = ["-" * w if i < 2 else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
    lines = [_line(cells[0], widths), _line(rule, widths), *(_line(line, widths) for line in cells[1:])]
    return "\n".join(lines)


def _or_nan(measure: Callable[..., float], *arguments) -> float:
    """The measure; NaN where the sounds are too short for it (all else was refused before)."""
    try:
        return measure(*arguments)
    except InputError:
        return math.nan


def _number(value: float | Interval, digits: int) -> str:
    if isinstance(value, Interval):
        bounds = f" [{_number(value.low, digits)}, {_number(value.high, digits)}]" if math.isfinite(value.low) else ""
        return _number(value.value, digits) + bounds
    return f"{value:.{digits}f}" if math.isfinite(value) else "–"


def _line(cells: list[str], widths: list[int]) -> str:
    left = [cell.ljust(width) for cell, width in zip(cells[:2], widths[:2], strict=True)]
    right = [cell.rjust(width) for cell, width in zip(cells[2:], widths[2:], strict=True)]
    return f"| {' | '.join(left + right)} |"
