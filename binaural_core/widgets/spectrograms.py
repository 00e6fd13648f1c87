"""Both ears of every version on one colour scale: as a plotly figure to zoom into, and as a PNG that shows everywhere.

The figure is plain data for plotly's notebook renderer (no JavaScript travels in the notebook) with levels rounded to
1 dB, one byte each. Both pictures use the same map, magma: perceptually uniform, and readable without colour.
"""

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

import matplotlib
import numpy as np
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from binaural_core.audio.listening import FLOOR_DB, spectrogram_db

PLOTLY_MIME = "application/vnd.plotly.v1+json"
EARS = ("left ear", "right ear")
RANGE_DB = 80
COLUMNS = 3
MAX_FRAMES = 240
MAP = matplotlib.colormaps["magma"]
MAP_STOPS = [[stop, to_hex(MAP(stop))] for stop in np.linspace(0, 1, 17)]
GREY = "#767676"  # reads on white and on black; player.js replaces it by the page's own colour


@dataclass(frozen=True, eq=False)
class Panels:
    """levels_db : version -> (E, K, F) int8, dB re full scale; frequencies_khz (K,), times_s (F,)."""

    levels_db: dict[str, np.ndarray]
    frequencies_khz: np.ndarray
    times_s: np.ndarray
    duration_s: float

    @property
    def range_db(self) -> tuple[int, int]:
        """The ends of the one colour scale: the loudest level of all panels, and `RANGE_DB` below it."""
        loudest = max(int(level.max()) for level in self.levels_db.values())
        return loudest - RANGE_DB, loudest

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns: a column per version, left ear above right; further versions start new rows."""
        count = len(self.levels_db)
        return 2 * -(-count // COLUMNS), min(count, COLUMNS)

    def description(self) -> str:
        """What the picture shows, for those who cannot see it."""
        low, high = self.range_db
        return (
            f"Spectrograms of the left and the right ear of {', '.join(self.levels_db)}: {self.duration_s:.1f} s, "
            f"0 to {self.frequencies_khz[-1]:.1f} kHz, one colour scale from {low} to {high} dB re full scale."
        )

    def plotly_figure(self, player_id: str) -> dict:
        """The figure as plotly's JSON; ``layout.meta`` tells player.js whose it is and which version a panel shows."""
        rows, columns = self.grid
        step_s, step_khz = (
            float(axis[1] - axis[0]) if len(axis) > 1 else 1.0 for axis in (self.times_s, self.frequencies_khz)
        )
        traces, titles, panels = [], [], []
        low, high = self.range_db
        layout = {
            "height": 90 + 175 * rows,
            "margin": {"l": 60, "r": 10, "t": 30, "b": 50},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"color": GREY, "size": 12},
            "hovermode": "closest",
            "coloraxis": {
                "cmin": low,
                "cmax": high,
                "colorscale": MAP_STOPS,
                "colorbar": {"title": {"text": "dB re full scale", "side": "right"}, "thickness": 14},
            },
        }
        for index, ((version, name), ear) in enumerate(product(enumerate(self.levels_db), range(2))):
            row, column = 2 * (version // COLUMNS) + ear, version % COLUMNS
            axis = str(index + 1) if index else ""
            left, right = (column + 0.03 * (column > 0)) / columns, (column + 0.97) / columns
            bottom, top = (rows - row - 1) / rows, (rows - row - 0.2) / rows
            traces.append(
                {
                    "type": "heatmap",
                    "z": _packed(self.levels_db[name][ear]),
                    "x0": float(self.times_s[0]),
                    "dx": step_s,
                    "y0": 0.0,
                    "dy": step_khz,
                    "xaxis": f"x{axis}",
                    "yaxis": f"y{axis}",
                    "coloraxis": "coloraxis",
                    "hovertemplate": f"%{{x:.2f}} s, %{{y:.2f}} kHz, %{{z}} dB<extra>{name}, {EARS[ear]}</extra>",
                }
            )
            below = row == rows - 1 or (version + COLUMNS >= len(self.levels_db) and ear == 1)
            layout[f"xaxis{axis}"] = {
                "domain": [left, right],
                "anchor": f"y{axis}",
                "range": [0, self.duration_s],
                "matches": "x" if axis else None,
                "title": {"text": "time (s)" if below else ""},
                "showticklabels": below,
                "showgrid": False,
                "zeroline": False,
            }
            layout[f"yaxis{axis}"] = {
                "domain": [bottom, top],
                "anchor": f"x{axis}",
                "range": [0, float(self.frequencies_khz[-1])],
                "matches": "y" if axis else None,
                "title": {"text": "frequency (kHz)" if column == 0 else ""},
                "showticklabels": column == 0,
                "showgrid": False,
                "zeroline": False,
            }
            titles.append(
                {
                    "text": f"<b>{name}</b>, {EARS[ear]}",
                    "x": left,
                    "y": top,
                    "xref": "paper",
                    "yref": "paper",
                    "xanchor": "left",
                    "yanchor": "bottom",
                    "showarrow": False,
                }
            )
            panels.append({"version": version, "axis": axis})
        layout["annotations"] = titles
        layout["meta"] = {"player": player_id, "panels": panels, "alt": self.description()}
        return {"data": traces, "layout": layout, "config": {"responsive": True, "displaylogo": False}}

    def png(self) -> bytes:
        rows, columns = self.grid
        figure = Figure(figsize=(1.2 + 3.6 * columns, 0.5 + 1.75 * rows), dpi=80, layout="constrained")
        axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        low, high = self.range_db
        used = []
        for (version, name), ear in product(enumerate(self.levels_db), range(2)):
            panel = axes[2 * (version // COLUMNS) + ear, version % COLUMNS]
            extent = (0, self.duration_s, 0, self.frequencies_khz[-1])
            level_KF = self.levels_db[name][ear]
            image = panel.imshow(level_KF, origin="lower", aspect="auto", extent=extent, cmap=MAP, vmin=low, vmax=high)
            panel.set_title(f"{name}, {EARS[ear]}", fontsize=10, loc="left")
            used.append(panel)
        for panel in set(axes.flat) - set(used):
            panel.set_axis_off()
        for panel in axes[-1]:
            panel.set_xlabel("time (s)")
        for panel in axes[:, 0]:
            panel.set_ylabel("frequency (kHz)")
        figure.colorbar(image, ax=axes, label="dB re full scale")
        picture = io.BytesIO()
        figure.savefig(picture, format="png")
        return picture.getvalue()


def panels(versions: Mapping[str, np.ndarray], sample_rate_hz: int) -> Panels:
    """The spectrograms of every version's ears. versions : name -> (2, N)."""
    levels_db = {}
    for name, wave_EN in versions.items():
        level_EKF, frequencies_hz, times_s = spectrogram_db(wave_EN, sample_rate_hz, max_frames=MAX_FRAMES)
        levels_db[name] = np.clip(np.rint(level_EKF), FLOOR_DB, 127).astype(np.int8)
    samples = wave_EN.shape[1]
    return Panels(levels_db, frequencies_hz / 1000, times_s, samples / sample_rate_hz)


def _packed(level_KF: np.ndarray) -> dict[str, str]:
    """An int8 array as plotly reads it: base64 in place of a list of numbers."""
    rows, columns = level_KF.shape
    packed = base64.b64encode(np.ascontiguousarray(level_KF).tobytes()).decode()
    return {"dtype": "i1", "bdata": packed, "shape": f"{rows}, {columns}"}
