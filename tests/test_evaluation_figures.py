"""The figures on evaluation show the numbers they were given, with units on every axis and names on every line."""

import math

import numpy as np
import pytest

from binaural_core.evaluation_figures import azimuths_figure, intervals_figure, sweeps_figure
from binaural_core.metrics.intervals import Interval


def drawn(figure):
    figure.draw_without_rendering()
    return figure


def test_sweeps_draw_every_curve_and_every_mark():
    x = np.arange(5.0)
    panels = {f"quantity {n} (µs)": {"one": (x, n * x), "two": (x, -n * x)} for n in (1, 2, 3, 4)}
    level = {"quantity 2 (µs)": {"just noticeable": 3.5}}
    figure = drawn(sweeps_figure(panels, "delay (µs)", upright={"the truth": 2.0}, level=level))
    axes = [axis for axis in figure.axes if axis.get_visible()]
    assert [axis.get_ylabel() for axis in axes] == list(panels)
    for axis, (quantity, curves) in zip(axes, panels.items(), strict=True):
        assert axis.get_xlabel() == "delay (µs)"
        for line, (name, (_, y)) in zip(axis.lines, curves.items(), strict=False):
            assert line.get_label() == name
            np.testing.assert_array_equal(line.get_ydata(), y)
        assert list(axis.lines[2].get_xdata()) == [2.0, 2.0]
        marked = quantity in level
        assert len(axis.lines) == 3 + marked
        assert [text.get_text() for text in axis.texts] == ["just noticeable"] * marked
        if marked:
            assert list(axis.lines[3].get_ydata()) == [3.5, 3.5]
        assert len({line.get_marker() for line in axis.lines[:2]}) == 2  # told apart without colour
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["one", "two", "the truth"]


def test_the_name_of_the_highest_line_stays_inside_its_panel():
    figure = drawn(sweeps_figure({"error": {"one": ([0.0, 1.0], [0.0, 0.5])}}, "x", level={"error": {"noticed": 1.0}}))
    (axis,) = figure.axes
    (text,) = axis.texts
    assert text.get_window_extent().y1 <= axis.get_window_extent().y1
    assert text.zorder < axis.lines[0].zorder  # hides no curve


def test_azimuths_lie_over_the_way_that_was_taken():
    time_s, way_deg = np.linspace(0, 4, 9), np.linspace(40, -40, 9)
    found = {"reference": (time_s, way_deg + 1), "mono copy": (time_s, 0 * way_deg)}
    (axis,) = drawn(azimuths_figure(found, (time_s, way_deg))).axes
    np.testing.assert_array_equal(axis.lines[0].get_ydata(), way_deg)
    for line, (name, (_, azimuth_deg)) in zip(axis.lines[1:], found.items(), strict=False):
        assert line.get_label() == name
        np.testing.assert_array_equal(line.get_ydata(), azimuth_deg)
    assert "s" in axis.get_xlabel()
    assert "left" in axis.get_ylabel()


def test_intervals_are_bars_around_their_dots_and_run_downwards():
    named = {"first": Interval(1.0, 0.5, 2.0, 9, 0), "published": Interval(3.0, math.nan, math.nan, 1, 0)}
    span = {"a span": Interval(math.nan, 0.5, 2.0, 1, 0)}
    bar, dot = drawn(intervals_figure({"error (dB)": span})).axes[0].lines
    assert list(bar.get_xdata()) == [0.5, 2.0]
    assert math.isnan(dot.get_xdata()[0])
    figure = drawn(intervals_figure({"error (dB)": named, "error (µs)": named}, upright=0.0))
    for axis, quantity in zip(figure.axes, ("error (dB)", "error (µs)"), strict=True):
        bar, dot, alone, upright = axis.lines
        assert list(bar.get_xdata()) == [0.5, 2.0]
        assert (dot.get_xdata()[0], dot.get_ydata()[0]) == (1.0, 0)
        assert (alone.get_xdata()[0], alone.get_ydata()[0]) == (3.0, 1)
        assert list(upright.get_xdata()) == [0.0, 0.0]
        assert axis.get_xlabel() == quantity
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["first", "published"]
    assert figure.axes[0].get_ylim() == pytest.approx((1.5, -0.5))


def test_panels_of_one_quantity_share_their_scale_when_asked():
    panels = {who: {"first": Interval(mean, mean - 1, mean + 1, 9, 0)} for who, mean in (("all", 10.0), ("some", 90.0))}
    together, apart = drawn(intervals_figure(panels, alike=True)), drawn(intervals_figure(panels))
    assert together.axes[0].get_xlim() == together.axes[1].get_xlim()
    assert apart.axes[0].get_xlim() != apart.axes[1].get_xlim()
