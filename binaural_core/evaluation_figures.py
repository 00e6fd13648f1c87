"""Plots of the course on evaluation; conventions as in `figures`, which draws everything else."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from binaural_core.figures import LEFT, VERSIONS
from binaural_core.metrics.intervals import Interval


def sweeps_figure(
    panels: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]],
    x_label: str,
    *,
    upright: Mapping[str, float] | None = None,
    level: Mapping[str, Mapping[str, float]] | None = None,
    columns: int = 3,
) -> Figure:
    """Several quantities over one that is swept, a panel each, with named lines where something is to be noticed.

    panels : quantity with its unit -> name -> (x, y); all panels have the same names.   upright : name -> x.
    level : quantity -> name -> y.
    """
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(9, 2.5 * rows + 0.7), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis, (quantity, curves) in zip(axes, panels.items(), strict=False):
        for (name, (x, y)), colour, marker in zip(curves.items(), VERSIONS[1:], "osD^v", strict=False):
            axis.plot(x, y, color=colour, label=name, lw=1.4, marker=marker if len(x) < 30 else "", ms=3.5)
        for dashes, (name, at) in zip(("--", ":", "-."), (upright or {}).items(), strict=False):
            axis.axvline(at, color="grey", lw=1.2, ls=dashes, label=name)
        marks = (level or {}).get(quantity, {})
        for number, (name, at) in enumerate(marks.items()):
            axis.axhline(at, color="black", lw=1.0, ls=("--", ":", "-.", "-")[number % 4])
            axis.annotate(
                name,
                (0.99, at),
                xytext=(0, 2),
                textcoords="offset points",
                xycoords=("axes fraction", "data"),
                ha="right",
                va="bottom",
                fontsize=7,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
                zorder=1.5,  # over the grid, under the curves
            )
        if marks:
            axis.margins(y=0.14)  # a name above the highest line stays inside
        axis.set_xlabel(x_label)
        axis.set_ylabel(quantity)
        axis.grid(alpha=0.3)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper left", ncols=5, fontsize=8, frameon=False)
    return figure


def azimuths_figure(
    found: Mapping[str, tuple[Sequence[float], Sequence[float]]], true: tuple[Sequence[float], Sequence[float]]
) -> Figure:
    """Where a sound is heard over time, a line of dots for each version, over the way that it took.

    found : version -> (time_s, azimuth_deg), NaN where nothing was found.   true : (time_s, azimuth_deg).
    """
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    axis = figure.subplots()
    axis.plot(*true, color="0.7", lw=5, label="the way it took", solid_capstyle="round")
    for index, ((name, (time_s, azimuth_deg)), colour) in enumerate(zip(found.items(), VERSIONS, strict=False)):
        axis.plot(time_s, azimuth_deg, color=colour, label=name, lw=1.3, marker="os^Dv"[index % 5], ms=5, alpha=0.85)
    axis.axhline(0, color="grey", lw=0.8)
    axis.set_xlabel("time (s)")
    axis.set_ylabel("azimuth (°)\n← right    left →")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8, ncols=5, loc="lower left", bbox_to_anchor=(0, 1), frameon=False)
    return figure


def intervals_figure(
    panels: Mapping[str, Mapping[str, Interval]], *, upright: float | None = None, alike: bool = False
) -> Figure:
    """Means as dots with their intervals as bars, one line for each name; a panel for each quantity.

    panels : quantity with its unit -> name -> interval; a name that a panel lacks has an empty line there. Intervals
    without bounds (NaN) are dots alone, those without a value are bars alone.   upright : a value to compare with,
    dashed.   alike : one scale for all panels.
    """
    names = list(dict.fromkeys(name for named in panels.values() for name in named))
    figure = Figure(figsize=(9, 0.32 * len(names) + 1.1), layout="constrained")
    axes = figure.subplots(1, len(panels), sharex=alike, sharey=True, squeeze=False)[0]
    for axis, (quantity, named) in zip(axes, panels.items(), strict=True):
        for name, interval in named.items():
            row = names.index(name)
            if math.isfinite(interval.low):
                axis.plot([interval.low, interval.high], [row, row], color=LEFT, lw=2.2, solid_capstyle="butt")
            axis.plot(interval.value, row, "o", color="black", ms=4)
        if upright is not None:
            axis.axvline(upright, color="grey", lw=1.2, ls="--")
        axis.set_xlabel(quantity)
        axis.grid(alpha=0.3, axis="x")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_yticks(np.arange(len(names)), names)
    axes[0].set_ylim(len(names) - 0.5, -0.5)
    return figure
