"""Both ears of every version on one colour scale: as a plotly figure to zoom into, and as a PNG that shows everywhere.

The figure is plain data for plotly's notebook renderer (no JavaScript travels in the notebook) with levels rounded to
1 dB, one byte each. Both pictures use the same map, magma: perceptually uniform, and readable without colour.
"""

import base64
import html
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

import matplotlib
import numpy as np
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from binaural_core.audio.interaural import ild_db
from binaural_core.audio.listening import FLOOR_DB, spectrogram_db

PLOTLY_MIME = "application/vnd.plotly.v1+json"
EARS = ("left ear", "right ear")
RANGE_DB = 80
MAX_COLUMNS = 3
PANEL_PX, GAP_PX, MARGINS_PX = 150, 40, 80
MAX_FRAMES = 240
MAP = matplotlib.colormaps["magma"]
MAP_STOPS = [[stop, to_hex(MAP(stop))] for stop in np.linspace(0, 1, 17)]
GREY = "#767676"  # reads on white and on black; player.js replaces it by the page's own colour


@dataclass(frozen=True, eq=False)
class Panels:
    """levels_db : version -> (E, K, F) int8, dB re full scale; frequencies_khz (K,), times_s (F,); ild_db : by version."""

    levels_db: dict[str, np.ndarray]
    frequencies_khz: np.ndarray
    times_s: np.ndarray
    duration_s: float
    ild_db: dict[str, float]

    @property
    def range_db(self) -> tuple[int, int]:
        """The ends of the one colour scale: the loudest level of all panels, and `RANGE_DB` below it."""
        loudest = max(int(level.max()) for level in self.levels_db.values())
        return loudest - RANGE_DB, loudest

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of panels: a column per version, left ear above right; many versions fill further rows."""
        blocks = math.ceil(len(self.levels_db) / MAX_COLUMNS)
        return 2 * blocks, math.ceil(len(self.levels_db) / blocks)

    def places(self) -> list[tuple[int, str, int, int, int]]:
        """(version, name, ear, row, column) of every panel."""
        columns = self.grid[1]
        ears = product(enumerate(self.levels_db), range(2))
        return [(v, name, ear, 2 * (v // columns) + ear, v % columns) for (v, name), ear in ears]

    def description(self) -> str:
        """What the picture shows, and its finding, for those who cannot see it."""
        low, high = self.range_db
        levels = ", ".join(f"{name} {level_db:+.1f} dB" for name, level_db in self.ild_db.items())
        return (
            f"Spectrograms of the left and the right ear, {self.duration_s:.1f} s, 0 to {self.frequencies_khz[-1]:.1f} kHz, "
            f"one colour scale from {low} to {high} dB re full scale. Level of the left ear above the right: {levels}."
        )

    def plotly_figure(self, player_id: str) -> dict:
        """The figure as plotly's JSON; ``layout.meta`` tells player.js whose it is and which version a panel shows."""
        rows, columns = self.grid
        low, high = self.range_db
        height_px = PANEL_PX * rows + GAP_PX * (rows - 1)
        layout = {
            "height": height_px + MARGINS_PX,
            "margin": {"l": 55, "r": 10, "t": 30, "b": 50},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"color": GREY, "size": 12},
            "hovermode": "closest",
            "hoverlabel": {"bgcolor": "#222222", "font": {"color": "#ffffff"}},
            "coloraxis": {
                "cmin": low,
                "cmax": high,
                "colorscale": MAP_STOPS,
                "colorbar": {
                    "title": {"text": "dB re full scale", "side": "right"},
                    "thickness": 14,
                    "len": 1,
                    "ypad": 0,
                },
            },
            "annotations": [],
            "meta": {"player": player_id, "panels": []},
        }
        traces = []
        for index, (version, name, ear, row, column) in enumerate(self.places()):
            axis = str(index + 1) if index else ""
            title = f"<b>{html.escape(name)}</b>, {EARS[ear]}"
            left, right = (column + 0.03 * (column > 0)) / columns, (column + 0.97) / columns
            top = 1 - row * (PANEL_PX + GAP_PX) / height_px
            bottom = max(top - PANEL_PX / height_px, 0)
            traces.append(self._heatmap(name, ear, axis, title))
            layout[f"xaxis{axis}"] = {
                "domain": [left, right],
                "anchor": f"y{axis}",
                "range": [0, self.duration_s],
                "title": {"text": "time (s)" if row == rows - 1 else ""},
                "showticklabels": ear == 1,
                "showgrid": False,
                "zeroline": False,
            }
            layout[f"yaxis{axis}"] = {
                "domain": [bottom, top],
                "anchor": f"x{axis}",
                "range": [0, float(self.frequencies_khz[-1])],
                "title": {"text": "frequency (kHz)" if column == 0 else ""},
                "showticklabels": column == 0,
                "showgrid": False,
                "zeroline": False,
            }
            if axis:  # zooming one panel zooms all
                layout[f"xaxis{axis}"]["matches"] = "x"
                layout[f"yaxis{axis}"]["matches"] = "y"
            corner = {"xref": "paper", "yref": "paper", "xanchor": "left", "yanchor": "bottom", "showarrow": False}
            layout["annotations"].append({"text": title, "x": left, "y": top, **corner})
            layout["meta"]["panels"].append({"version": version, "axis": axis})
        return {
            "data": traces,
            "layout": layout,
            "config": {"displaylogo": False, "modeBarButtons": [["zoom2d", "pan2d", "resetScale2d"]]},
        }

    def _heatmap(self, name: str, ear: int, axis: str, title: str) -> dict:
        return {
            "type": "heatmap",
            "z": _packed(self.levels_db[name][ear]),
            "x0": float(self.times_s[0]),
            "dx": _step(self.times_s),
            "y0": 0.0,
            "dy": _step(self.frequencies_khz),
            "xaxis": f"x{axis}",
            "yaxis": f"y{axis}",
            "coloraxis": "coloraxis",
            "hovertemplate": f"{title}<br>%{{x:.2f}} s, %{{y:.2f}} kHz, %{{z}} dB<extra></extra>",
        }

    def png(self) -> bytes:
        """The same picture as a PNG file of few colours, so that it stays small in a notebook."""
        rows, columns = self.grid
        height_px = PANEL_PX * rows + GAP_PX * (rows - 1) + MARGINS_PX  # as high as the figure: nothing jumps
        figure = Figure(figsize=(1.2 + 3.6 * columns, height_px / 80), dpi=80, layout="constrained")
        axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        low, high = self.range_db
        extent = (0, self.duration_s, 0, self.frequencies_khz[-1])
        for panel in axes[-2:, len(self.levels_db) - columns * (rows // 2 - 1) :].flat:
            panel.set_axis_off()
        for _, name, ear, row, column in self.places():
            panel, level_KF = axes[row, column], self.levels_db[name][ear]
            image = panel.imshow(level_KF, origin="lower", aspect="auto", extent=extent, cmap=MAP, vmin=low, vmax=high)
            panel.set_title(f"{name}, {EARS[ear]}", fontsize=10, loc="left", parse_math=False)
            panel.set_xlabel("time (s)" if row == rows - 1 else "")
            panel.set_ylabel("frequency (kHz)" if column == 0 else "")
        figure.colorbar(image, ax=axes, label="dB re full scale")
        full, small = io.BytesIO(), io.BytesIO()
        figure.savefig(full, format="png")
        shades = np.concatenate([MAP(np.linspace(0, 1, 240))[:, :3], np.linspace(0, 1, 16)[:, None].repeat(3, 1)])
        palette = Image.new("P", (1, 1))
        palette.putpalette(np.rint(255 * shades).astype(np.uint8).tobytes())
        indexed = Image.open(full).convert("RGB").quantize(palette=palette, dither=Image.Dither.NONE)
        indexed.save(small, format="png", optimize=True)
        return small.getvalue()


def panels(versions: Mapping[str, np.ndarray], sample_rate_hz: int) -> Panels:
    """The spectrograms of every version's ears. versions : name -> (2, N)."""
    levels_db = {}
    for name, wave_EN in versions.items():
        level_EKF, frequencies_hz, times_s = spectrogram_db(wave_EN, sample_rate_hz, max_frames=MAX_FRAMES)
        levels_db[name] = np.clip(np.rint(level_EKF), FLOOR_DB, 127).astype(np.int8)
    samples = wave_EN.shape[1]
    differences_db = {name: ild_db(wave_EN, sample_rate_hz) for name, wave_EN in versions.items()}
    return Panels(levels_db, frequencies_hz / 1000, times_s, samples / sample_rate_hz, differences_db)


def _step(axis: np.ndarray) -> float:
    return float(axis[1] - axis[0]) if len(axis) > 1 else 1.0


def _packed(level_KF: np.ndarray) -> dict[str, str]:
    """An int8 array as plotly reads it: base64 in place of a list of numbers."""
    rows, columns = level_KF.shape
    packed = base64.b64encode(np.ascontiguousarray(level_KF).tobytes()).decode()
    return {"dtype": "i1", "bdata": packed, "shape": f"{rows}, {columns}"}
