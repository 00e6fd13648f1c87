"""The vocoder's figures show the numbers they were given, with one scale for what is compared and units on every axis."""

import numpy as np
import pytest

from binaural_core.figures import RANGE_DB
from binaural_core.seeds import numpy_stream
from binaural_core.vocoder_figures import bands_figure, fits_figure, folds_figure, followed_figure, octaves_figure


def drawn(figure):
    figure.draw_without_rendering()
    return figure


def test_folds_share_one_scale_about_zero():
    draws = numpy_stream(0, "vocoder figures")
    folds = {f"p = {period}": draws.normal(size=(20, period)) for period in (3, 5)}
    axes = drawn(folds_figure(folds)).axes
    top = max(np.abs(fold_RP).max() for fold_RP in folds.values())
    for axis, (name, fold_RP) in zip(axes, folds.items(), strict=False):
        image = axis.get_images()[0]
        assert image.get_clim() == pytest.approx((-top, top))
        np.testing.assert_array_equal(image.get_array(), fold_RP)
        assert axis.get_title() == name
        assert axis.get_xlabel()
    assert axes[0].get_ylabel()
    assert axes[-1].get_ylabel() == "amplitude"


def test_fits_are_drawn_over_the_truth():
    x, truth = np.linspace(-9, 9, 50), np.zeros(50)
    axes = drawn(fits_figure({"one": truth + 1, "two": truth + 9}, truth, x, (-3, 3))).axes
    for axis, name, value in zip(axes, ("one", "two"), (1, 9), strict=True):
        under, over = axis.get_lines()
        np.testing.assert_array_equal(under.get_ydata(), truth)
        np.testing.assert_array_equal(over.get_ydata(), truth + value)
        assert axis.get_ylim() == (-2, 2)
        assert axis.get_ylabel() == name
    shaded = axes[0].patches[0].get_extents().transformed(axes[0].transData.inverted())
    assert (shaded.x0, shaded.x1) == pytest.approx((-3, 3))


def test_what_follows_is_compared_with_the_identity():
    panels = {
        ("in (dB)", "out (dB)"): {"half": ([-10, 0, 10], [-5, 0, 5])},
        ("in (µs)", "out (µs)"): {"flat": ([0, 9], [3, 3])},
    }
    axes = drawn(followed_figure(panels)).axes
    for axis, ((x_label, y_label), curves) in zip(axes, panels.items(), strict=True):
        curve, same = axis.get_lines()
        (x, y), *_ = curves.values()
        np.testing.assert_array_equal(curve.get_xdata(), x)
        np.testing.assert_array_equal(curve.get_ydata(), y)
        np.testing.assert_array_equal(same.get_xdata(), same.get_ydata())
        assert axis.get_xlim() == axis.get_ylim()
        assert (axis.get_xlabel(), axis.get_ylabel()) == (x_label, y_label)


def test_octaves_are_labelled_by_their_lowest_note():
    level_KF = numpy_stream(1, "vocoder figures").normal(size=(72, 30))
    axis = drawn(octaves_figure(level_KF, 2.0, 32.7, 24)).axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["33", "65", "131"]
    assert list(axis.get_yticks()) == [0, 1, 2]
    image = axis.get_images()[0]
    assert image.get_extent() == [0, 2.0, 0, 3.0]
    assert image.get_clim() == pytest.approx((level_KF.max() - RANGE_DB, level_KF.max()))
    np.testing.assert_array_equal(image.get_array(), level_KF)


def test_a_difference_in_bands_is_a_mean_and_a_deviation_and_a_name_keeps_its_colour():
    hz_M = np.geomspace(100, 8000, 6)
    mean_M, deviation_M = np.linspace(-1, 1, 6), np.full(6, 0.25)
    curves = {name: (k * mean_M, deviation_M) for k, name in enumerate(("a", "b", "c"))}
    panels = {"left (ln)": {n: curves[n] for n in ("a", "b")}, "right (ln)": {n: curves[n] for n in ("b", "c")}}
    axes = drawn(bands_figure(panels, hz_M)).axes
    drawn_as = [{line.get_label(): line for line in axis.get_lines()} for axis in axes]
    assert drawn_as[0]["b"].get_color() == drawn_as[1]["b"].get_color()
    assert len({drawn_as[1][n].get_color() for n in "bc"} | {drawn_as[0]["a"].get_color()}) == 3
    np.testing.assert_array_equal(drawn_as[1]["c"].get_ydata(), 2 * mean_M)
    corners_K2 = axes[1].collections[1].get_paths()[0].vertices
    assert (corners_K2[:, 1].min(), corners_K2[:, 1].max()) == pytest.approx((-2.25, 2.25))
    assert axes[0].get_ylim() == axes[1].get_ylim()
    assert [axis.get_ylabel() for axis in axes] == list(panels)
