"""Scheduled sampling under a slider: what share of the mels is predicted in an epoch, and a batch drawn with it.

All epochs lie in the figure as plain data for plotly's notebook renderer; the slider chooses which is shown, so no kernel
and no widget state are needed. Beside it stands a PNG with some of the epochs, for readers without scripts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from binaural_core.errors import need
from binaural_core.figures import VERSIONS
from binaural_core.shapes import check
from binaural_core.widgets.plotly_view import PlotlyView
from binaural_core.widgets.spectrograms import GREY

COLOURS = VERSIONS[1:3]
TRUE = "#bbbbbb"
SHOWN = 5  # epochs in the PNG


def schedule_slider(
    epochs: Sequence[int], shares: Mapping[str, Sequence[float]], drawn_EB: np.ndarray
) -> "ScheduleSlider":
    """A slider over epochs.

    shares : one or two schedules by name, the share of predicted mels in every epoch.   drawn_EB : numbers in [0, 1) of the
    B clips of a batch in every epoch; a clip hears the prediction where its number is below the share.
    Raises InputError when there is no epoch, or lengths differ.
    """
    need(len(epochs) > 0, "there is no epoch to show", why="the slider would be empty", fix="give one epoch or more")
    need(
        0 < len(shares) <= len(COLOURS),
        f"{len(shares)} schedules",
        why=f"there is room for 1 to {len(COLOURS)}",
        fix="choose among them",
    )
    for name, values in shares.items():
        check(np.asarray(values), f"{len(epochs)}", f"the shares of {name}")
    check(drawn_EB, f"{len(epochs)} B", "the drawn numbers")
    return ScheduleSlider(list(epochs), {n: np.asarray(v, float) for n, v in shares.items()}, np.asarray(drawn_EB))


@dataclass(frozen=True, eq=False)
class ScheduleSlider(PlotlyView):
    epochs: list[int]
    shares: dict[str, np.ndarray]
    drawn_EB: np.ndarray

    def predicted(self, name: str, number: int) -> np.ndarray:
        """Which clips of the batch of epoch ``number`` (its place in the list) hear a prediction: (B,) bool."""
        return self.drawn_EB[number] < self.shares[name][number]

    def description(self) -> str:
        """What the pictures show, for those who cannot see them."""
        ends = "; ".join(f"{name}: {100 * v[0]:.0f} % to {100 * v[-1]:.0f} %" for name, v in self.shares.items())
        return (
            f"The share of predicted mels from epoch {self.epochs[0]} to {self.epochs[-1]} ({ends}), and a batch of "
            f"{self.drawn_EB.shape[1]} clips drawn with it: more and more of them hear a prediction."
        )

    def plotly_figure(self) -> dict:
        """The figure as plotly's JSON: the curves, and for each epoch a mark on every curve and its batch."""
        curves = [
            {
                "type": "scatter",
                "mode": "lines",
                "x": self.epochs,
                "y": [round(100 * float(share), 2) for share in shares],
                "name": name,
                "line": {"color": colour},
            }
            for (name, shares), colour in zip(self.shares.items(), COLOURS, strict=False)
        ]
        of_epochs = [
            [trace for row, name in enumerate(self.shares) for trace in self._at(row, name, number)]
            for number in range(len(self.epochs))
        ]
        steps = []
        for number, epoch in enumerate(self.epochs):
            visible = [True] * len(curves)
            visible += [n == number for n, traces in enumerate(of_epochs) for _ in traces]
            steps.append({"label": str(epoch), "method": "restyle", "args": ["visible", visible]})
        traces = curves + [trace for traces in of_epochs for trace in traces]
        for trace, visible in zip(traces, steps[0]["args"][1], strict=True):
            trace["visible"] = visible
        return {"data": traces, "layout": self._layout(steps)}

    def _at(self, row: int, name: str, number: int) -> list[dict]:
        predicted_B, colour = self.predicted(name, number), COLOURS[row]
        mark = {
            "type": "scatter",
            "mode": "markers",
            "x": [self.epochs[number]],
            "y": [round(100 * float(self.shares[name][number]), 2)],
            "marker": {"color": colour, "size": 11},
            "showlegend": False,
            "hoverinfo": "skip",
        }
        columns, rows = self._places(len(predicted_B))
        batch = {
            "type": "scatter",
            "mode": "markers",
            "x": columns.tolist(),
            "y": (rows - row * (rows.max() + 2)).tolist(),
            "text": ["predicted" if heard else "true" for heard in predicted_B],
            "hovertemplate": "%{text}<extra></extra>",
            "marker": {
                "symbol": "square",
                "size": 15,
                "color": [colour if heard else TRUE for heard in predicted_B],
            },
            "xaxis": "x2",
            "yaxis": "y2",
            "showlegend": False,
        }
        return [mark, batch]

    @staticmethod
    def _places(count: int) -> tuple[np.ndarray, np.ndarray]:
        """Column and row of each clip of a batch, eight to a row."""
        return np.arange(count) % 8, np.arange(count) // 8

    def _layout(self, steps: list[dict]) -> dict:
        rows = self._places(self.drawn_EB.shape[1])[1].max() + 2
        hidden = {"showgrid": False, "zeroline": False, "showticklabels": False, "ticks": ""}
        return {
            "height": 400,
            "margin": {"l": 55, "r": 10, "t": 40, "b": 50},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"color": GREY, "size": 12},
            "legend": {"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom"},
            "xaxis": {"domain": [0, 0.58], "title": {"text": "epoch"}},
            "yaxis": {"range": [-3, 103], "title": {"text": "predicted mels (%)"}},
            "xaxis2": {
                "domain": [0.66, 1],
                "anchor": "y2",
                "range": [-0.7, 7.7],
                "title": {"text": "a batch: coloured clips hear a prediction"},
                **hidden,
            },
            "yaxis2": {"anchor": "x2", "range": [-rows * (len(self.shares) - 1) - 0.7, rows - 1.3], **hidden},
            "sliders": [{"active": 0, "pad": {"t": 50}, "currentvalue": {"prefix": "epoch "}, "steps": steps}],
        }

    def png(self) -> bytes:
        """The curves, and the batches of `SHOWN` of the epochs, the first and the last among them."""
        chosen = sorted({round(at) for at in np.linspace(0, len(self.epochs) - 1, SHOWN)})
        figure = Figure(figsize=(9, 1.2 + 0.9 * len(self.shares)), dpi=88, layout="constrained")
        grid = figure.add_gridspec(len(self.shares), 2 + len(chosen), width_ratios=[5, 0.2] + [1.6] * len(chosen))
        axis = figure.add_subplot(grid[:, 0])
        columns, rows = self._places(self.drawn_EB.shape[1])
        for row, ((name, shares), colour) in enumerate(zip(self.shares.items(), COLOURS, strict=False)):
            axis.plot(self.epochs, 100 * shares, color=colour, label=name, lw=1.4)
            axis.plot(np.array(self.epochs)[chosen], 100 * shares[chosen], color=colour, marker="o", ls="", ms=4)
            for column, number in enumerate(chosen):
                batch = figure.add_subplot(grid[row, 2 + column])
                colours = [colour if heard else TRUE for heard in self.predicted(name, number)]
                batch.scatter(columns, -rows, c=colours, marker="s", s=22)
                batch.set_xlim(-1, 8)
                batch.set_ylim(-rows.max() - 1, 1)
                batch.set_aspect("equal")
                batch.set_axis_off()
                if row == 0:
                    batch.set_title(f"epoch {self.epochs[number]}", fontsize=8)
        axis.set_xlabel("epoch")
        axis.set_ylabel("predicted mels (%)")
        axis.set_ylim(-3, 103)
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8, ncols=2, loc="lower left", bbox_to_anchor=(0, 1), frameon=False)
        figure.supxlabel("each square a clip of a batch: coloured ones hear a prediction", fontsize=8, x=0.7)
        return self.saved(figure)
