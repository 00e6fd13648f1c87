"""What listeners' answers prove: ABX tests, and ratings with a hidden reference and anchor (MUSHRA).

Conventions: an ABX trial plays A, B and then X, which is one of them; a guess is right half of the time. Ratings are
(J, I, V): J listeners, I items (clips), V versions, 0 to 100, NaN where one was not given. Listeners, not ratings, are
what a result is to hold for: intervals and tests are over listeners, each with the mean over the items.

The books: Macmillan and Creelman 2005, Detection Theory, 2nd ed.; ITU-R BS.1534-3 (2015).
"""

import itertools
import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import scipy.optimize
import scipy.stats
from numpy.typing import ArrayLike
from scipy.stats import norm

from binaural_core.errors import need
from binaural_core.metrics.intervals import DRAWS, Interval, bootstrap_interval
from binaural_core.metrics.pairs import as_float64

Observer = Literal["independent", "differencing"]
MOST_TRIALS = 100_000
REFERENCE_AT_LEAST = 90.0
ANCHOR_AT_MOST = 90.0
MISTAKEN_SHARE = 0.15
ANCHOR_FAILS_SHARE = 0.25


class ABXResult(NamedTuple):
    """What an ABX test says."""

    correct: int
    trials: int
    share: float  # of correct answers
    low: float  # Clopper-Pearson bounds of the share
    high: float
    p_value: float  # one-sided: so many correct answers or more by guessing
    d_prime_independent: float  # 0 at chance, NaN below it; inf when all are correct
    d_prime_differencing: float
    level: float


def abx(correct: int, trials: int, *, level: float = 0.95) -> ABXResult:
    """The exact binomial test against guessing, the share's interval, and d' by both models of the observer.

    Trials of several listeners may be added up to ask whether these listeners hear a difference; what the share is among
    others needs one result per listener.

    >>> round(abx(12, 16).p_value, 4)
    0.0384
    """
    _counts(correct, trials)
    share = correct / trials
    low, high = proportion_interval(correct, trials, level=level)
    d_primes = [
        abx_d_prime(share, observer) if share >= 0.5 else math.nan for observer in ("independent", "differencing")
    ]
    return ABXResult(correct, trials, share, low, high, abx_p_value(correct, trials), *d_primes, level)


def abx_p_value(correct: int, trials: int) -> float:
    """Probability of so many correct answers or more when all are guessed (one-sided, exact)."""
    _counts(correct, trials)
    return float(scipy.stats.binom.sf(correct - 1, trials, 0.5))


def abx_share(d_prime: float, observer: Observer = "differencing") -> float:
    """Share of correct answers of an unbiased observer, 0.5 to 1.

    independent : compares all three with a criterion; the best possible, fits a fixed A and B. Macmillan and Creelman, ch. 9.
    differencing : compares the distances from X to A and to B; fits A and B that change from trial to trial. The same.
    """
    need(d_prime >= 0, f"d' is {d_prime}", why="the order of A and B says nothing here", fix="give 0 or more")
    second = {"independent": 2.0, "differencing": math.sqrt(6)}
    need(observer in second, f"no model is called {observer!r}", why=f"known are {', '.join(second)}", fix="give one")
    order, match = d_prime / math.sqrt(2), d_prime / second[observer]
    return float(norm.cdf(order) * norm.cdf(match) + norm.cdf(-order) * norm.cdf(-match))


def abx_d_prime(share: float, observer: Observer = "differencing") -> float:
    """d' of an unbiased observer from the share of correct answers, 0.5 (0) to 1 (inf): `abx_share` the other way."""
    need(
        0.5 <= share <= 1,
        f"the share of correct answers is {share}",
        why="below one half there is no d'; chance may do that",
        fix="give a share from 0.5 to 1",
    )
    if share == 1:
        return math.inf
    return float(scipy.optimize.brentq(lambda d: abx_share(d, observer) - share, 0, 50, xtol=1e-12))


def proportion_interval(
    correct: int, trials: int, *, level: float = 0.95, method: Literal["exact", "wilson"] = "exact"
) -> tuple[float, float]:
    """Two-sided interval of a share.

    exact : Clopper and Pearson 1934, never too narrow.   wilson : Wilson 1927 without correction, right on average.
    """
    _counts(correct, trials)
    need(0 < level < 1, f"the level is {level}", why="it is a probability", fix="give 0.95 for 95 %")
    need(method in ("exact", "wilson"), f"no interval is called {method!r}", why="two are known", fix="exact or wilson")
    return tuple(map(float, scipy.stats.binomtest(correct, trials).proportion_ci(level, method)))


def abx_critical(trials: int, *, alpha: float = 0.05) -> int:
    """The least number of correct answers with a p-value of alpha or less; trials + 1 when there is none."""
    _counts(0, trials)
    need(0 < alpha < 1, f"alpha is {alpha}", why="it is a probability", fix="give 0.05 for 5 %")
    correct = np.arange(trials + 2)
    return int(np.argmax(scipy.stats.binom.sf(correct - 1, trials, 0.5) <= alpha))


def abx_power(trials: int, share: float, *, alpha: float = 0.05) -> float:
    """Probability that listeners who are right with this probability pass the test."""
    need(0 <= share <= 1, f"the share is {share}", why="it is a probability", fix="give e.g. 0.7")
    return float(scipy.stats.binom.sf(abx_critical(trials, alpha=alpha) - 1, trials, share))


def abx_trials(share: float, *, alpha: float = 0.05, power: float = 0.8) -> int:
    """The least number of trials from which on the power is never less (it falls a little where the critical number rises).

    share : of correct answers, above 0.5, that is to be found; `abx_share` gives it for a d'.
    Raises InputError when more than 100,000 trials would be needed.
    """
    need(0.5 < share <= 1, f"the share is {share}", why="a guess is right half of the time", fix="give more than 0.5")
    need(0 < power < 1, f"the power is {power}", why="it is a probability", fix="give 0.8 for 80 %")
    need(0 < alpha < 1, f"alpha is {alpha}", why="it is a probability", fix="give 0.05 for 5 %")
    above = norm.ppf(1 - alpha) * 0.5 + max(norm.ppf(power), 0) * math.sqrt(share * (1 - share))
    rough = (above / (share - 0.5)) ** 2  # the normal approximation; the exact number is a little larger
    need(
        rough < MOST_TRIALS / 2,
        f"a share of {share} would take some {rough:.0f} trials",
        why=f"no test has more than {MOST_TRIALS}",
        fix="look for a larger difference",
    )
    trials_n = np.arange(1, int(2 * rough) + 100)
    critical_n = scipy.stats.binom.isf(alpha, trials_n, 0.5) + 1  # P(more than this) <= alpha
    power_n = scipy.stats.binom.sf(critical_n - 1, trials_n, share)
    short = np.flatnonzero(power_n < power)
    return int(trials_n[short[-1]] + 1) if len(short) else 1


class Screening(NamedTuple):
    """Which listeners count, and why the others do not."""

    keep_J: np.ndarray  # True: counts
    reference_missed_J: np.ndarray  # share of items whose hidden reference was rated under 90
    anchor_praised_J: np.ndarray  # share of items whose anchor was rated above 90 (without those of failed anchors)
    anchor_failed_I: np.ndarray  # items whose anchor more than a quarter of the listeners rated above 90


def screen_listeners(ratings_JIV: ArrayLike, *, reference: int, anchor: int | None = None) -> Screening:
    """Who can be relied on, by the rule of ITU-R BS.1534-3, sec. 4.1.2.

    reference, anchor : index of the hidden reference and of the mid-range anchor among the versions. A listener is left out
    who rated the reference below 90 for more than 15 % of the items, or the anchor above 90 for more than 15 %; an item
    whose anchor more than 25 % of the listeners rated above 90 says nothing about listeners, as the anchor does not differ
    there. Ratings that were not given do not count; a listener who never rated the reference is left out.
    """
    ratings_JIV = _ratings(ratings_JIV)
    _index(reference, ratings_JIV, "reference")
    missed_J = _share(ratings_JIV[:, :, reference] < REFERENCE_AT_LEAST, np.isfinite(ratings_JIV[:, :, reference]), 1)
    praised_J, failed_I = np.zeros(len(ratings_JIV)), np.zeros(ratings_JIV.shape[1], bool)
    if anchor is not None:
        _index(anchor, ratings_JIV, "anchor")
        high_JI, given_JI = ratings_JIV[:, :, anchor] > ANCHOR_AT_MOST, np.isfinite(ratings_JIV[:, :, anchor])
        failed_I = np.nan_to_num(_share(high_JI, given_JI, 0)) > ANCHOR_FAILS_SHARE
        praised_J = np.nan_to_num(_share(high_JI[:, ~failed_I], given_JI[:, ~failed_I], 1))
    keep_J = (missed_J <= MISTAKEN_SHARE) & (praised_J <= MISTAKEN_SHARE)
    return Screening(keep_J, missed_J, praised_J, failed_I)


def rating_intervals(
    ratings_JIV: ArrayLike,
    *,
    level: float = 0.95,
    method: Literal["t", "bootstrap"] = "t",
    seed: int = 0,
    draws: int = DRAWS,
) -> list[Interval]:
    """Mean rating of each version with its interval over listeners, each with the mean over the items.

    t : Student's, for listeners whose means are roughly normal.   bootstrap : BCa (`bootstrap_interval`).
    Fewer than two listeners have no interval (NaN). `Interval.count` counts listeners.
    """
    need(method in ("t", "bootstrap"), f"no interval is called {method!r}", why="two are known", fix="t or bootstrap")
    need(0 < level < 1, f"the level is {level}", why="it is a probability", fix="give 0.95 for 95 %")
    means_VJ = _listener_means(_ratings(ratings_JIV)).T
    if method == "bootstrap":
        return [bootstrap_interval(means_J, level, seed, draws=draws) for means_J in means_VJ]
    return [_student(means_J, level) for means_J in means_VJ]


class Comparison(NamedTuple):
    """Two versions, compared by the same listeners."""

    first: int
    second: int
    difference: float  # mean of first - second
    p_value: float  # Wilcoxon's signed ranks, two-sided
    p_holm: float  # corrected for the number of comparisons
    rank_biserial: float  # effect size, -1 to 1: 1 when every listener prefers the first
    listeners: int  # who rated both


def compare_versions(ratings_JIV: ArrayLike, pairs: Sequence[tuple[int, int]] | None = None) -> list[Comparison]:
    """Wilcoxon's signed-rank test of every two versions over listeners' means, Holm-corrected, with an effect size.

    pairs : indices of versions to compare; all when None. The fewer are asked, the less is corrected.
    Ties (a listener who hears no difference) are left out of the test (Wilcoxon 1945); without any difference p is 1 and the
    effect 0; without a listener who rated both, all is NaN. Exact without equal ranks up to 50 listeners.
    Effect: matched-pairs rank-biserial correlation, (W+ - W-) / (W+ + W-) (Kerby 2014).
    """
    ratings_JIV = _ratings(ratings_JIV)
    means_JV = _listener_means(ratings_JIV)
    pairs = list(itertools.combinations(range(ratings_JIV.shape[2]), 2) if pairs is None else pairs)
    for index in itertools.chain.from_iterable(pairs):
        _index(index, ratings_JIV, "version")
    found = []
    for first, second in pairs:
        off_J = means_JV[:, first] - means_JV[:, second]
        off_J = off_J[np.isfinite(off_J)]
        difference = float(off_J.mean()) if len(off_J) else math.nan
        found.append((first, second, difference, *signed_ranks(off_J), len(off_J)))
    corrected = holm([row[3] for row in found])
    return [
        Comparison(first, second, difference, p, p_holm, effect, listeners)
        for (first, second, difference, p, effect, listeners), p_holm in zip(found, corrected, strict=True)
    ]


def signed_ranks(differences: ArrayLike) -> tuple[float, float]:
    """(p-value, rank-biserial correlation) of paired differences (n,): Wilcoxon's test, two-sided. Zeros are left out."""
    off_n = as_float64(differences, "differences")
    need(
        off_n.ndim == 1 and bool(np.isfinite(off_n).all()),
        f"the differences have shape {off_n.shape}, or are not finite",
        why="they are ranked",
        fix="leave out who did not rate both",
    )
    moved_n = off_n[off_n != 0]
    if not len(moved_n):
        return (1.0, 0.0) if len(off_n) else (math.nan, math.nan)
    rank_n = scipy.stats.rankdata(np.abs(moved_n))
    return float(scipy.stats.wilcoxon(moved_n).pvalue), float((np.sign(moved_n) * rank_n).sum() / rank_n.sum())


def holm(p_values: ArrayLike) -> list[float]:
    """p-values corrected for their number by Holm's step-down (1979): below alpha is false anywhere in alpha of all tests.

    NaN (no test was made) stays and does not count.
    """
    p_n = as_float64(p_values, "p-values")
    need(
        p_n.ndim == 1 and bool(((p_n >= 0) & (p_n <= 1) | np.isnan(p_n)).all()),
        f"the p-values are {p_n}",
        why="they are probabilities",
        fix="give numbers from 0 to 1",
    )
    made = np.flatnonzero(~np.isnan(p_n))
    order = made[np.argsort(p_n[made], kind="stable")]
    corrected_n = np.full(len(p_n), np.nan)
    corrected_n[order] = np.minimum(1, np.maximum.accumulate(p_n[order] * (len(order) - np.arange(len(order)))))
    return corrected_n.tolist()


def _student(means_J: np.ndarray, level: float) -> Interval:
    left_out = int(np.isnan(means_J).sum())
    means_J = means_J[np.isfinite(means_J)]
    count = len(means_J)
    mean = float(means_J.mean()) if count else math.nan
    half = math.nan
    if count > 1:
        half = float(scipy.stats.t.ppf((1 + level) / 2, count - 1) * means_J.std(ddof=1) / math.sqrt(count))
    return Interval(mean, mean - half, mean + half, count, left_out, level)


def _listener_means(ratings_JIV: np.ndarray) -> np.ndarray:
    """(J, V): each listener's mean over the items rated; NaN for a listener who rated none."""
    given_JIV = np.isfinite(ratings_JIV)
    count_JV = given_JIV.sum(axis=1)
    total_JV = np.where(given_JIV, ratings_JIV, 0).sum(axis=1)
    return np.where(count_JV > 0, total_JV / np.maximum(count_JV, 1), np.nan)


def _share(true: np.ndarray, given: np.ndarray, axis: int) -> np.ndarray:
    count = given.sum(axis=axis)
    return np.where(count > 0, (true & given).sum(axis=axis) / np.maximum(count, 1), np.nan)


def _ratings(ratings_JIV: ArrayLike) -> np.ndarray:
    ratings_JIV = as_float64(ratings_JIV, "ratings")
    need(
        ratings_JIV.ndim == 3 and ratings_JIV.size > 0,
        f"the ratings have shape {ratings_JIV.shape}",
        why="they are (listeners, items, versions)",
        fix="reorder them, with NaN where no rating was given",
    )
    need(
        bool(((ratings_JIV >= 0) & (ratings_JIV <= 100) | np.isnan(ratings_JIV)).all()),
        "a rating is not from 0 to 100",
        why="that is the scale of BS.1534",
        fix="correct or scale the ratings",
    )
    return ratings_JIV


def _index(index: int, ratings_JIV: np.ndarray, name: str) -> None:
    need(
        0 <= index < ratings_JIV.shape[2],
        f"the {name} is version {index}",
        why=f"there are versions 0 to {ratings_JIV.shape[2] - 1}",
        fix="give its index",
    )


def _counts(correct: int, trials: int) -> None:
    need(
        trials >= 1 and 0 <= correct <= trials and int(correct) == correct and int(trials) == trials,
        f"{correct} of {trials} answers are correct",
        why="both are whole numbers, and there is at least one trial",
        fix="count again",
    )
