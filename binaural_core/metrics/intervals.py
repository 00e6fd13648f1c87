"""How sure a mean is: bootstrap intervals, also of differences between two versions of the same clips.

Conventions: intervals are BCa, bias-corrected and accelerated (Efron 1987; Efron and Tibshirani 1993, sec. 14.3). What is
drawn again and again, with replacement, are the values, or whole clusters of them: clips that share a dry sound or a
listener are not independent, and an interval that takes them for it is too narrow. NaN is left out, and counted.
With few units every bootstrap interval is too narrow: of nominal 95 %, ten normal values give 89 %, twenty 92 %, forty 93 %.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm

from binaural_core.errors import need
from binaural_core.metrics.pairs import as_float64
from binaural_core.seeds import numpy_stream

Statistic = Literal["mean", "median"]
DRAWS = 4000
AT_ONCE = 2_000_000  # weights held in memory
ROUNDING = 1e-13  # of the largest value; draws this near to the statistic are equal to it


class Interval(NamedTuple):
    """A statistic and between which bounds it lies."""

    value: float
    low: float
    high: float
    count: int  # values that were used
    left_out: int  # NaN
    level: float = 0.95


def bootstrap_interval(
    values: ArrayLike,
    level: float = 0.95,
    seed: int = 0,
    statistic: Statistic = "mean",
    clusters: Sequence[Hashable] | None = None,
    *,
    draws: int = DRAWS,
) -> Interval:
    """BCa interval of the mean or median of values (n,).

    clusters : a name for each value; values of one name are drawn together. The same seed gives the same interval.
    One unit (value or cluster) has no interval: low and high are NaN; without any value all is NaN. Values that are all
    alike have an interval of width 0.
    Raises InputError for infinite values, other shapes, or a level outside (0, 1).
    """
    values_n = as_float64(values, "values")
    names_n = list(range(values_n.size)) if clusters is None else list(clusters)
    need(
        values_n.ndim == 1 and len(names_n) == len(values_n),
        f"the values have shape {values_n.shape}, with {len(names_n)} clusters",
        why="there is one value and one cluster's name for each clip",
        fix="give both as (n,)",
    )
    need(
        not np.isinf(values_n).any(),
        "a value is infinite",
        why="no mean of it is",
        fix="look for the clip that it comes from; NaN says that a measure is not defined",
    )
    need(0 < level < 1, f"the level is {level}", why="it is a probability", fix="give 0.95 for 95 %")
    need(statistic in ("mean", "median"), f"the statistic is {statistic!r}", why="two are known", fix="mean or median")
    need(draws >= 100, f"draws={draws}", why="the bounds are quantiles of them", fix="give some thousands")
    used_n = np.isfinite(values_n)
    values_n, left_out = values_n[used_n], int((~used_n).sum())
    if not len(values_n):
        return Interval(np.nan, np.nan, np.nan, 0, left_out, level)
    numbers: dict[Hashable, int] = {}
    unit_n = np.array(
        [numbers.setdefault(name, len(numbers)) for name, use in zip(names_n, used_n, strict=True) if use]
    )
    value = float(_statistic(values_n, np.ones((1, len(values_n))), statistic)[0])
    if len(numbers) == 1:
        return Interval(value, np.nan, np.nan, len(values_n), left_out, level)
    low, high = _bca(values_n, unit_n, value, level, statistic, draws, seed)
    return Interval(value, low, high, len(values_n), left_out, level)


def difference_interval(
    first: ArrayLike,
    second: ArrayLike,
    level: float = 0.95,
    seed: int = 0,
    statistic: Statistic = "mean",
    clusters: Sequence[Hashable] | None = None,
    *,
    draws: int = DRAWS,
) -> Interval:
    """BCa interval of the mean or median of first - second, the same clips in the same order; a NaN leaves its pair out.

    Where 0 is outside, the two versions differ. Narrower than what two separate intervals tell, as clips differ more than
    versions do.
    """
    first_n, second_n = as_float64(first, "values"), as_float64(second, "values")
    need(
        first_n.shape == second_n.shape,
        f"there are values of shapes {first_n.shape} and {second_n.shape}",
        why="each clip is compared with itself",
        fix="give both for the same clips in the same order",
    )
    return bootstrap_interval(first_n - second_n, level, seed, statistic, clusters, draws=draws)


def measure_intervals(
    rows: Iterable[Mapping[str, float]],
    level: float = 0.95,
    seed: int = 0,
    statistic: Statistic = "mean",
    clusters: Sequence[Hashable] | None = None,
) -> dict[str, Interval]:
    """The interval of every measure over clips: what `summarize` gave for each in, a column for `table` out.

    A measure that a clip lacks counts as NaN there.
    """
    rows = list(rows)
    names = dict.fromkeys(name for row in rows for name in row)
    return {
        name: bootstrap_interval([row.get(name, np.nan) for row in rows], level, seed, statistic, clusters)
        for name in names
    }


def _bca(
    values_n: np.ndarray, unit_n: np.ndarray, value: float, level: float, statistic: Statistic, draws: int, seed: int
) -> tuple[float, float]:
    units = unit_n.max() + 1
    generator = numpy_stream(seed, "bootstrap")
    drawn = []
    at_once = max(1, AT_ONCE // len(values_n))
    for start in range(0, draws, at_once):
        times = generator.multinomial(units, np.full(units, 1 / units), size=min(at_once, draws - start))
        drawn.append(_statistic(values_n, times[:, unit_n], statistic))
    drawn_R = np.concatenate(drawn)
    alike_R = np.abs(drawn_R - value) <= ROUNDING * np.abs(values_n).max()
    drawn_R[alike_R] = value
    less, equal = (drawn_R < value).mean(), alike_R.mean()
    bias = norm.ppf(np.clip(less + equal / 2, 0.5 / draws, 1 - 0.5 / draws))  # eq. 14.14
    without_U = np.concatenate([_statistic(values_n, (unit_n != u)[None], statistic) for u in range(units)])
    off_U = without_U.mean() - without_U
    cubed = (off_U**2).sum() ** 1.5
    acceleration = (off_U**3).sum() / (6 * cubed) if cubed > 0 else 0.0  # eq. 14.15
    tail = bias + norm.ppf([(1 - level) / 2, (1 + level) / 2])
    at = norm.cdf(bias + tail / np.maximum(1 - acceleration * tail, 1e-3))  # eq. 14.10
    low, high = np.quantile(drawn_R, at)
    return float(low), float(high)


def _statistic(values_n: np.ndarray, weight_Rn: np.ndarray, statistic: Statistic) -> np.ndarray:
    """Mean or median of the values, each taken as often as its weight says; one for every row of weights."""
    if statistic == "mean":
        return weight_Rn @ values_n / weight_Rn.sum(axis=1)
    order = np.argsort(values_n)
    sorted_n, share_Rn = values_n[order], np.cumsum(weight_Rn[:, order], axis=1)
    half_R1 = share_Rn[:, -1:] / 2
    return 0.5 * (sorted_n[(share_Rn >= half_R1).argmax(axis=1)] + sorted_n[(share_Rn > half_R1).argmax(axis=1)])
