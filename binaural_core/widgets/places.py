"""A source at several places under a slider: what the picture shows, and what each ear gets of every mel band.

Everything lies in the figure as plain data for plotly's notebook renderer; the slider chooses what is visible, so no
kernel and no widget state are needed. Beside it stands a PNG with some of the places, for readers without scripts.

Conventions: gains in dB over the mono; row 0 the left ear.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from PIL import Image

from binaural_core.audio import MelConfig
from binaural_core.errors import need
from binaural_core.figures import EARS, LEFT, RIGHT, mel_centres_hz
from binaural_core.shapes import check
from binaural_core.widgets.plotly_view import PlotlyView
from binaural_core.widgets.spectrograms import GREY

COLOURS = (LEFT, RIGHT)
TICKS_HZ = (125, 250, 500, 1000, 2000, 4000, 8000)
SHOWN = 5  # places in the PNG
QUALITY = 80  # of the pictures' JPEG


@dataclass(frozen=True, eq=False)
class Place:
    """A picture of a source at one place, and the gains that were predicted there beside those that are right."""

    label: str
    image_HW3: np.ndarray  # uint8 RGB
    predicted_db_EM: np.ndarray
    true_db_EM: np.ndarray


def ear_gains_db(mel_EMF: ArrayLike, mono_MF: ArrayLike) -> np.ndarray:
    """What each ear has more than the mono in every band, over all frames, dB: (E, M) from natural-log mels."""
    energy_EM, mono_M = (np.exp(2 * np.asarray(mel, float)).sum(axis=-1) for mel in (mel_EMF, mono_MF))
    return 10 * np.log10(energy_EM / mono_M)


def place_slider(places: Sequence[Place], mel: MelConfig | None = None) -> "Slider":
    """A slider over places. Raises InputError when there is none, or gains have another shape than (2, bands)."""
    mel = mel or MelConfig()
    need(len(places) > 0, "there is no place to show", why="the slider would be empty", fix="give one place or more")
    for place in places:
        for name in ("predicted_db_EM", "true_db_EM"):
            check(getattr(place, name), f"2 {mel.n_mels}", f"{name} at {place.label}")
        check(place.image_HW3, "H W 3", f"the picture at {place.label}")
    return Slider(list(places), mel)


@dataclass(frozen=True, eq=False)
class Slider(PlotlyView):
    places: list[Place]
    mel: MelConfig

    @property
    def range_db(self) -> tuple[float, float]:
        """One scale for all places, in steps of 5 dB."""
        values = np.concatenate([gains for p in self.places for gains in (p.predicted_db_EM, p.true_db_EM)])
        return float(5 * np.floor(values.min() / 5)), float(5 * np.ceil(values.max() / 5))

    def description(self) -> str:
        """What the pictures show, for those who cannot see them."""
        return (
            f"One source at {len(self.places)} places, from {self.places[0].label} to {self.places[-1].label}. As it "
            f"crosses the picture the two ears' gains change places. Solid: what was predicted; dotted: what is right."
        )

    def plotly_figure(self) -> dict:
        """The figure as plotly's JSON: a picture and four curves for each place, those of one place visible."""
        hz_M = [round(float(hz)) for hz in mel_centres_hz(self.mel)]
        traces, steps = [], []
        for number, place in enumerate(self.places):
            traces.append(_picture(place.image_HW3))
            for kind, gains_EM in (("predicted", place.predicted_db_EM), ("right", place.true_db_EM)):
                traces += [self._curve(hz_M, gains_EM[ear], ear, kind) for ear in (0, 1)]
            visible = [other == number for other in range(len(self.places)) for _ in range(5)]
            steps.append({"label": place.label, "method": "restyle", "args": ["visible", visible]})
        for trace, visible in zip(traces, steps[0]["args"][1], strict=True):
            trace["visible"] = visible
        return {"data": traces, "layout": self._layout(steps)}

    def _curve(self, hz_M: list[int], gain_db_M: np.ndarray, ear: int, kind: str) -> dict:
        return {
            "type": "scatter",
            "mode": "lines",
            "x": hz_M,
            "y": [round(float(gain_db), 2) for gain_db in gain_db_M],
            "name": f"{EARS[ear]} ear, {kind}",
            "line": {"color": COLOURS[ear], "dash": "solid" if kind == "predicted" else "dot"},
            "xaxis": "x2",
            "yaxis": "y2",
        }

    def _layout(self, steps: list[dict]) -> dict:
        height, width = self.places[0].image_HW3.shape[:2]
        hidden = {"showgrid": False, "zeroline": False, "showticklabels": False, "ticks": ""}
        return {
            "height": 430,
            "margin": {"l": 10, "r": 10, "t": 40, "b": 50},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"color": GREY, "size": 12},
            "legend": {"orientation": "h", "x": 0.56, "y": 1.0, "yanchor": "bottom"},
            "xaxis": {"domain": [0, 0.48], "range": [0, width], "constrain": "domain", **hidden},
            "yaxis": {"range": [height, 0], "scaleanchor": "x", "constrain": "domain", **hidden},
            "xaxis2": {
                "domain": [0.56, 1],
                "anchor": "y2",
                "type": "log",
                "title": {"text": "frequency (Hz)"},
                "tickvals": list(TICKS_HZ),
                "ticktext": [f"{hz:,}" for hz in TICKS_HZ],
            },
            "yaxis2": {"anchor": "x2", "range": list(self.range_db), "title": {"text": "gain over the mono (dB)"}},
            "sliders": [{"active": 0, "pad": {"t": 55}, "currentvalue": {"prefix": "azimuth "}, "steps": steps}],
        }

    def png(self) -> bytes:
        """`SHOWN` of the places side by side, the first and the last among them."""
        chosen = sorted({round(at) for at in np.linspace(0, len(self.places) - 1, SHOWN)})
        hz_M = mel_centres_hz(self.mel)
        figure = Figure(figsize=(9, 3.4), dpi=88, layout="constrained")
        axes = figure.subplots(2, len(chosen), squeeze=False, gridspec_kw={"height_ratios": [1, 2]})
        for picture, curves, number in zip(*axes, chosen, strict=True):
            place = self.places[number]
            picture.imshow(place.image_HW3)
            picture.set_title(place.label, fontsize=9)
            picture.set_xticks([])
            picture.set_yticks([])
            for ear, colour in enumerate(COLOURS):
                curves.plot(hz_M, place.predicted_db_EM[ear], color=colour, label=f"{EARS[ear]} ear, predicted")
                curves.plot(hz_M, place.true_db_EM[ear], color=colour, ls=":", label=f"{EARS[ear]} ear, right")
            curves.set_xscale("log")
            curves.set_xlim(hz_M[0], hz_M[-1])
            curves.set_ylim(*self.range_db)
            curves.set_xticks([250, 1000, 4000], ["0.25", "1", "4"], fontsize=7)
            curves.minorticks_off()
            curves.tick_params(labelleft=number == chosen[0], labelsize=7)
            curves.grid(alpha=0.3)
            curves.set_xlabel("frequency (kHz)", fontsize=8)
        axes[1, 0].set_ylabel("gain over the mono (dB)", fontsize=8)
        figure.legend(*axes[1, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
        return self.saved(figure)


def _picture(image_HW3: np.ndarray) -> dict:
    file = io.BytesIO()
    Image.fromarray(image_HW3).save(file, format="JPEG", quality=QUALITY)
    source = "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
    return {"type": "image", "source": source, "xaxis": "x", "yaxis": "y", "hoverinfo": "skip"}
