"""Listening tests: binomial tables, scipy where it knows, simulated observers, and the rule of BS.1534-3 case by case."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import scipy.stats

from binaural_core.errors import InputError
from binaural_core.metrics import listening
from binaural_core.metrics.intervals import bootstrap_interval
from binaural_core.seeds import numpy_stream


def by_guessing(correct, trials):
    return float(Fraction(sum(math.comb(trials, k) for k in range(correct, trials + 1)), 2**trials))


@pytest.mark.parametrize("trials", [1, 5, 10, 16, 25, 100])
def test_p_values_are_those_of_the_binomial_table(trials):
    for correct in range(trials + 1):
        assert listening.abx_p_value(correct, trials) == pytest.approx(by_guessing(correct, trials), rel=1e-12)


@pytest.mark.parametrize("trials, needed", [(4, 5), (5, 5), (10, 9), (16, 12), (20, 15), (25, 18), (100, 59)])
def test_critical_numbers(trials, needed):
    """The table of one-sided 5 %: 12 of 16, 15 of 20; with four trials nothing can be shown."""
    assert listening.abx_critical(trials) == needed
    if needed <= trials:
        assert by_guessing(needed, trials) <= 0.05 < by_guessing(needed - 1, trials)


def test_an_abx_result():
    found = listening.abx(12, 16)
    assert found.p_value == pytest.approx(2517 / 65536)
    assert found.share == 0.75
    assert (found.low, found.high) == pytest.approx((0.4762, 0.9273), abs=1e-4)  # Clopper-Pearson
    assert found.d_prime_independent == listening.abx_d_prime(0.75, "independent")
    assert found.d_prime_differencing == listening.abx_d_prime(0.75, "differencing")
    assert math.isnan(listening.abx(7, 16).d_prime_independent)
    assert listening.abx(8, 16).d_prime_differencing == 0
    assert listening.abx(5, 5).d_prime_differencing == math.inf


@pytest.mark.parametrize("correct, trials", [(0, 10), (3, 10), (10, 10), (12, 16), (60, 100)])
def test_intervals_of_a_share(correct, trials):
    low, high = listening.proportion_interval(correct, trials)
    assert low == pytest.approx(0 if correct == 0 else scipy.stats.beta.ppf(0.025, correct, trials - correct + 1))
    assert high == pytest.approx(1 if correct == trials else scipy.stats.beta.ppf(0.975, correct + 1, trials - correct))
    z, p = scipy.stats.norm.ppf(0.95), correct / trials
    middle = (p + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * math.sqrt(p * (1 - p) / trials + z**2 / (4 * trials**2))
    assert listening.proportion_interval(correct, trials, level=0.9, method="wilson") == pytest.approx(
        (middle - half, middle + half), abs=1e-9
    )


@pytest.mark.parametrize("d_prime", [0.5, 1.5, 3.0])
def test_shares_are_those_of_simulated_observers(d_prime):
    """Two hundred thousand trials, A and B in either order: what each observer gets right."""
    draw = numpy_stream(0, "observer", str(d_prime))
    count = 200_000
    first_is_high, x_is_a = draw.random(count) < 0.5, draw.random(count) < 0.5
    a = draw.standard_normal(count) + d_prime * first_is_high
    b = draw.standard_normal(count) + d_prime * ~first_is_high
    x = draw.standard_normal(count) + d_prime * np.where(x_is_a, first_is_high, ~first_is_high)
    differencing = ((np.abs(x - a) < np.abs(x - b)) == x_is_a).mean()
    assert listening.abx_share(d_prime, "differencing") == pytest.approx(differencing, abs=0.005)
    independent = (((a > b) == (x > d_prime / 2)) == x_is_a).mean()
    assert listening.abx_share(d_prime, "independent") == pytest.approx(independent, abs=0.005)
    assert listening.abx_share(d_prime, "independent") > listening.abx_share(d_prime, "differencing")


@pytest.mark.parametrize("observer", ["independent", "differencing"])
def test_d_prime_is_the_share_the_other_way(observer):
    for d_prime in (0.0, 0.1, 1.0, 2.5, 6.0):
        assert listening.abx_d_prime(listening.abx_share(d_prime, observer), observer) == pytest.approx(
            d_prime, abs=1e-6
        )
    assert listening.abx_d_prime(0.5, observer) == pytest.approx(0, abs=1e-9)
    assert listening.abx_d_prime(1.0, observer) == math.inf
    with pytest.raises(InputError, match=r"share of correct answers is 0\.4"):
        listening.abx_d_prime(0.4, observer)
    with pytest.raises(InputError, match="no model"):
        listening.abx_share(1.0, "guessing")


def test_the_example_of_psyphy():
    """dprime.ABX(H = 0.75, F = 0.3) of R's psyphy solves these two equations for an unbiased share of 0.7257."""
    norm = scipy.stats.norm
    share = norm.cdf((norm.ppf(0.75) - norm.ppf(0.3)) / 2)
    for observer, second in (("differencing", 6), ("independent", 4)):
        d = listening.abx_d_prime(share, observer)
        order, match = norm.cdf(d / 2**0.5), norm.cdf(d / second**0.5)
        assert order * match + (1 - order) * (1 - match) == pytest.approx(share)


@pytest.mark.parametrize(
    "share, power, alpha", [(0.7, 0.8, 0.05), (0.9, 0.8, 0.05), (0.75, 0.95, 0.01), (0.6, 0.5, 0.05)]
)
def test_trials_that_are_needed(share, power, alpha):
    trials = listening.abx_trials(share, power=power, alpha=alpha)
    powers = [listening.abx_power(n, share, alpha=alpha) for n in range(1, trials + 150)]
    assert all(p >= power for p in powers[trials - 1 :])
    assert powers[trials - 2] < power
    needed = listening.abx_critical(trials, alpha=alpha)
    exact = sum(math.comb(trials, k) * share**k * (1 - share) ** (trials - k) for k in range(needed, trials + 1))
    assert listening.abx_power(trials, share, alpha=alpha) == pytest.approx(exact)


def test_trials_at_the_ends():
    assert listening.abx_trials(1.0) == 5
    assert listening.abx_power(4, 1.0) == 0  # four right answers are no proof
    assert listening.abx_power(16, 0.5) == pytest.approx(by_guessing(12, 16))
    with pytest.raises(InputError, match=r"more than 0\.5"):
        listening.abx_trials(0.5)
    with pytest.raises(InputError, match="would take"):
        listening.abx_trials(0.501)


@pytest.mark.parametrize("correct, trials", [(5, 4), (-1, 4), (0, 0), (2.5, 4)])
def test_counts_that_cannot_be(correct, trials):
    for function in (listening.abx, listening.abx_p_value, listening.proportion_interval):
        with pytest.raises(InputError, match="answers are correct"):
            function(correct, trials)


# Ratings: version 0 is the hidden reference, 1 the anchor, 2 and 3 are compared.


def ratings(listeners=8, items=20):
    draw = numpy_stream(1, "ratings")
    means = np.array([97.0, 25.0, 60.0, 72.0])
    wander = draw.normal(0, 6, (listeners, 1, 1)) * [0, 0, 1, 1]
    return np.clip(
        means + wander + draw.normal(0, [1, 8, 8, 8], (listeners, items, 4)), [91, 0, 0, 0], [100, 80, 100, 100]
    )


def test_good_listeners_are_kept():
    screening = listening.screen_listeners(ratings(), reference=0, anchor=1)
    assert screening.keep_J.all()
    assert not screening.reference_missed_J.any()
    assert not screening.anchor_failed_I.any()


@pytest.mark.parametrize("missed, rating, kept", [(3, 89.9, True), (4, 89.9, False), (20, 90.0, True)])
def test_the_hidden_reference_under_90_for_more_than_15_percent(missed, rating, kept):
    rated = ratings()
    rated[2, :missed, 0] = rating
    screening = listening.screen_listeners(rated, reference=0, anchor=1)
    assert screening.keep_J.tolist() == [True, True, kept] + [True] * 5
    assert screening.reference_missed_J[2] == (missed / 20 if rating < 90 else 0)


@pytest.mark.parametrize("praised, rating, kept", [(3, 90.1, True), (4, 90.1, False), (20, 90.0, True)])
def test_the_anchor_above_90_for_more_than_15_percent(praised, rating, kept):
    rated = ratings()
    rated[5, :praised, 1] = rating
    screening = listening.screen_listeners(rated, reference=0, anchor=1)
    assert screening.keep_J[5] == kept
    assert screening.keep_J.sum() == 7 + kept
    assert listening.screen_listeners(rated, reference=0).keep_J.all()  # without an anchor nobody is asked of it


def test_items_whose_anchor_is_as_good_as_the_reference_count_against_nobody():
    rated = ratings()
    rated[:3, :5, 1] = 95  # three of eight listeners: more than a quarter
    screening = listening.screen_listeners(rated, reference=0, anchor=1)
    assert screening.anchor_failed_I.tolist() == [True] * 5 + [False] * 15
    assert screening.keep_J.all()
    rated[2, :5, 1] = 20  # two of eight are a quarter, not more
    screening = listening.screen_listeners(rated, reference=0, anchor=1)
    assert not screening.anchor_failed_I.any()
    assert screening.keep_J.tolist() == [False, False] + [True] * 6


def test_ratings_that_were_not_given():
    rated = ratings()
    rated[0, 5:, 0] = np.nan
    rated[0, 0, 0] = 50  # one of five is more than 15 %
    rated[1, :, 0] = np.nan
    screening = listening.screen_listeners(rated, reference=0, anchor=1)
    assert screening.keep_J.tolist() == [False, False] + [True] * 6
    assert screening.reference_missed_J[0] == 0.2
    assert math.isnan(screening.reference_missed_J[1])


def test_means_and_their_intervals_are_over_listeners():
    rated = ratings()
    of_listener = rated.mean(axis=1)
    for version, interval in enumerate(listening.rating_intervals(rated)):
        expected = scipy.stats.t.interval(
            0.95, 7, of_listener[:, version].mean(), scipy.stats.sem(of_listener[:, version])
        )
        assert interval.value == pytest.approx(of_listener[:, version].mean())
        assert (interval.low, interval.high) == pytest.approx(expected)
        assert (interval.count, interval.left_out) == (8, 0)
    by_bootstrap = listening.rating_intervals(rated, method="bootstrap", level=0.9, seed=3)
    assert by_bootstrap[2] == bootstrap_interval(of_listener[:, 2], 0.9, 3)
    rated[3, :, 2], rated[4, 1:, 2] = np.nan, np.nan
    holes = listening.rating_intervals(rated)[2]
    assert (holes.count, holes.left_out) == (7, 1)
    assert holes.value == pytest.approx(np.nanmean(np.nanmean(np.delete(rated[:, :, 2], 3, axis=0), axis=1)))
    alone = listening.rating_intervals(rated[:1])[0]
    assert alone.value == pytest.approx(rated[0, :, 0].mean())
    assert math.isnan(alone.low)


def exact_wilcoxon(differences):
    """All 2^n signs."""
    rank = scipy.stats.rankdata(np.abs(differences))
    seen = rank[differences > 0].sum()
    sums = [
        sum(r for r, up in zip(rank, signs, strict=True) if up) for signs in itertools.product((0, 1), repeat=len(rank))
    ]
    far = abs(seen - rank.sum() / 2) - 1e-9
    return np.mean([abs(s - rank.sum() / 2) >= far for s in sums])


def test_paired_comparisons():
    rated = ratings()
    found = listening.compare_versions(rated)
    assert [(c.first, c.second) for c in found] == list(itertools.combinations(range(4), 2))
    of_listener = rated.mean(axis=1)
    for comparison in found:
        off = of_listener[:, comparison.first] - of_listener[:, comparison.second]
        assert comparison.difference == pytest.approx(off.mean())
        assert comparison.p_value == pytest.approx(exact_wilcoxon(off))
        assert comparison.listeners == 8
    assert [c.p_holm for c in found] == listening.holm([c.p_value for c in found])
    assert found[0].rank_biserial == 1  # everyone prefers the reference to the anchor
    assert found[0].p_value == 2 / 2**8
    (one,) = listening.compare_versions(rated, [(1, 0)])
    assert (one.rank_biserial, one.p_holm) == (-1, one.p_value)


def test_signed_ranks():
    """Ranks 1 2 3 4 5 6, the second and third against: W+ = 16, W- = 5 of 21."""
    differences = np.array([0.5, -1.0, -1.5, 2.0, 2.5, 3.0])
    p, effect = listening.signed_ranks(differences)
    assert effect == pytest.approx(11 / 21)
    assert p == pytest.approx(exact_wilcoxon(differences))
    assert p == pytest.approx(0.3125)  # the table: W = 5 of n = 6
    assert listening.signed_ranks(np.append(differences, 0.0)) == (p, effect)  # a tie is left out
    assert listening.signed_ranks([0.0, 0.0]) == (1.0, 0.0)
    assert all(math.isnan(value) for value in listening.signed_ranks([]))
    tied = np.array([1.0, 1.0, -1.0, 2.0, 2.0, 2.0, 3.0])
    assert listening.signed_ranks(tied)[0] == pytest.approx(exact_wilcoxon(tied))
    with pytest.raises(InputError, match="not finite"):
        listening.signed_ranks([1.0, math.nan])


def test_versions_that_nobody_or_few_compared():
    rated = ratings()
    rated[:, :, 3] = rated[:, :, 2]
    (same,) = listening.compare_versions(rated, [(2, 3)])
    assert (same.p_value, same.rank_biserial, same.difference) == (1, 0, 0)
    rated[:4, :, 2], rated[4:, :, 3] = np.nan, np.nan
    none, real = listening.compare_versions(rated, [(2, 3), (0, 1)])
    assert math.isnan(none.p_value)
    assert none.listeners == 0
    assert real.p_holm == real.p_value  # a test that was not made corrects nothing


def test_holm():
    """Holm 1979 by hand: 4 x 0.01, 3 x 0.013, 2 x 0.03, 1 x 0.04, never falling."""
    assert listening.holm([0.03, 0.01, 0.04, 0.013]) == pytest.approx([0.06, 0.04, 0.06, 0.04])
    assert listening.holm([0.6, 0.7]) == [1.0, 1.0]
    assert listening.holm([0.02]) == [0.02]
    assert listening.holm([]) == []
    found = listening.holm([0.01, math.nan, 0.04])
    assert found[::2] == [0.02, 0.04]
    assert math.isnan(found[1])
    with pytest.raises(InputError, match="p-values"):
        listening.holm([1.2])


@pytest.mark.parametrize("rated, says", [(np.zeros((3, 4)), "shape"), (np.full((2, 2, 2), 101), "0 to 100")])
def test_ratings_that_cannot_be(rated, says):
    for call in (
        lambda: listening.screen_listeners(rated, reference=0),
        lambda: listening.rating_intervals(rated),
        lambda: listening.compare_versions(rated),
    ):
        with pytest.raises(InputError, match=says):
            call()
    with pytest.raises(InputError, match="anchor is version 4"):
        listening.screen_listeners(ratings(), reference=0, anchor=4)
    with pytest.raises(InputError, match="versions 0 to 3"):
        listening.compare_versions(ratings(), [(0, 9)])
