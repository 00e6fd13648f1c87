"""How measures are written: their names, units and digits, and tables to be read as plain text."""

import math
from collections.abc import Mapping, Sequence
from itertools import islice

from binaural_core.metrics.intervals import Interval
from binaural_core.metrics.summary import MEASURES, Measure

KNOWN = MEASURES | {
    "stft_distance_normalized": Measure("STFT distance, at own peak", ""),
    "env_distance_normalized": Measure("ENV distance, at own peak", ""),
}
LEADING = (
    "ild_error_db",
    "itd_error_us",
    "azimuth_error_deg",
    "stft_distance",
    "env_distance",
    "stft_distance_normalized",
    "env_distance_normalized",
    "mel_rmse",
)

SHOWN = 10  # of what could not be measured; all of it is in summary.json


def not_measured(broken: Mapping[str, str]) -> list[str]:
    """Lines for the screen: what could not be measured and why, the first few."""
    lines = [f"not measured: {name}: {why}" for name, why in islice(broken.items(), SHOWN)]
    more = len(broken) - SHOWN
    return lines + ([f"not measured: {more} more; summary.json (--out) names them all"] if more > 0 else [])


def label(name: str) -> str:
    return f"{KNOWN[name].label} {'↑' if KNOWN[name].more_is_better else '↓'}"


def said(interval: Interval, digits: int) -> str:
    bounds = f" [{interval.low:.{digits}f}, {interval.high:.{digits}f}]" if math.isfinite(interval.low) else ""
    return number(interval.value, digits) + bounds


def signed(interval: Interval, digits: int) -> str:
    if not math.isfinite(interval.value):
        return "–"
    if not math.isfinite(interval.low):
        return f"{interval.value:+.{digits}f}"
    star = " *" if round(interval.low, digits) > 0 or round(interval.high, digits) < 0 else ""
    return f"{interval.value:+.{digits}f} [{interval.low:+.{digits}f}, {interval.high:+.{digits}f}]{star}"


def number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else "–"


def markdown_table(lines: Sequence[Sequence[str]]) -> str:
    """A markdown table, aligned to be read as plain text."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    rule = ["-" * width for width in widths]
    padded = [
        " | ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) for line in (lines[0], rule, *lines[1:])
    ]
    return "\n".join(f"| {line} |" for line in padded)


def quantity(name: str) -> str:
    """With its unit, for an axis."""
    return f"{KNOWN[name].label} ({KNOWN[name].unit})" if KNOWN[name].unit else KNOWN[name].label
