"""Plots of a report; conventions as in `binaural_core.figures`. Each comes with the words that say what it shows."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from binaural_core.evaluation.bands import centre_hz
from binaural_core.evaluation.results import Results
from binaural_core.evaluation.wording import quantity
from binaural_core.figures import VERSIONS
from binaural_core.seeds import numpy_stream

MARKS, STROKES = "os^Dv", ("-", "--", ":")
BIN_DEG = 30.0
BOX = {"widths": 0.55, "showfliers": False, "medianprops": {"color": "black", "lw": 2}}


class Plot(NamedTuple):
    """A figure, its heading and its alternative text."""

    title: str
    figure: Figure
    alt: str


def plots(results: Results) -> list[Plot]:
    """Those for which there is something to draw."""
    drawn = [_strips(results), _by_azimuth(results), _by_sources(results), _by_band(results)]
    return [plot for plot in drawn if plot is not None]


def _strips(results: Results) -> Plot | None:
    """Every clip as a point, and the box of the middle half, by system."""
    names = [name for name in results.leading if _any(results, name)]
    if not names:
        return None
    figure = Figure(figsize=(9, 0.42 * len(results.systems) + 1.4), layout="constrained")
    for axis, name in zip(figure.subplots(1, len(names), sharey=True, squeeze=False)[0], names, strict=True):
        values = [_finite(results.values(system, name)) for system in results.systems]
        at = np.arange(len(values))
        axis.boxplot(values, positions=at, orientation="horizontal", **BOX)
        for row, values_n in enumerate(values):
            shift_n = numpy_stream(0, "strip", row).uniform(-0.18, 0.18, len(values_n))
            axis.plot(values_n, row + shift_n, ".", ms=3, alpha=0.5, color=_colour(row))
        axis.set_yticks(at, results.systems)
        axis.set_xlabel(quantity(name))
        axis.set_xlim(left=min(0.0, *(float(v.min(initial=0)) for v in values)))
        axis.grid(axis="x", alpha=0.3)
    figure.axes[0].invert_yaxis()
    said = [
        f"{s}: " + ", ".join(f"{quantity(n)} {_median(results.values(s, n))}" for n in names) for s in results.systems
    ]
    return Plot(
        "Every clip, by system",
        figure,
        f"A point for each clip and a box around the middle half. Medians: {'; '.join(said)}.",
    )


def _by_azimuth(results: Results) -> Plot | None:
    """The errors against the direction of the main source, means of 30° sectors."""
    names = [name for name in results.leading[:3] if _any(results, name)]
    known = [k for k, systems in results.by_key.items() if math.isfinite(_first(systems).get("azimuth_deg", math.nan))]
    if not names or len(known) < 2:
        return None
    azimuth_deg_n = np.array([_first(results.by_key[k])["azimuth_deg"] for k in known])
    sector_n = np.floor((azimuth_deg_n + BIN_DEG / 2) / BIN_DEG) * BIN_DEG
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    said = []
    for axis, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for row, system in enumerate(results.systems):
            has = np.array([system in results.by_key[k] for k in known])
            values_n = results.values(system, name, known)
            means = {s: _mean(values_n[sector_n[has] == s]) for s in np.unique(sector_n[has])}
            axis.plot(azimuth_deg_n[has], values_n, ".", ms=3, alpha=0.35, color=_colour(row))
            axis.plot(list(means), list(means.values()), **_line(row), label=system)
            if name == names[0]:
                said.append(f"{system} " + ", ".join(f"{s:+.0f}° {m:.2f}" for s, m in means.items()))
        axis.set_xlabel("azimuth (°), left positive")
        axis.set_ylabel(quantity(name))
        axis.invert_xaxis()  # left is on the left
        _ground(axis)
    _legend(figure)
    return Plot(
        "By direction of the main source",
        figure,
        f"Points are clips, lines the means of sectors of {BIN_DEG:.0f}°. Mean {quantity(names[0])}: {'; '.join(said)}.",
    )


def _by_sources(results: Results) -> Plot | None:
    """Means with intervals by the number of sources."""
    kinds = results.kinds.get("sources")
    names = [name for name in results.leading if _any(results, name)]
    if not kinds or not names:
        return None
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    said = []
    for axis, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for row, system in enumerate(results.systems):
            found = [results.interval(system, name, keys) for keys in kinds.values()]
            apart = min(0.12, 0.8 / len(results.systems))
            at = np.arange(len(found)) + apart * (row - (len(results.systems) - 1) / 2)
            value_n = np.array([i.value for i in found])
            reach_2n = np.nan_to_num(np.array([[i.value - i.low, i.high - i.value] for i in found]).T).clip(min=0)
            axis.errorbar(at, value_n, reach_2n, capsize=2, **_line(row) | {"ls": "", "lw": 1}, label=system)
            if name == names[0]:
                said.append(f"{system} " + ", ".join(f"{k}: {v:.2f}" for k, v in zip(kinds, value_n, strict=True)))
        axis.set_xticks(range(len(kinds)), [f"{kind}\n({len(keys)} clips)" for kind, keys in kinds.items()], fontsize=8)
        axis.set_xlabel("sources")
        axis.set_ylabel(quantity(name))
        _ground(axis)
    _legend(figure)
    return Plot(
        "By number of sources",
        figure,
        f"Means with 95 % intervals by the number of sources. {quantity(names[0])}: {'; '.join(said)}.",
    )


def _by_band(results: Results) -> Plot | None:
    """The level error by third octave."""
    bands = [band for band in results.bands if _any(results, band)]
    if not bands:
        return None
    centres_hz = [centre_hz(band) for band in bands]
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    axis = figure.subplots()
    said = []
    for row, system in enumerate(results.systems):
        means = [_mean(results.values(system, band)) for band in bands]
        axis.semilogx(centres_hz, means, **_line(row), label=system)
        some = [0, len(bands) // 2, len(bands) - 1]
        said.append(f"{system} " + ", ".join(f"{centres_hz[i]:.0f} Hz {means[i]:.2f} dB" for i in some))
    ticks = [centre for centre in (125, 250, 500, 1000, 2000, 4000, 8000) if centre <= max(centres_hz)]
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.minorticks_off()
    axis.set_xlabel("third octave around (Hz)")
    axis.set_ylabel("ILD error (dB)")
    _ground(axis)
    _legend(figure)
    return Plot("By frequency", figure, f"Mean level error by third octave: {'; '.join(said)}.")


def _ground(axis: Axes) -> None:
    axis.set_ylim(bottom=min(0.0, axis.get_ylim()[0]))
    axis.grid(alpha=0.3)


def _legend(figure: Figure) -> None:
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=4, fontsize=8, frameon=False)


def _colour(row: int) -> str:
    return VERSIONS[row % len(VERSIONS)]


def _line(row: int) -> dict[str, Any]:
    """How a system's line looks: colours come again after some systems, then with another mark and broken."""
    turn = row // len(VERSIONS)
    return {
        "color": _colour(row),
        "marker": MARKS[row % len(MARKS)],
        "ls": STROKES[turn % len(STROKES)],
        "ms": 4,
        "lw": 1.4,
    }


def _first(systems: dict) -> dict:
    return next(iter(systems.values()))


def _any(results: Results, name: str) -> bool:
    return any(np.isfinite(results.values(system, name)).any() for system in results.systems)


def _finite(values_n: np.ndarray) -> np.ndarray:
    return values_n[np.isfinite(values_n)]


def _mean(values_n: np.ndarray) -> float:
    finite_n = _finite(values_n)
    return float(finite_n.mean()) if len(finite_n) else math.nan


def _median(values_n: np.ndarray) -> str:
    finite_n = _finite(values_n)
    return f"{np.median(finite_n):.2f}" if len(finite_n) else "not defined"
