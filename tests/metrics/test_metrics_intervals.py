"""Bootstrap intervals: coverage on known distributions, another implementation's numbers, and what is left out."""

import math

import numpy as np
import pytest
import scipy.stats

from binaural_core import metrics
from binaural_core.errors import InputError
from binaural_core.metrics import bootstrap_interval, difference_interval, measure_intervals
from binaural_core.seeds import numpy_stream


def draws(seed, size):
    return numpy_stream(seed, "values").standard_normal(size)


@pytest.mark.parametrize(
    "statistic, true, level, least, most",
    [("mean", 1.0, 0.95, 0.89, 0.98), ("mean", 1.0, 0.8, 0.73, 0.86), ("median", math.log(2), 0.95, 0.89, 0.98)],
)
def test_coverage_of_a_skewed_distribution(statistic, true, level, least, most):
    """Exponential values, 40 of them: the share of intervals that hold the truth is the level, nearly."""
    held = 0
    for seed in range(300):
        values = numpy_stream(seed, "exponential").exponential(size=40)
        interval = bootstrap_interval(values, level, seed, statistic, draws=400)
        held += interval.low <= true <= interval.high
    assert least < held / 300 < most


def test_of_many_normal_values_it_is_the_t_interval():
    values = 3 + 2 * draws(0, 400)
    interval = bootstrap_interval(values, draws=20_000)
    t = scipy.stats.t.interval(0.95, 399, values.mean(), scipy.stats.sem(values))
    assert interval.value == pytest.approx(values.mean())
    assert (interval.low, interval.high) == pytest.approx(t, abs=0.02)
    assert (interval.count, interval.left_out, interval.level) == (400, 0, 0.95)


@pytest.mark.parametrize(
    "statistic, function, size", [("mean", np.mean, 8), ("mean", np.mean, 25), ("median", np.median, 25)]
)
@pytest.mark.parametrize("level", [0.68, 0.95])
def test_it_is_scipys_bca(statistic, function, size, level):
    values = np.exp(draws(1, size))  # skewed: percentiles would differ
    ours = bootstrap_interval(values, level, statistic=statistic, draws=40_000)
    generator = numpy_stream(2, "scipy")
    theirs = scipy.stats.bootstrap(
        (values,), function, confidence_level=level, n_resamples=20_000, method="BCa", rng=generator, vectorized=True
    ).confidence_interval
    percentile = scipy.stats.bootstrap(
        (values,), function, confidence_level=level, n_resamples=20_000, method="percentile", rng=generator
    ).confidence_interval
    width = theirs.high - theirs.low
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs), abs=0.03 * width)
    if statistic == "mean" and level == 0.95:
        assert abs(ours.high - percentile.high) > 0.05 * width


def test_the_same_seed_gives_the_same_interval():
    values = draws(3, 30)
    assert bootstrap_interval(values) == bootstrap_interval(values, seed=0)
    assert bootstrap_interval(values) != bootstrap_interval(values, seed=1)
    np.random.seed(0)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    bootstrap_interval(values)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


def test_nan_is_left_out_and_counted():
    values = draws(4, 20)
    holes = np.insert(values, [0, 7, 20], np.nan)
    interval = bootstrap_interval(holes)
    assert interval == bootstrap_interval(values)._replace(left_out=3)
    assert interval.count == 20
    nothing = bootstrap_interval([math.nan, math.nan])
    assert math.isnan(nothing.value)
    assert math.isnan(nothing.low)
    assert (nothing.count, nothing.left_out) == (0, 2)
    assert bootstrap_interval([]).count == 0


def test_one_value_has_no_interval_and_equal_ones_have_no_width():
    one = bootstrap_interval([2.5])
    assert one.value == 2.5
    assert math.isnan(one.low)
    assert math.isnan(one.high)
    for statistic in ("mean", "median"):
        same = bootstrap_interval([4.0] * 9, statistic=statistic)
        assert (same.value, same.low, same.high) == (4, 4, 4)


@pytest.mark.parametrize("value", [0.1, 1 / 3, -123.456, 1e-6])
def test_equal_values_have_no_width_whatever_their_sum_rounds_to(value):
    for count in range(2, 40):
        same = bootstrap_interval([value] * count, draws=200)
        assert same.low == same.high == same.value == pytest.approx(value)


def test_the_unit_of_the_values_does_not_matter():
    """Ratings in tenths: draws that are equal to the mean but for rounding count as equal, as they do in whole numbers."""
    generator = numpy_stream(11, "ratings")
    for _ in range(40):
        whole = generator.integers(0, 10, size=generator.integers(3, 9))
        in_tens, in_ones = bootstrap_interval(whole), bootstrap_interval(whole * 0.1)
        assert (in_ones.low, in_ones.high) == pytest.approx((0.1 * in_tens.low, 0.1 * in_tens.high))


def test_clusters_are_drawn_as_one():
    """Ten clips of each of 12 sounds that are alike within a sound: what is known is 12 values, not 120."""
    of_sound = draws(5, 12)
    values = np.repeat(of_sound, 10) + 0.01 * draws(6, 120)
    names = [f"sound {i}" for i in range(12) for _ in range(10)]
    alone, together = bootstrap_interval(values), bootstrap_interval(values, clusters=names)
    of_means = bootstrap_interval(of_sound)
    assert together.value == alone.value
    assert together.high - together.low == pytest.approx(of_means.high - of_means.low, rel=0.1)
    assert together.high - together.low > 2 * (alone.high - alone.low)
    shuffled = numpy_stream(0, "order").permutation(120)
    mixed = bootstrap_interval(values[shuffled], clusters=[names[i] for i in shuffled])
    assert (mixed.low, mixed.high) == pytest.approx((together.low, together.high), abs=0.15)
    lonely = bootstrap_interval(values, clusters=["one sound"] * 120)
    assert math.isnan(lonely.low)
    assert bootstrap_interval([1.0, 2.0, math.nan], clusters=["a", "a", "b"]).count == 2
    assert math.isnan(bootstrap_interval([1.0, 2.0, math.nan], clusters=["a", "a", "b"]).low)  # only "a" is left


def test_unequal_clusters_weigh_by_their_clips():
    values = [0.0] * 9 + [10.0]
    interval = bootstrap_interval(values, clusters=["a"] * 9 + ["b"])
    assert interval.value == 1.0
    assert 0 <= interval.low <= interval.high <= 10
    median = bootstrap_interval([1.0, 2.0, 3.0, 50.0], statistic="median", clusters=["a", "b", "c", "c"])
    assert median.value == 2.5


def test_paired_differences_are_surer_than_two_intervals():
    hard = 5 * draws(7, 60)  # some clips are harder than others, for both versions
    ours, theirs = hard + 0.3 * draws(8, 60), hard + 0.5 + 0.3 * draws(9, 60)
    interval = difference_interval(ours, theirs)
    assert interval.value == pytest.approx((ours - theirs).mean())
    assert interval.high < 0
    assert bootstrap_interval(ours).high > bootstrap_interval(theirs).low  # apart they overlap
    assert difference_interval(theirs, ours).value == -interval.value
    ours[3], theirs[5] = math.nan, math.nan
    assert difference_interval(ours, theirs)[3:5] == (58, 2)
    assert difference_interval(ours, theirs, statistic="median").value == pytest.approx(np.nanmedian(ours - theirs))
    with pytest.raises(InputError, match="same clips"):
        difference_interval(ours, theirs[1:])


def test_intervals_of_every_measure_make_a_column():
    rows = [{"snr_db": float(v), "pesq": math.nan if v > 0 else 2.0} for v in draws(10, 15)] + [{"snr_db": 1.0}]
    column = measure_intervals(rows)
    assert list(column) == ["snr_db", "pesq"]
    assert column["snr_db"] == bootstrap_interval([row["snr_db"] for row in rows])
    assert column["pesq"].left_out == sum(1 for row in rows[:15] if math.isnan(row["pesq"])) + 1
    said = metrics.table({"ours": column})
    assert f"{column['snr_db'].value:.2f} [{column['snr_db'].low:.2f}, {column['snr_db'].high:.2f}]" in said
    assert "2.00 [2.00, 2.00]" in said


@pytest.mark.parametrize(
    "arguments, says",
    [
        (([[1.0, 2.0]],), "shape"),
        (([1.0, math.inf],), "infinite"),
        (([1.0, 2.0], 95), "level is 95"),
        (([1.0, 2.0], 0.95, 0, "mode"), "mean or median"),
        (([1.0, 2.0], 0.95, 0, "mean", ["a"]), "1 clusters"),
        ((["a", "b"],), "real numbers"),
    ],
)
def test_what_has_no_interval(arguments, says):
    with pytest.raises(InputError, match=says):
        bootstrap_interval(*arguments)
    with pytest.raises(InputError, match="draws=1"):
        bootstrap_interval([1.0, 2.0], draws=1)


@pytest.mark.parametrize(("units", "share"), [(10, 0.89), (20, 0.92), (40, 0.93)])
def test_with_few_units_intervals_are_as_much_too_narrow_as_is_said(units, share):
    sets = [numpy_stream(12, "few", units, n).standard_normal(units) for n in range(1500)]
    found = [bootstrap_interval(values, draws=600) for values in sets]
    assert np.mean([one.low < 0 < one.high for one in found]) == pytest.approx(share, abs=0.02)
