"""Every plot of the package and the course, drawn once.

A function takes arrays and gives a matplotlib `Figure`; nothing is shown, saved or kept open. Conventions: both ears
and all compared versions share one colour scale; levels are dB re 1; time is seconds; positive means left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from binaural_core.audio import MelConfig, mel_filters
from binaural_core.audio.interaural import ild_bands, itd_blocks
from binaural_core.errors import need
from binaural_core.shapes import check

EARS = ("left", "right")
LEFT, RIGHT = "#0072b2", "#d55e00"  # told apart by colour-blind eyes too (Okabe & Ito)
VERSIONS = ("#000000", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
COLOURS = "magma"  # perceptually uniform
DB_PER_NEPER = 20 / np.log(10)  # a natural log of magnitude in dB
RANGE_DB = 70.0  # what a colour scale spans below its loudest cell
ACTIVE_DB = 30.0  # frames this far under the loudest have no level difference worth drawing


def ears_figure(mels: Mapping[str, np.ndarray], mel: MelConfig | None = None, *, title: str = "") -> Figure:
    """Log-mels of both ears of several versions on one colour scale, and their level difference over time below.

    mels : name -> (2, M, F) natural-log mel, numpy or torch.
    """
    mel = mel or MelConfig()
    levels = {name: DB_PER_NEPER * _array(mel_EMF) for name, mel_EMF in mels.items()}
    need(bool(levels), "there is nothing to draw", why="no mel was given", fix="give at least one version")
    for name, level_EMF in levels.items():
        check(level_EMF, "2 M F", name)
    top_db = max(level.max() for level in levels.values())
    seconds = max(level.shape[-1] for level in levels.values()) * mel.hop_samples / mel.sample_rate_hz
    figure = Figure(figsize=(9, 2.1 * len(levels) + 2.2), layout="constrained")
    grid = figure.add_gridspec(len(levels) + 1, 2)
    panels = []
    for row, (name, level_EMF) in enumerate(levels.items()):
        for ear in (0, 1):
            panels.append(figure.add_subplot(grid[row, ear]))
            image = _mel_panel(panels[-1], level_EMF[ear], mel, top_db)
            panels[-1].set_title(f"{name}, {EARS[ear]} ear", fontsize=10)
            if ear:
                panels[-1].tick_params(labelleft=False)
            else:
                panels[-1].set_ylabel("frequency (kHz)")
            panels[-1].set_xlim(0, seconds)
    figure.colorbar(image, ax=panels, label="level (dB re 1)", pad=0.01)
    curve = figure.add_subplot(grid[-1, :])
    for index, (name, mel_EMF) in enumerate(mels.items()):
        ild_F = mel_ild_db(_array(mel_EMF))
        curve.plot(_frame_times_s(len(ild_F), mel), ild_F, label=name, **_layered(index, len(mels)))
    _about_zero(curve, "level difference (dB)\n← right    left →", at_least=6.0)
    curve.set_xlim(0, seconds)
    curve.set_xlabel("time (s)")
    _legend_above(curve)
    figure.suptitle(title)
    return figure


def mel_ild_db(mel_EMF: np.ndarray, *, active_db: float = ACTIVE_DB) -> np.ndarray:
    """Interaural level difference of every frame from log-mels, dB, positive left.

    Energies are summed over bands; frames more than ``active_db`` under the loudest are NaN.   Returns (F,).
    """
    energy_EF = np.exp(2.0 * _array(mel_EMF).astype(float)).sum(axis=1)
    loudness_F = energy_EF.sum(axis=0)
    ild_F = 10 * np.log10(energy_EF[0] / energy_EF[1])
    return np.where(loudness_F > loudness_F.max() * 10 ** (-active_db / 10), ild_F, np.nan)


def cues_figure(waves: Mapping[str, np.ndarray], sample_rate_hz: int, *, title: str = "") -> Figure:
    """Interaural time and level differences over time, one curve for each version.

    waves : name -> (2, N).
    """
    figure = Figure(figsize=(9, 4.4), layout="constrained")
    time_axis, level_axis = figure.subplots(2, 1, sharex=True)
    for index, (name, wave_EN) in enumerate(waves.items()):
        check(wave_EN, "2 N", name)
        itd_us_T, energy_T = itd_blocks(wave_EN, sample_rate_hz)
        ild_db_KT, level_db_KT = ild_bands(wave_EN, sample_rate_hz)
        weight_KT = 10 ** (np.asarray(level_db_KT) / 10)
        ild_T = (weight_KT * ild_db_KT).sum(axis=0) / np.maximum(weight_KT.sum(axis=0), 1e-30)
        heard_T = np.asarray(energy_T) > 0
        seconds_T = (np.arange(len(itd_us_T)) + 0.5) * wave_EN.shape[-1] / sample_rate_hz / len(itd_us_T)
        style = {"label": name, "marker": "o", "ms": 3, **_layered(index, len(waves))}
        time_axis.plot(seconds_T, np.where(heard_T, itd_us_T, np.nan), **style)
        level_axis.plot(seconds_T, np.where(heard_T, ild_T, np.nan), **style)
    _about_zero(time_axis, "time difference (µs)\n← right    left →", at_least=100.0)
    _about_zero(level_axis, "level difference (dB)\n← right    left →", at_least=3.0)
    level_axis.set_xlabel("time (s)")
    _legend_above(time_axis)
    figure.suptitle(title)
    return figure


def directions_figure(azimuth_deg: Sequence[float], cues: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """Cues against the direction of the source: one panel for each quantity, one curve for each name.

    cues : quantity with its unit, such as "ITD (µs)" -> name -> values, one for each azimuth.
    """
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    for axis, (quantity, curves) in zip(figure.subplots(1, len(cues), squeeze=False)[0], cues.items(), strict=True):
        for (name, values), colour in zip(curves.items(), VERSIONS, strict=False):
            axis.plot(azimuth_deg, values, color=colour, label=name, marker="o", ms=3)
        _about_zero(axis, quantity, at_least=1.0)
        axis.set_xlabel("azimuth (°): 0 ahead, + left")
        axis.set_xticks(np.arange(-180, 181, 45))
        axis.set_xlim(min(azimuth_deg), max(azimuth_deg))
        _legend_above(axis)
    return figure


def waves_figure(waves: Mapping[str, np.ndarray], sample_rate_hz: int, *, start_s: float = 0.0) -> Figure:
    """Waveforms over time, both ears of a version in one panel.

    waves : name -> (2, N), or (N,) for mono.   start_s : the time of the first sample.
    """
    figure = Figure(figsize=(9, 1.5 * len(waves) + 0.6), layout="constrained")
    axes = figure.subplots(len(waves), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for axis, (name, wave) in zip(axes, waves.items(), strict=True):
        wave = _array(wave)
        seconds_N = start_s + np.arange(wave.shape[-1]) / sample_rate_hz
        if wave.ndim == 1:
            axis.plot(seconds_N, wave, color="black", lw=0.9, label="mono")
        else:
            axis.plot(seconds_N, wave[0], color=LEFT, lw=0.9, label="left ear")
            axis.plot(seconds_N, wave[1], color=RIGHT, lw=0.9, label="right ear", alpha=0.8)
        axis.set_title(name, fontsize=10)
        axis.set_ylabel("amplitude")
        axis.legend(fontsize=8, loc="upper right")
        axis.grid(alpha=0.3)
    axes[-1].set_xlabel("time (s)")
    axes[-1].set_xlim(start_s, start_s + max(_array(w).shape[-1] for w in waves.values()) / sample_rate_hz)
    return figure


def filters_figure(mel: MelConfig | None = None) -> Figure:
    """The mel filterbank over frequency: every filter, and what they add up to."""
    mel = mel or MelConfig()
    filters_MK = _array(mel_filters(mel))
    hz_K = np.arange(filters_MK.shape[1]) * mel.sample_rate_hz / mel.n_fft
    figure = Figure(figsize=(9, 3.0), layout="constrained")
    near, whole = figure.subplots(1, 2)
    for axis in (near, whole):
        for index, filter_K in enumerate(filters_MK):
            axis.plot(hz_K, filter_K, lw=0.9, color=(LEFT, RIGHT)[index % 2])
        axis.set_xlabel("frequency (Hz)")
        axis.grid(alpha=0.3)
    near.set_xlim(0, 1500)
    near.set_title("up to 1.5 kHz", fontsize=10)
    whole.set_xlim(0, hz_K[-1])
    whole.set_title(f"all {mel.n_mels} filters: each has the same area", fontsize=10)
    near.set_ylabel("weight (1/Hz)")
    return figure


def levels_figure(levels: Mapping[str, np.ndarray], *, duration_s: float, top_hz: float) -> Figure:
    """Levels over time and frequency side by side, on one colour scale and a linear frequency axis.

    levels : name -> (K, F) in dB re 1, K evenly from 0 to ``top_hz``.
    """
    top_db = max(level.max() for level in levels.values())
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    axes = figure.subplots(1, len(levels), sharey=True, squeeze=False)[0]
    for axis, (name, level_KF) in zip(axes, levels.items(), strict=True):
        image = axis.imshow(
            level_KF,
            origin="lower",
            aspect="auto",
            extent=(0, duration_s, 0, top_hz / 1000),
            cmap=COLOURS,
            vmin=top_db - RANGE_DB,
            vmax=top_db,
        )
        axis.set_title(name, fontsize=10)
        axis.set_xlabel("time (s)")
    axes[0].set_ylabel("frequency (kHz)")
    figure.colorbar(image, ax=axes, label="level (dB re 1)", pad=0.01)
    return figure


def losses_figure(losses: Mapping[str, tuple[Sequence[float], Sequence[float]]], *, step: str = "step") -> Figure:
    """Losses over training on a logarithmic axis.   losses : name -> (steps, values)."""
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    axis = figure.subplots()
    for (name, (steps, values)), colour in zip(losses.items(), VERSIONS, strict=False):
        axis.plot(steps, values, color=colour, label=name, lw=1.4, marker="o" if len(steps) < 20 else "", ms=3)
    axis.set_yscale("log")
    axis.set_xlabel(step)
    axis.set_ylabel("loss")
    axis.grid(alpha=0.3, which="both")
    axis.legend(fontsize=8)
    return figure


def errors_figure(errors: Mapping[str, Mapping[str, float]]) -> Figure:
    """Errors of several versions as bars, one panel for each measure.

    errors : version -> measure with its unit -> value.
    """
    measures = list(next(iter(errors.values())))
    figure = Figure(figsize=(9, 0.36 * len(errors) + 1.1), layout="constrained")
    for index, (axis, measure) in enumerate(zip(figure.subplots(1, len(measures), sharey=True), measures, strict=True)):
        values = [errors[name][measure] for name in errors]
        axis.barh(list(errors), values, color=LEFT)
        for row, value in enumerate(values):
            axis.annotate(f" {value:.3g}", (value, row), va="center", fontsize=8)
        axis.set_xlim(0, 1.3 * max([*values, 1e-9]))
        axis.set_xlabel(measure)
        axis.spines[["top", "right"]].set_visible(False)
        if index == 0:
            axis.invert_yaxis()
    return figure


def curves_figure(
    panels: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]],
    x_label: str,
    *,
    log: str = "",
    right: Mapping[str, float] | None = None,
) -> Figure:
    """Curves over one quantity, a panel for each of several others.

    panels : quantity with its unit -> name -> (x, y).   log : which axes are logarithmic: "x", "y" or "xy".
    right : quantity -> the value that would be right, dashed.
    """
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    for axis, (quantity, curves) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        for (name, (x, y)), colour in zip(curves.items(), VERSIONS, strict=False):
            axis.plot(x, y, color=colour, label=name, lw=1.4, marker="o" if len(x) < 30 else "", ms=3)
        if right and quantity in right:
            axis.axhline(right[quantity], color="grey", lw=1.2, ls="--")
        axis.set_xscale("log" if "x" in log else "linear")
        axis.set_yscale("log" if "y" in log else "linear")
        axis.set_xlabel(x_label)
        axis.set_ylabel(quantity)
        axis.grid(alpha=0.3)
        axis.legend(
            fontsize=8, ncols=2 if len(panels) > 1 else 4, loc="lower left", bbox_to_anchor=(0, 1), frameon=False
        )
    return figure


def seeds_figure(
    panels: Mapping[tuple[str, str], Mapping[str, tuple[Sequence[float], np.ndarray]]],
    *,
    right: Mapping[str, tuple[str, float]] | None = None,
    columns: int = 2,
) -> Figure:
    """Curves of runs that were repeated with several seeds: their mean, and shaded from the least to the most.

    panels : (what is varied, quantity with its unit) -> name -> (x, (S, X) values of S seeds), row by row; both axes
    logarithmic, and the panels of a column have the same names.
    Names that share what stands before their comma share a colour.   right : quantity -> name and value of a dashed line.
    """
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(9, 3.1 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flat
    families = list(dict.fromkeys(name.partition(",")[0] for curves in panels.values() for name in curves))
    for number, (axis, ((x_label, quantity), curves)) in enumerate(zip(axes, panels.items(), strict=False)):
        drawn = dict.fromkeys(families, 0)
        for name, (x, values_SX) in curves.items():
            family = name.partition(",")[0]
            colour = VERSIONS[1 + families.index(family) % (len(VERSIONS) - 1)]
            style = {"ls": ("-", "--", ":")[drawn[family] % 3], "marker": ("o", "s", "^")[drawn[family] % 3]}
            drawn[family] += 1
            axis.plot(x, values_SX.mean(axis=0), color=colour, label=name, lw=1.4, ms=4, **style)
            axis.fill_between(x, values_SX.min(axis=0), values_SX.max(axis=0), color=colour, alpha=0.15, lw=0)
        if right and quantity in right:
            label, value = right[quantity]
            axis.axhline(value, color="grey", lw=1.2, ls="--", label=label)
        for scale, along in ((axis.set_xscale, axis.xaxis), (axis.set_yscale, axis.yaxis)):
            scale("log")
            along.set_major_locator(LogLocator(subs=(1, 2, 5)))
            along.set_major_formatter("{x:g}")
            along.set_minor_formatter("")
        axis.set_xlabel(x_label)
        axis.set_ylabel(quantity)
        axis.grid(alpha=0.3, which="both")
        if number < columns:  # below, the names are the same
            axis.legend(fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), frameon=False)
    return figure


def paths_figure(
    paths: Mapping[str, tuple[Sequence[float], np.ndarray]],
    truth: tuple[np.ndarray, np.ndarray],
    *,
    step: str = "step t",
) -> Figure:
    """Ways of many samples from noise (left) to data (right), and where they end beside the density they should have.

    paths : name -> (T falling steps, (T, B) values).   truth : (values, density).
    """
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    axes = figure.subplots(
        1, 2 * len(paths), sharey=True, squeeze=False, gridspec_kw={"width_ratios": [4, 1] * len(paths)}
    )[0]
    for (way, end), (name, (steps_T, values_TB)) in zip(
        zip(axes[::2], axes[1::2], strict=True), paths.items(), strict=True
    ):
        way.plot(steps_T, values_TB[:, :40], lw=0.6, color=LEFT, alpha=0.5)
        way.set_xlim(max(steps_T), min(steps_T))
        way.set_xlabel(step)
        way.set_title(name, fontsize=10)
        end.hist(values_TB[-1], bins=60, density=True, orientation="horizontal", color=LEFT, alpha=0.5)
        end.plot(truth[1], truth[0], color=RIGHT, lw=1.4)
        end.set_xlabel("density")
    axes[0].set_ylabel("value")
    return figure


def pictures_figure(
    images: Sequence[np.ndarray], boxes: Sequence[np.ndarray], titles: Sequence[str], labels: Sequence[Sequence[str]]
) -> Figure:
    """Pictures with their object boxes.   images : (H, W, 3) uint8;   boxes : (O, 4) as x1, y1, x2, y2 in [0, 1]."""
    figure = Figure(
        figsize=(9, 8.2 / len(images) * images[0].shape[0] / images[0].shape[1] + 0.75), layout="constrained"
    )
    for axis, image_HW3, boxes_O4, title, names in zip(
        figure.subplots(1, len(images), squeeze=False)[0], images, boxes, titles, labels, strict=True
    ):
        axis.imshow(image_HW3, extent=(0, 1, 1, 0), aspect=image_HW3.shape[0] / image_HW3.shape[1])
        for index, (x1, y1, x2, y2) in enumerate(boxes_O4):
            axis.add_patch(_rectangle(x1, y1, x2, y2, VERSIONS[(index + 2) % len(VERSIONS)]))
            if index < len(names):
                label = {"facecolor": "black", "alpha": 0.6, "pad": 1.2, "lw": 0}
                axis.text(x1, y2 - 0.03, names[index], fontsize=7, color="white", bbox=label, clip_on=True)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("x")
    figure.axes[0].set_ylabel("y (down)")
    return figure


def crops_figure(crops_LO: Sequence[Sequence[np.ndarray | None]], titles: Sequence[Sequence[str]]) -> Figure:
    """Object crops as a table: a row for each object, a column for each picture.

    crops_LO : [L][O] of (H, W, 3) uint8, None where nothing is there.
    """
    pictures, objects = len(crops_LO), len(crops_LO[0])
    figure = Figure(figsize=(1.6 * pictures, 1.85 * objects), layout="constrained")
    axes = figure.subplots(objects, pictures, squeeze=False)
    for column in range(pictures):
        for row in range(objects):
            axis, crop_HW3 = axes[row, column], crops_LO[column][row]
            if crop_HW3 is None:
                axis.set_box_aspect(1)
                axis.set_facecolor("0.93")
            else:
                axis.imshow(crop_HW3)
            axis.set_title(titles[column][row], fontsize=9)
            axis.set_xticks([])
            axis.set_yticks([])
    return figure


def maps_figure(maps: Mapping[str, np.ndarray]) -> Figure:
    """Feature maps side by side, all their cells of one size, so that a map of half the cells is half as large.

    maps : name -> (M, F), each on a colour scale of its own.
    """
    widest = max(values_MF.shape[1] for values_MF in maps.values())
    widths = [max(values_MF.shape[1], 0.45 * widest) for values_MF in maps.values()]  # room for the names
    tallest = max(values_MF.shape[0] for values_MF in maps.values())
    figure = Figure(figsize=(9, 9 * tallest / sum(widths) + 0.9), layout="constrained")
    axes = figure.subplots(1, len(maps), squeeze=False, gridspec_kw={"width_ratios": widths})[0]
    for axis, width, (name, values_MF) in zip(axes, widths, maps.items(), strict=True):
        axis.imshow(values_MF, origin="lower", cmap=COLOURS)
        axis.set_title(f"{name}\n{values_MF.shape[0]} x {values_MF.shape[1]}", fontsize=8)
        axis.set_anchor("S")
        beside = (width - values_MF.shape[1]) / 2
        axis.set_xlim(-0.5 - beside, values_MF.shape[1] - 0.5 + beside)
        axis.spines[:].set_visible(False)
        axis.set_xticks([])
        axis.set_yticks([])
    axes[0].set_xlabel("frames")
    axes[0].set_ylabel("bands")
    return figure


def influence_figure(
    influences: Mapping[str, np.ndarray], cell: tuple[int, int], reach: tuple[tuple[int, int], tuple[int, int]]
) -> Figure:
    """How much each input cell moves one output cell, on one colour scale, and how far convolutions alone would reach.

    influences : name -> (M, F), 0 or more.   cell : band and frame of the output cell.   reach : first and last band,
    first and last frame.
    """
    top = max(values_MF.max() for values_MF in influences.values())
    (low_band, high_band), (first, last) = reach
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.subplots(1, len(influences), sharey=True, squeeze=False)[0]
    for axis, (name, values_MF) in zip(axes, influences.items(), strict=True):
        level_MF = 20 * np.log10(np.maximum(values_MF / top, 1e-6))
        image = axis.imshow(level_MF, origin="lower", aspect="auto", cmap=COLOURS, vmin=-RANGE_DB, vmax=0)
        axis.add_patch(_rectangle(first - 0.5, low_band - 0.5, last + 0.5, high_band + 0.5, "white"))
        axis.plot(cell[1], cell[0], marker="+", color="white", ms=8)
        axis.set_xlim(-0.5, level_MF.shape[1] - 0.5)
        axis.set_ylim(-0.5, level_MF.shape[0] - 0.5)
        axis.set_title(name, fontsize=10)
        axis.set_xlabel("mel frame")
    axes[0].set_ylabel("mel band")
    figure.colorbar(image, ax=axes, label="influence (dB re the largest)", pad=0.01)
    return figure


def _mel_panel(axis: Axes, level_MF: np.ndarray, mel: MelConfig, top_db: float):
    """One log-mel in dB, its bands labelled in kHz."""
    bands, frames = level_MF.shape
    image = axis.imshow(
        level_MF,
        origin="lower",
        aspect="auto",
        extent=(0, frames * mel.hop_samples / mel.sample_rate_hz, -0.5, bands - 0.5),
        cmap=COLOURS,
        vmin=top_db - RANGE_DB,
        vmax=top_db,
    )
    hz = np.array([500, 1000, 2000, 4000, 8000])
    hz = hz[(hz > mel.f_min_hz) & (hz < (mel.f_max_hz or mel.sample_rate_hz / 2))]
    axis.set_yticks(np.interp(hz, mel_centres_hz(mel), np.arange(bands)), [f"{value / 1000:g}" for value in hz])
    return image


def mel_centres_hz(mel: MelConfig) -> np.ndarray:
    """Centre of gravity of every mel filter, Hz.   Returns (M,)."""
    filters_MK = _array(mel_filters(mel)).astype(float)
    hz_K = np.arange(filters_MK.shape[1]) * mel.sample_rate_hz / mel.n_fft
    return filters_MK @ hz_K / filters_MK.sum(axis=1)


def _frame_times_s(frames: int, mel: MelConfig) -> np.ndarray:
    return (np.arange(frames) + 0.5) * mel.hop_samples / mel.sample_rate_hz


def _about_zero(axis: Axes, label: str, *, at_least: float) -> None:
    """A scale with zero in the middle, so that left and right look alike."""
    drawn = [abs(value) for line in axis.lines for value in line.get_ydata() if np.isfinite(value)]
    reach = 1.25 * max([at_least, *drawn])
    axis.set_ylim(-reach, reach)
    axis.axhline(0.0, color="grey", lw=0.8)
    axis.set_ylabel(label, fontsize=9)
    axis.grid(alpha=0.3)


def _layered(index: int, curves: int) -> dict[str, str | float]:
    """Colour and width of one of several curves: the first is the widest, so that none hides another."""
    return {"color": VERSIONS[index % len(VERSIONS)], "lw": 1.3 + 1.1 * (curves - 1 - index)}


def _legend_above(axis: Axes) -> None:
    """A legend over the panel, where it covers no curve."""
    axis.legend(fontsize=8, ncols=4, loc="lower right", bbox_to_anchor=(1.0, 1.0), frameon=False, borderaxespad=0.1)


def _rectangle(x1: float, y1: float, x2: float, y2: float, colour: str):
    from matplotlib.patches import Rectangle

    return Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=colour, lw=1.5)


def _array(values) -> np.ndarray:
    """Numpy, from numpy or from a torch tensor on any device."""
    return values.detach().cpu().numpy() if hasattr(values, "detach") else np.asarray(values)
