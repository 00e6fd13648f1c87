"""Figures show the numbers they were given: one colour scale, zero in the middle, units on every axis."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from binaural_core import figures
from binaural_core.audio import LOG_FLOOR, MelConfig
from binaural_core.errors import InputError
from binaural_core.seeds import numpy_stream


@pytest.fixture
def mel_EMF():
    right_MF = numpy_stream(0, "figures").normal(-4.0, 1.0, (80, 40)).astype(np.float32)
    return np.stack([right_MF + np.float32(np.log(2.0)), right_MF])


@pytest.fixture
def wave_EN():
    noise_N = numpy_stream(1, "figures").standard_normal(3 * 22_050).astype(np.float32)
    return np.stack([noise_N, 0.5 * np.roll(noise_N, 11)])


def drawn(figure: Figure) -> Figure:
    figure.draw_without_rendering()
    return figure


def labels(figure: Figure) -> str:
    return " ".join(axis.get_xlabel() + " " + axis.get_ylabel() for axis in figure.axes)


def test_the_level_difference_is_read_off_the_mels(mel_EMF):
    np.testing.assert_allclose(figures.mel_ild_db(mel_EMF), 6.0206, atol=1e-4)
    np.testing.assert_allclose(figures.mel_ild_db(mel_EMF[::-1]), -6.0206, atol=1e-4)


def test_quiet_frames_have_no_level_difference(mel_EMF):
    mel_EMF[:, :, 10] -= 4.0  # 35 dB down
    mel_EMF[:, :, 11] -= 2.5  # 22 dB down
    ild_F = figures.mel_ild_db(mel_EMF)
    assert np.isnan(ild_F[10])
    assert np.isfinite(np.delete(ild_F, 10)).all()


def test_ears_share_one_colour_scale(mel_EMF):
    figure = drawn(figures.ears_figure({"ours": mel_EMF - 1.0, "true": torch.from_numpy(mel_EMF)}))
    images = [image for axis in figure.axes for image in axis.get_images()]
    assert len(images) == 4
    top_db = figures.DB_PER_NEPER * mel_EMF.max()
    for image in images:
        assert image.get_clim() == pytest.approx((top_db - figures.RANGE_DB, top_db))
    np.testing.assert_allclose(images[2].get_array(), figures.DB_PER_NEPER * mel_EMF[0], rtol=1e-5)
    np.testing.assert_allclose(images[3].get_array(), figures.DB_PER_NEPER * mel_EMF[1], rtol=1e-5)
    titles = [axis.get_title() for axis in figure.axes]
    assert titles[:4] == ["ours, left ear", "ours, right ear", "true, left ear", "true, right ear"]
    assert "kHz" in labels(figure)
    assert "dB" in labels(figure)
    assert "time (s)" in labels(figure)


def test_zero_lies_in_the_middle_of_a_difference(mel_EMF, wave_EN):
    for figure in (
        figures.ears_figure({"a": mel_EMF}),
        figures.cues_figure({"a": wave_EN}, 22_050),
        figures.directions_figure([-90, 0, 90], {"ITD (µs)": {"head": [-700, 0, 650]}}),
    ):
        curves = [axis for axis in drawn(figure).axes if axis.lines and not axis.get_images()]
        assert curves
        for axis in curves:
            low, high = axis.get_ylim()
            assert low == -high


def test_cues_over_time_are_the_waves_cues(wave_EN):
    time_axis, level_axis = drawn(figures.cues_figure({"a": wave_EN}, 22_050)).axes
    itd_us_T, ild_db_T = (axis.lines[0].get_ydata() for axis in (time_axis, level_axis))
    np.testing.assert_allclose(itd_us_T, 1e6 * 11 / 22_050, atol=1.0)
    np.testing.assert_allclose(ild_db_T, 6.02, atol=0.3)
    assert time_axis.lines[0].get_xdata().max() < 3.0


def test_silence_has_no_cues_to_draw():
    time_axis, _ = drawn(figures.cues_figure({"silence": np.zeros((2, 22_050), np.float32)}, 22_050)).axes
    assert np.isnan(time_axis.lines[0].get_ydata()).all()


def test_a_wave_is_drawn_at_its_time(wave_EN):
    figure = drawn(figures.waves_figure({"both": wave_EN[:, :100], "mono": wave_EN[0, :100]}, 1000, start_s=2.0))
    both, mono = figure.axes
    assert [line.get_label() for line in both.lines] == ["left ear", "right ear"]
    assert [line.get_label() for line in mono.lines] == ["mono"]
    assert both.lines[0].get_xdata()[[0, -1]] == pytest.approx([2.0, 2.099])
    np.testing.assert_array_equal(both.lines[1].get_ydata(), wave_EN[1, :100])


def test_mel_bands_are_labelled_with_their_frequency(mel_EMF):
    centres_hz = figures.mel_centres_hz(MelConfig())
    assert len(centres_hz) == 80
    assert (np.diff(centres_hz) > 0).all()
    axis = drawn(figures.ears_figure({"a": mel_EMF})).axes[0]
    ticks = {text.get_text(): place for place, text in zip(axis.get_yticks(), axis.get_yticklabels(), strict=True)}
    assert list(ticks) == ["0.5", "1", "2", "4", "8"]
    assert abs(centres_hz[round(ticks["4"])] - 4000) < 120
    narrow = drawn(figures.ears_figure({"a": mel_EMF}, MelConfig(f_max_hz=5000.0))).axes[0]
    assert [text.get_text() for text in narrow.get_yticklabels()] == ["0.5", "1", "2", "4"]


def test_every_filter_is_drawn():
    near, whole = drawn(figures.filters_figure()).axes
    assert len(near.lines) == len(whole.lines) == 80
    assert near.get_xlim() == (0, 1500)


def test_the_rest_draws_what_it_is_given():
    loss = drawn(figures.losses_figure({"train": ([1, 2], [0.5, 0.25])}))
    assert loss.axes[0].get_yscale() == "log"
    assert list(loss.axes[0].lines[0].get_ydata()) == [0.5, 0.25]
    bars = drawn(
        figures.errors_figure(
            {"mono": {"ITD (µs)": 400.0, "ILD (dB)": 7.0}, "ours": {"ITD (µs)": 10.0, "ILD (dB)": 1.0}}
        )
    )
    assert [bar.get_width() for bar in bars.axes[0].patches] == [400.0, 10.0]
    level = np.linspace(-80, 0, 20).reshape(5, 4)
    image = drawn(figures.levels_figure({"x": level}, duration_s=2.0, top_hz=8000)).axes[0].get_images()[0]
    assert image.get_extent() == [0, 2.0, 0, 8.0]
    picture = np.zeros((9, 16, 3), np.uint8)
    boxes = np.array([[0.1, 0.2, 0.4, 0.6]])
    box = drawn(figures.pictures_figure([picture], [boxes], ["0.0 s"], [["piano"]])).axes[0].patches[0]
    assert (box.get_x(), box.get_y(), box.get_width()) == pytest.approx((0.1, 0.2, 0.3))
    crops = drawn(figures.crops_figure([[picture, None]] * 3, [["a", "nothing"]] * 3))
    assert [len(axis.get_images()) for axis in crops.axes] == [1, 1, 1, 0, 0, 0]


def test_curves_have_a_panel_each_and_say_what_would_be_right():
    curves = {
        "error (dB)": {"a": ([1, 2, 4], [3.0, 2.0, 1.0]), "b": ([1, 2], [5.0, 4.0])},
        "spread": {"a": ([1], [0.5])},
    }
    error, spread = drawn(figures.curves_figure(curves, "evaluations", log="x", right={"spread": 1.0})).axes
    assert (error.get_xscale(), error.get_yscale()) == ("log", "linear")
    assert [line.get_label() for line in error.lines] == ["a", "b"]
    assert list(error.lines[1].get_ydata()) == [5.0, 4.0]
    assert spread.get_ylabel() == "spread"
    assert list(spread.lines[-1].get_ydata()) == [1.0, 1.0]


def test_paths_run_from_noise_to_data():
    values_TB = np.array([[2.0, -2.0], [1.0, -1.0], [0.5, -0.5]])
    truth = (np.linspace(-1, 1, 3), np.full(3, 0.5))
    way, end = drawn(figures.paths_figure({"ddim": ([999, 400, 0], values_TB)}, truth)).axes
    assert way.get_xlim() == (999, 0)
    np.testing.assert_array_equal(way.lines[1].get_ydata(), values_TB[:, 1])
    assert sum(bar.get_width() * bar.get_height() for bar in end.patches) == pytest.approx(1.0)
    assert max(bar.get_y() + bar.get_height() for bar in end.patches) == pytest.approx(0.5)
    np.testing.assert_array_equal(end.lines[0].get_ydata(), truth[0])


def test_wrong_shapes_and_nothing_are_refused(mel_EMF):
    with pytest.raises(InputError, match="predicted has shape"):
        figures.ears_figure({"predicted": mel_EMF[0]})
    with pytest.raises(InputError, match="nothing to draw"):
        figures.ears_figure({})
    with pytest.raises(InputError, match="mono has shape"):
        figures.cues_figure({"mono": np.zeros((1, 22_050))}, 22_050)


def test_silence_can_be_drawn():
    drawn(figures.ears_figure({"silence": np.full((2, 80, 10), LOG_FLOOR)}))


def test_cells_of_all_maps_have_one_size():
    axes = drawn(figures.maps_figure({"in": np.eye(8, 12), "half": np.eye(4, 6), "deep": np.eye(2)})).axes
    assert [axis.get_title() for axis in axes[1:]] == ["half\n4 x 6", "deep\n2 x 2"]
    cells_px = [axis.transData.transform((1, 1)) - axis.transData.transform((0, 0)) for axis in axes]
    assert np.allclose(cells_px, cells_px[0], rtol=0.06)


def test_influence_is_drawn_in_decibels_with_the_reach_around_the_cell():
    values = np.full((10, 20), 0.1)
    values[4, 7] = 1.0
    axis = drawn(figures.influence_figure({"mono": values}, (4, 7), ((2, 6), (5, 9)))).axes[0]
    level = axis.get_images()[0].get_array()
    assert (level[4, 7], level[0, 0]) == pytest.approx((0, -20))
    box = axis.patches[0]
    assert (box.get_x(), box.get_y(), box.get_width(), box.get_height()) == (4.5, 1.5, 5, 5)
    assert (axis.lines[0].get_xdata()[0], axis.lines[0].get_ydata()[0]) == (7, 4)


def test_repeated_runs_are_drawn_as_their_mean_and_range():
    values_SX = np.array([[4.0, 2.0, 1.0], [2.0, 1.0, 0.5]])
    curves = {"one, slow": ([1, 10, 100], values_SX), "one, fast": ([1, 10, 100], 3 * values_SX)}
    curves["two"] = ([1, 9], np.array([[1.0, 2.0]]))
    panels = {("updates", "error (dB)"): curves, ("evaluations", "error (dB)"): curves}
    figure = drawn(figures.seeds_figure(panels, right={"error (dB)": ("mono copy", 3.0)}))
    first = figure.axes[0]
    np.testing.assert_allclose(first.lines[0].get_ydata(), [3.0, 1.5, 0.75])
    range_of_first = first.collections[0].get_paths()[0].vertices
    assert (range_of_first[:, 1].min(), range_of_first[:, 1].max()) == (0.5, 4.0)
    assert first.lines[0].get_color() == first.lines[1].get_color() != first.lines[2].get_color()
    assert first.lines[0].get_linestyle() != first.lines[1].get_linestyle()
    assert first.lines[3].get_label() == "mono copy"
    assert "updates error (dB) evaluations error (dB)" in labels(figure)
    assert (first.get_xscale(), first.get_yscale()) == ("log", "log")
