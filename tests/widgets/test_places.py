"""The slider over places: every place is in the figure, one is shown, and gains are what the ears have over the mono."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from binaural_core.errors import InputError
from binaural_core.seeds import numpy_stream
from binaural_core.widgets.places import Place, ear_gains_db, place_slider
from binaural_core.widgets.spectrograms import PLOTLY_MIME


@pytest.fixture
def places():
    draw = numpy_stream(0, "places")
    return [
        Place(label, np.full((18, 32, 3), 40 * n, np.uint8), *draw.uniform(-12, 7, (2, 2, 80)))
        for n, label in enumerate(("40°", "0°", "-40°"))
    ]


def test_gains_are_energies_over_the_mono():
    mono_MF = numpy_stream(0, "mono").normal(0, 1, (3, 5))
    mel_EMF = mono_MF + np.log(10 ** (np.array([[6.0, 3.0, 0.0], [-6.0, 0.0, -20.0]]) / 20))[..., None]
    np.testing.assert_allclose(ear_gains_db(mel_EMF, mono_MF), [[6, 3, 0], [-6, 0, -20]], atol=1e-9)
    loud_MF = np.stack([np.zeros(4), np.log([1.0, 1.0, 1.0, 3.0])])
    assert ear_gains_db(loud_MF[None], 0 * loud_MF)[0, 1] == pytest.approx(10 * np.log10(3))


def test_the_slider_shows_the_picture_and_curves_of_its_place(places):
    figure = place_slider(places).plotly_figure()
    assert [trace["visible"] for trace in figure["data"]] == [True] * 5 + [False] * 10
    steps = figure["layout"]["sliders"][0]["steps"]
    assert [step["label"] for step in steps] == ["40°", "0°", "-40°"]
    for place, step in zip(places, steps, strict=True):
        picture, *curves = [t for t, visible in zip(figure["data"], step["args"][1], strict=True) if visible]
        jpeg = base64.b64decode(picture["source"].removeprefix("data:image/jpeg;base64,"))
        assert np.abs(np.asarray(Image.open(io.BytesIO(jpeg))).astype(int) - place.image_HW3).max() <= 3
        expected = [*place.predicted_db_EM, *place.true_db_EM]
        np.testing.assert_allclose([curve["y"] for curve in curves], expected, atol=0.006)
        assert [curve["name"] for curve in curves] == [
            "left ear, predicted",
            "right ear, predicted",
            "left ear, right",
            "right ear, right",
        ]


def test_all_places_share_one_scale(places):
    low, high = place_slider(places).range_db
    values = np.concatenate([p.predicted_db_EM for p in places] + [p.true_db_EM for p in places])
    assert low <= values.min() < low + 5
    assert high - 5 < values.max() <= high


def test_plotly_accepts_the_figure(places):
    objects = pytest.importorskip("plotly.graph_objects", reason="plotly is not installed")
    plain = place_slider(places).plotly_figure()
    figure = objects.Figure(plain["data"], plain["layout"])
    assert figure.layout.yaxis2.title.text == "gain over the mono (dB)"
    assert figure.layout.yaxis.range == (18, 0)


def test_it_leaves_a_picture_and_words(places, monkeypatch):
    outputs = []
    monkeypatch.setattr(
        "IPython.display.display", lambda data, metadata=None, raw=False: outputs.append((data, metadata))
    )
    place_slider(places)._ipython_display_()
    ((data, metadata),) = outputs
    assert "from 40° to -40°" in data["text/plain"]
    assert metadata["image/png"]["alt"] == data["text/plain"]
    assert Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).width > 500
    assert len(data[PLOTLY_MIME]["data"]) == 15


def test_nothing_and_other_shapes_are_refused(places):
    with pytest.raises(InputError, match="no place to show"):
        place_slider([])
    wrong = Place("7°", places[0].image_HW3, np.zeros((2, 64)), np.zeros((2, 80)))
    with pytest.raises(InputError, match="predicted_db_EM at 7° has shape"):
        place_slider([wrong])
