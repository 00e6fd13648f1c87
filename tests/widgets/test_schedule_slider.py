"""The slider over epochs: a clip hears the prediction where its number is below the share, in every view."""

import io

import numpy as np
import pytest
from PIL import Image

from binaural_core.errors import InputError
from binaural_core.seeds import numpy_stream
from binaural_core.widgets.schedule import COLOURS, TRUE, schedule_slider
from binaural_core.widgets.spectrograms import PLOTLY_MIME

EPOCHS = [0, 100, 200]
SHARES = {"slow": [0.0, 0.2, 0.4], "fast": [0.0, 0.5, 1.0]}


@pytest.fixture
def slider():
    return schedule_slider(EPOCHS, SHARES, numpy_stream(0, "schedule").random((3, 20)))


def test_who_hears_a_prediction():
    slider = schedule_slider([7], {"one": [0.5]}, np.array([[0.0, 0.499, 0.5, 0.9]]))
    np.testing.assert_array_equal(slider.predicted("one", 0), [True, True, False, False])


def test_a_clip_that_heard_it_at_a_lower_share_hears_it_at_a_higher_one(slider):
    for number in range(3):
        assert not (slider.predicted("slow", number) & ~slider.predicted("fast", number)).any()
    assert not slider.predicted("fast", 0).any()
    assert slider.predicted("fast", 2).all()


def test_each_step_shows_its_epoch(slider):
    figure = slider.plotly_figure()
    assert [trace["visible"] for trace in figure["data"]] == [True] * 6 + [False] * 8
    steps = figure["layout"]["sliders"][0]["steps"]
    assert [step["label"] for step in steps] == ["0", "100", "200"]
    for number, step in enumerate(steps):
        shown = [t for t, visible in zip(figure["data"], step["args"][1], strict=True) if visible]
        curves, marks, batches = shown[:2], shown[2::2], shown[3::2]
        for row, (name, shares) in enumerate(SHARES.items()):
            assert curves[row]["name"] == name
            assert curves[row]["x"] == EPOCHS
            assert curves[row]["y"] == [100 * share for share in shares]
            assert marks[row]["x"] == [EPOCHS[number]]
            assert marks[row]["y"] == [100 * shares[number]]
            heard = slider.predicted(name, number)
            assert batches[row]["marker"]["color"] == [COLOURS[row] if h else TRUE for h in heard]
            assert batches[row]["text"] == ["predicted" if h else "true" for h in heard]


def test_no_two_clips_lie_on_each_other_and_all_are_in_sight(slider):
    figure = slider.plotly_figure()
    places = [(x, y) for trace in figure["data"][3:6:2] for x, y in zip(trace["x"], trace["y"], strict=True)]
    assert len(set(places)) == 40
    for axis, values in (("xaxis2", [x for x, _ in places]), ("yaxis2", [y for _, y in places])):
        low, high = figure["layout"][axis]["range"]
        assert low < min(values) <= max(values) < high


def test_plotly_accepts_the_figure(slider):
    objects = pytest.importorskip("plotly.graph_objects", reason="plotly is not installed")
    objects.Figure(slider.plotly_figure())


def test_without_scripts_there_is_a_picture_and_words(slider, monkeypatch):
    displayed = []
    monkeypatch.setattr("IPython.display.display", lambda *given, **more: displayed.append((given, more)))
    slider._ipython_display_()
    (data,), more = displayed[0]
    assert set(data) == {PLOTLY_MIME, "image/png", "text/plain"}
    assert "fast: 0 % to 100 %" in data["text/plain"]
    assert more["metadata"]["image/png"]["alt"] == data["text/plain"]
    assert Image.open(io.BytesIO(slider.png())).size[0] == 792
    assert slider.png() == slider.png()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (([], {"a": []}, np.zeros((0, 4))), "no epoch"),
        (([0], {}, np.zeros((1, 4))), "0 schedules"),
        (([0], {"a": [0], "b": [0], "c": [0]}, np.zeros((1, 4))), "3 schedules"),
        (([0, 1], {"a": [0.0]}, np.zeros((2, 4))), "shares of a"),
        (([0, 1], {"a": [0.0, 0.5]}, np.zeros((1, 4))), "drawn numbers"),
    ],
)
def test_what_cannot_be_shown_is_refused(given, said):
    with pytest.raises(InputError, match=said):
        schedule_slider(*given)
