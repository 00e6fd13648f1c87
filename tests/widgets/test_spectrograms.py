"""The picture of both ears: one scale, panels in their places, readable by plotly and everyone else."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from binaural_core.widgets.spectrograms import RANGE_DB, panels

RATE_HZ = 16_000


def click_at(second: float, left: float, right: float) -> np.ndarray:
    wave_EN = np.zeros((2, RATE_HZ), np.float32)
    wave_EN[:, int(second * RATE_HZ)] = left, right
    return wave_EN


def test_one_scale_and_one_zoom_for_all_panels():
    shown = panels({"a": click_at(0.2, 0.5, 0.1), "b": click_at(0.2, 0.05, 0.01)}, RATE_HZ)
    figure = shown.plotly_figure("id")
    low, high = shown.range_db
    assert high == max(level.max() for level in shown.levels_db.values())
    assert high - low == RANGE_DB
    assert {trace["coloraxis"] for trace in figure["data"]} == {"coloraxis"}
    scale = figure["layout"]["coloraxis"]
    assert (scale["cmin"], scale["cmax"]) == (low, high)
    for axis in ("xaxis2", "yaxis2", "xaxis3", "yaxis3", "xaxis4", "yaxis4"):
        assert figure["layout"][axis]["matches"] == axis[0]


def test_plotly_accepts_the_figure_and_reads_the_levels_where_they_belong():
    objects = pytest.importorskip("plotly.graph_objects", reason="plotly is not installed")
    shown = panels({"a": click_at(0.25, 1.0, 0.1)}, RATE_HZ)
    plain = shown.plotly_figure("id")
    figure = objects.Figure(plain["data"], plain["layout"])
    left = plain["data"][0]
    shape = [int(size) for size in left["z"]["shape"].split(",")]
    level_KF = np.frombuffer(base64.b64decode(left["z"]["bdata"]), np.int8).reshape(shape)
    assert (level_KF == shown.levels_db["a"][0]).all()
    assert left["x0"] + left["dx"] * level_KF[1:].mean(0).argmax() == pytest.approx(0.25, abs=left["dx"])
    assert (len(level_KF) - 1) * left["dy"] == pytest.approx(RATE_HZ / 2000)
    assert figure.layout.xaxis.title.text == ""
    assert figure.layout.xaxis2.title.text == "time (s)"
    assert figure.layout.yaxis.title.text == "frequency (kHz)"
    assert figure.layout.coloraxis.colorbar.title.text == "dB re full scale"
    assert "left ear" in figure.layout.annotations[0].text
    assert "right ear" in figure.layout.annotations[1].text


def test_levels_of_the_ears_differ_by_what_their_waves_differ():
    left, right = panels({"a": click_at(0.25, 1.0, 0.1)}, RATE_HZ).levels_db["a"].astype(int)
    assert abs(left.max() - right.max() - 20) <= 1


@pytest.mark.parametrize("count, grid", [(1, (2, 1)), (2, (2, 2)), (3, (2, 3)), (4, (4, 2)), (5, (4, 3)), (7, (6, 3))])
def test_every_version_has_two_panels_of_its_own_left_above_right(count, grid):
    shown = panels({str(i): click_at(0.1, 1, 1) for i in range(count)}, RATE_HZ)
    assert shown.grid == grid
    places = [(row, column) for *_, row, column in shown.places()]
    assert len(set(places)) == 2 * count
    assert all(right == (left[0] + 1, left[1]) for left, right in zip(places[::2], places[1::2], strict=True))
    assert max(row for row, _ in places) == grid[0] - 1
    assert max(column for _, column in places) == grid[1] - 1
    meta = shown.plotly_figure("id")["layout"]["meta"]["panels"]
    assert [panel["version"] for panel in meta] == [version for version, *_ in shown.places()]
    boxes = {
        tuple(d for a in "xy" for d in shown.plotly_figure("id")["layout"][f"{a}axis{p['axis']}"]["domain"])
        for p in meta
    }
    assert len(boxes) == 2 * count
    assert all(0 <= edge <= 1 for box in boxes for edge in box)


def test_png_has_white_ground_and_few_bytes():
    file = panels({"a": click_at(0.1, 1, 1), "b": click_at(0.1, 1, 0)}, RATE_HZ).png()
    picture = Image.open(io.BytesIO(file)).convert("RGB")
    assert picture.getpixel((1, 1)) == (255, 255, 255)
    assert picture.width > 500
    assert len(file) < 100_000


def test_silence_and_the_shortest_sound_have_a_picture():
    shown = panels({"silence": np.zeros((2, 1), np.float32)}, RATE_HZ)
    assert shown.png()
    assert shown.plotly_figure("id")["data"][0]["dx"] > 0
    assert "silence +0.0 dB" in shown.description()
