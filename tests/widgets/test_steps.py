"""The slider over a sample's steps: every step is in the figure, one is shown, and a picture stands beside it."""

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from binaural_core.audio import from_unit, to_unit
from binaural_core.errors import InputError
from binaural_core.figures import DB_PER_NEPER
from binaural_core.seeds import stream
from binaural_core.widgets.spectrograms import PLOTLY_MIME
from binaural_core.widgets.steps import RANGE_DB, step_slider


@pytest.fixture
def seen():
    mels = torch.randn(3, 2, 2, 80, 40, generator=stream(0, "steps")) * 0.2
    return [(label, *pair) for label, pair in zip(("999", "499", "19"), mels, strict=True)]


def levels(trace: dict) -> np.ndarray:
    shape = [int(size) for size in trace["z"]["shape"].split(",")]
    return np.frombuffer(base64.b64decode(trace["z"]["bdata"]), np.int8).reshape(shape)


def test_the_slider_shows_the_four_panels_of_its_step(seen):
    figure = step_slider(seen).plotly_figure()
    assert [trace["visible"] for trace in figure["data"]] == [True] * 4 + [False] * 8
    slider = figure["layout"]["sliders"][0]["steps"]
    assert [step["label"] for step in slider] == ["999", "499", "19"]
    for number, step in enumerate(slider):
        shown = [trace for trace, visible in zip(figure["data"], step["args"][1], strict=True) if visible]
        assert [trace["yaxis"] for trace in shown] == ["y", "y2", "y3", "y4"]
        for trace, mel_MF in zip(shown, torch.cat(seen[number][1:]), strict=True):
            level_MF = (DB_PER_NEPER * from_unit(mel_MF)).clip(*RANGE_DB).numpy()
            assert np.abs(levels(trace) - level_MF).max() <= 0.51


def test_plotly_accepts_the_figure(seen):
    objects = pytest.importorskip("plotly.graph_objects", reason="plotly is not installed")
    plain = step_slider(seen).plotly_figure()
    figure = objects.Figure(plain["data"], plain["layout"])
    assert figure.layout.yaxis.title.text == "frequency (kHz)"
    assert figure.layout.xaxis3.title.text == "time (s)"
    assert figure.layout.coloraxis.colorbar.title.text == "dB re 1"
    assert [note.text for note in figure.layout.annotations][1:3] == [
        "the sample, right ear",
        "what it expects, left ear",
    ]


def test_noise_beyond_the_scale_is_shown_at_its_ends(seen):
    loud = torch.full((2, 80, 40), 9.0)
    shown = step_slider([("0", loud, -loud)]).levels_db[0]
    assert (shown[0] == RANGE_DB[1]).all()
    assert (shown[1] == RANGE_DB[0]).all()


def test_it_leaves_a_picture_and_words(seen, monkeypatch):
    outputs = []
    monkeypatch.setattr(
        "IPython.display.display", lambda data, metadata=None, raw=False: outputs.append((data, metadata))
    )
    step_slider(seen)._ipython_display_()
    ((data, metadata),) = outputs
    assert "from 999 to 19" in data["text/plain"]
    assert metadata["image/png"]["alt"] == data["text/plain"]
    assert Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).width > 500
    assert len(data[PLOTLY_MIME]["data"]) == 12


def test_the_words_say_from_where_on_nothing_is_decided():
    quiet, noise = torch.full((2, 80, 40), -0.5), torch.zeros(2, 80, 40)
    expected = {
        "999": quiet + 0.3,
        "700": quiet,
        "500": quiet + 0.06,
        "300": quiet - 0.03,
        "10": quiet,
    }  # a unit is 63 dB
    shown = step_slider([(label, noise, mel_EMF) for label, mel_EMF in expected.items()])
    assert shown.settled == "300"
    assert "From step 300 on" in shown.description()
    assert step_slider([("0", noise, quiet)]).settled == "0"


def test_frequencies_stand_at_their_bands(seen):
    five = step_slider(seen).ticks
    assert five == sorted(five)
    assert 0 < five[0] < 15
    assert 65 < five[-1] < 79


def test_nothing_and_other_shapes_are_refused(seen):
    with pytest.raises(InputError, match="no step to show"):
        step_slider([])
    with pytest.raises(InputError, match="the sample at 7 has shape"):
        step_slider([("7", to_unit(torch.zeros(80, 40)), torch.zeros(2, 80, 40))])
