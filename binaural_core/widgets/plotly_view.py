"""What sliders share: a plotly figure for whoever can show one, a picture for everybody else, and words for both.

A figure is stored as data, without plotly's own script; where it cannot run the picture stands in its place.
"""

import base64
import io
from abc import ABC, abstractmethod

from matplotlib.figure import Figure

from binaural_core.widgets.spectrograms import PLOTLY_MIME


class PlotlyView(ABC):
    """Shown in a notebook; a subclass says what."""

    @abstractmethod
    def plotly_figure(self) -> dict:
        """The figure as plotly's data."""

    @abstractmethod
    def png(self) -> bytes:
        """The picture that stands in for it."""

    @abstractmethod
    def description(self) -> str:
        """What is to be seen, in words."""

    def saved(self, figure: Figure) -> bytes:
        """A matplotlib figure as PNG with the description in it; the same figure gives the same bytes."""
        file = io.BytesIO()
        figure.savefig(file, format="png", metadata={"Software": None, "Description": self.description()})
        return file.getvalue()

    def _ipython_display_(self) -> None:
        from IPython.display import display

        picture = {
            PLOTLY_MIME: self.plotly_figure(),
            "image/png": base64.b64encode(self.png()).decode(),
            "text/plain": self.description(),
        }
        display(picture, metadata={"image/png": {"alt": self.description()}}, raw=True)
