"""Plots of the course on the vocoder; conventions as in `figures`, which draws everything else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from binaural_core.figures import COLOURS, LEFT, RANGE_DB, VERSIONS

TICKS_HZ = (125, 250, 500, 1000, 2000, 4000, 8000)


def folds_figure(folds: Mapping[str, np.ndarray]) -> Figure:
    """A wave laid into rows of one period each, as a period discriminator hears it, on one colour scale.

    folds : name -> (rows, period) amplitudes.
    """
    top = max(np.abs(fold_RP).max() for fold_RP in folds.values())
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    axes = figure.subplots(1, len(folds), squeeze=False)[0]
    for axis, (name, fold_RP) in zip(axes, folds.items(), strict=True):
        image = axis.imshow(fold_RP, aspect="auto", cmap=COLOURS, vmin=-top, vmax=top, interpolation="nearest")
        axis.set_title(name, fontsize=10)
        axis.set_xlabel("sample of the row")
        axis.set_xticks(range(fold_RP.shape[1]))
    axes[0].set_ylabel("row (time goes down)")
    figure.colorbar(image, ax=axes, label="amplitude", pad=0.01)
    return figure


def fits_figure(
    fits: Mapping[str, np.ndarray],
    truth: np.ndarray,
    x: np.ndarray,
    trained: tuple[float, float],
    *,
    reach: float = 2.0,
) -> Figure:
    """Functions that were fitted where it is shaded, each over the truth (grey); values are cut off at +-``reach``.

    fits : name -> values (N,) at ``x``.
    """
    figure = Figure(figsize=(9, 1.25 * len(fits) + 0.5), layout="constrained")
    axes = figure.subplots(len(fits), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for axis, (name, values) in zip(axes, fits.items(), strict=True):
        axis.axvspan(*trained, color="0.92", lw=0)
        axis.plot(x, truth, color="0.55", lw=2.6)
        axis.plot(x, values, color=LEFT, lw=1.3)
        axis.set_ylim(-reach, reach)
        axis.set_ylabel(name, fontsize=9)
        axis.grid(alpha=0.3)
    axes[-1].set_xlim(x[0], x[-1])
    axes[-1].set_xlabel("x (shaded: trained there; grey: the truth)")
    return figure


def followed_figure(
    panels: Mapping[tuple[str, str], Mapping[str, tuple[Sequence[float], Sequence[float]]]],
) -> Figure:
    """How a cue of what comes out follows that of what went in; the dashed line is where both are the same.

    panels : (label of what went in, of what came out) -> name -> (in, out).
    """
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    for axis, ((x_label, y_label), curves) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        for (name, (x, y)), colour in zip(curves.items(), VERSIONS[1:], strict=False):
            axis.plot(x, y, color=colour, label=name, marker="o", ms=3, lw=1.4)
        ends = [min(axis.get_xlim()[0], axis.get_ylim()[0]), max(axis.get_xlim()[1], axis.get_ylim()[1])]
        axis.plot(ends, ends, color="grey", lw=1.2, ls="--")
        axis.set_xlim(*ends)
        axis.set_ylim(*ends)
        axis.set_xlabel(x_label)
        axis.set_ylabel(y_label)
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8, ncols=3, loc="lower left", bbox_to_anchor=(0, 1), frameon=False)
    return figure


def octaves_figure(level_KF: np.ndarray, duration_s: float, lowest_hz: float, bins_per_octave: int) -> Figure:
    """Level over time and note, a bin every ``1 / bins_per_octave`` octave from ``lowest_hz`` up.   level_KF : dB re 1."""
    octaves = len(level_KF) // bins_per_octave
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    axis = figure.subplots()
    top_db = level_KF.max()
    image = axis.imshow(
        level_KF,
        origin="lower",
        aspect="auto",
        extent=(0, duration_s, 0, len(level_KF) / bins_per_octave),
        cmap=COLOURS,
        vmin=top_db - RANGE_DB,
        vmax=top_db,
    )
    axis.set_yticks(range(octaves), [f"{lowest_hz * 2**octave:,.0f}" for octave in range(octaves)])
    axis.set_xlabel("time (s)")
    axis.set_ylabel("frequency (Hz), by octaves")
    figure.colorbar(image, ax=axis, label="level (dB re 1)", pad=0.01)
    return figure


def bands_figure(
    panels: Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray]]], centres_hz: Sequence[float]
) -> Figure:
    """A difference in every mel band: its mean, and shaded one deviation to either side of it.

    panels : quantity with its unit -> name -> (mean (M,), deviation (M,)). All panels share one scale, and a name has one
    colour in all of them.
    """
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    names = dict.fromkeys(name for curves in panels.values() for name in curves)
    colours = dict(zip(names, VERSIONS[1:], strict=False))
    for axis, (quantity, curves) in zip(axes, panels.items(), strict=True):
        for name, (mean_M, deviation_M) in curves.items():
            colour = colours[name]
            axis.plot(centres_hz, mean_M, color=colour, label=name, lw=1.6)
            axis.fill_between(centres_hz, mean_M - deviation_M, mean_M + deviation_M, color=colour, alpha=0.18, lw=0)
        axis.axhline(0.0, color="grey", lw=1.2, ls="--")
        axis.set_xscale("log")
        axis.set_xticks(TICKS_HZ, [f"{hz:g}" for hz in TICKS_HZ])
        axis.minorticks_off()
        axis.set_xlim(centres_hz[0], centres_hz[-1])
        axis.set_xlabel("frequency (Hz)")
        axis.set_ylabel(quantity)
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8, ncols=3, loc="lower left", bbox_to_anchor=(0, 1), frameon=False)
    return figure
