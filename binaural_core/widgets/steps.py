"""The steps of one sample under a slider: what it is at each, and the data that is expected from it.

All steps lie in the figure as plain data for plotly's notebook renderer, and the slider chooses which are shown: no
kernel and no widget state are needed. Beside it stands a PNG with some of the steps, for readers without scripts.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from binaural_core.audio import MelConfig, from_unit
from binaural_core.errors import need
from binaural_core.figures import DB_PER_NEPER, EARS, mel_centres_hz
from binaural_core.shapes import check
from binaural_core.widgets.plotly_view import PlotlyView
from binaural_core.widgets.spectrograms import GREY, MAP, MAP_STOPS

ROWS = ("the sample", "what it expects")
RANGE_DB = (-90, 10)  # noise fills it, sound lies within it
TICKS_KHZ = (0.5, 1, 2, 4, 8)
SHOWN = 6  # steps in the PNG
SETTLED_DB = 3.0
PANEL_PX, GAP_PX = 150, 45


def step_slider(seen: Sequence[tuple[str, Tensor, Tensor]], mel: MelConfig | None = None) -> "Steps":
    """A slider over the steps of one sample.

    seen : (label, x_EMF, x_0_EMF) of each step in unit scale, as a sampler's ``watch`` sees them.
    Raises InputError when there is no step, or a mel has another shape.
    """
    need(len(seen) > 0, "there is no step to show", why="nothing was watched", fix="collect steps in a sampler's watch")
    levels = []
    for label, *mels in seen:
        for name, mel_EMF in zip(ROWS, mels, strict=True):
            check(mel_EMF, "2 M F", f"{name} at {label}")
        level_REMF = np.stack([DB_PER_NEPER * np.asarray(from_unit(mel_EMF)) for mel_EMF in mels])
        levels.append(np.clip(np.rint(level_REMF), *RANGE_DB).astype(np.int8))
    return Steps([label for label, *_ in seen], levels, mel or MelConfig())


@dataclass(frozen=True, eq=False)
class Steps(PlotlyView):
    """levels_db : for each label (2, E, M, F) int8, dB re 1: the sample and what it expects."""

    labels: list[str]
    levels_db: list[np.ndarray]
    mel: MelConfig

    @property
    def duration_s(self) -> float:
        return self.levels_db[0].shape[-1] * self.mel.hop_samples / self.mel.sample_rate_hz

    @property
    def ticks(self) -> list[float]:
        """The mel bands whose centres lie at `TICKS_KHZ`."""
        centres_hz = mel_centres_hz(self.mel)
        return [float(np.interp(1000 * khz, centres_hz, np.arange(len(centres_hz)))) for khz in TICKS_KHZ]

    @property
    def settled(self) -> str:
        """The step from which on all expectations lie within `SETTLED_DB` (RMS) of the last one."""
        expected = [level_REMF[1].astype(float) for level_REMF in self.levels_db]
        away = [np.sqrt(np.mean((level_EMF - expected[-1]) ** 2)) > SETTLED_DB for level_EMF in expected]
        return self.labels[max((n + 1 for n, far in enumerate(away) if far), default=0)]

    def description(self) -> str:
        """What the pictures show, and their finding, for those who cannot see them."""
        return (
            f"Mels of both ears of a sample and of the data expected from it, at {len(self.labels)} steps from "
            f"{self.labels[0]} to {self.labels[-1]}. From step {self.settled} on the expectation changes by less than "
            f"{SETTLED_DB:g} dB, while the sample is still losing its noise."
        )

    def plotly_figure(self) -> dict:
        """The figure as plotly's JSON: four panels for each step, those of one step visible."""
        traces, layout = [], self._layout()
        for number, level_REMF in enumerate(self.levels_db):
            for row in range(2):
                for ear in range(2):
                    traces.append(self._heatmap(level_REMF[row, ear], 2 * row + ear, visible=number == 0))
        layout["sliders"] = [
            {
                "active": 0,
                "pad": {"t": 45},
                "currentvalue": {"prefix": "step "},
                "steps": [
                    {
                        "label": label,
                        "method": "restyle",
                        "args": ["visible", [n == s for s in self._steps_of_traces()]],
                    }
                    for n, label in enumerate(self.labels)
                ],
            }
        ]
        return {"data": traces, "layout": layout}

    def _steps_of_traces(self) -> list[int]:
        return [number for number in range(len(self.labels)) for _ in range(4)]

    def _layout(self) -> dict:
        height_px = 2 * PANEL_PX + GAP_PX
        layout = {
            "height": height_px + 170,
            "margin": {"l": 55, "r": 10, "t": 30, "b": 50},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"color": GREY, "size": 12},
            "coloraxis": {
                "cmin": RANGE_DB[0],
                "cmax": RANGE_DB[1],
                "colorscale": MAP_STOPS,
                "colorbar": {"title": {"text": "dB re 1", "side": "right"}, "thickness": 14, "len": 1, "ypad": 0},
            },
            "annotations": [],
        }
        for panel in range(4):
            row, ear = divmod(panel, 2)
            axis = str(panel + 1) if panel else ""
            top = 1 - row * (PANEL_PX + GAP_PX) / height_px
            layout[f"xaxis{axis}"] = {
                "domain": [0.52 * ear, 0.48 + 0.52 * ear],
                "anchor": f"y{axis}",
                "title": {"text": "time (s)" if row else ""},
                "showgrid": False,
                "zeroline": False,
            }
            layout[f"yaxis{axis}"] = {
                "domain": [max(top - PANEL_PX / height_px, 0), top],
                "anchor": f"x{axis}",
                "title": {"text": "" if ear else "frequency (kHz)"},
                "tickvals": self.ticks,
                "ticktext": [f"{khz:g}" for khz in TICKS_KHZ],
                "showgrid": False,
                "zeroline": False,
            }
            place = {
                "xref": "paper",
                "yref": "paper",
                "x": 0.52 * ear,
                "y": top,
                "xanchor": "left",
                "yanchor": "bottom",
            }
            layout["annotations"].append({"text": f"{ROWS[row]}, {EARS[ear]} ear", "showarrow": False, **place})
        return layout

    def _heatmap(self, level_MF: np.ndarray, panel: int, *, visible: bool) -> dict:
        bands, frames = level_MF.shape
        axis = str(panel + 1) if panel else ""
        packed = base64.b64encode(np.ascontiguousarray(level_MF).tobytes()).decode()
        hop_s = self.duration_s / frames
        return {
            "type": "heatmap",
            "z": {"dtype": "i1", "bdata": packed, "shape": f"{bands}, {frames}"},
            "x0": hop_s / 2,
            "dx": hop_s,
            "xaxis": f"x{axis}",
            "yaxis": f"y{axis}",
            "coloraxis": "coloraxis",
            "visible": visible,
            "hovertemplate": "%{x:.2f} s, band %{y}, %{z} dB<extra></extra>",
        }

    def png(self) -> bytes:
        """`SHOWN` of the steps side by side, the first and the last among them."""
        chosen = sorted({round(place) for place in np.linspace(0, len(self.labels) - 1, SHOWN)})
        bands, frames = self.levels_db[0].shape[-2:]
        gap = np.full((2, 2, bands, frames // 16), np.nan)
        side_by_side = [part for number in chosen for part in (self.levels_db[number], gap)][:-1]
        level_REMF = np.concatenate(side_by_side, axis=-1)
        middles = [frames / 2 + index * (frames + gap.shape[-1]) for index in range(len(chosen))]
        figure = Figure(figsize=(9, 5.6), dpi=88, layout="constrained")
        axes = figure.subplots(4, 1, sharex=True)
        for line, axis in enumerate(axes):
            row, ear = divmod(line, 2)
            level_MF = level_REMF[row, ear]
            image = axis.imshow(
                level_MF,
                origin="lower",
                aspect="auto",
                extent=(0, level_MF.shape[1], -0.5, bands - 0.5),
                cmap=MAP,
                vmin=RANGE_DB[0],
                vmax=RANGE_DB[1],
            )
            axis.set_yticks(self.ticks, [f"{khz:g}" for khz in TICKS_KHZ], fontsize=7)
            axis.set_ylabel(f"{ROWS[row]},\n{EARS[ear]} (kHz)", fontsize=8)
        axes[0].set_xticks(middles, [f"step {self.labels[number]}" for number in chosen])
        axes[-1].set_xlabel(f"time: each panel lasts {self.duration_s:.2f} s")
        figure.colorbar(image, ax=axes, label="level (dB re 1)", pad=0.01)
        return self.saved(figure)
