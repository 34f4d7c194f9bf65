"""95 % confidence intervals of what is measured on a few independent videos."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import scipy.stats
from jaxtyping import Float

ENOUGH = 6
"""Videos that a bootstrap interval takes at least. It lies within the range of the values, and the range of n values
covers the centre of a symmetric distribution with probability 1 − 2^(1−n): 95 % takes six."""
RESAMPLES = 9999
"""For quantiles: the widest, at six values, then have 24 resamples beyond them."""
SPREAD_RESAMPLES = 400
"""For a deviation, which is then known to 1 / √(2 · 400) = 3.5 %."""


class Interval(NamedTuple):
    """A value and its 95 % confidence interval; the ends are NaN if there is none."""

    mean: float
    low: float = np.nan
    high: float = np.nan


def positive_interval(values: Float[np.ndarray, "n"]) -> Interval:
    """Interval for the mean of independent values that can't be negative: Student's t for the logarithm of the mean.

    log m has the standard error s / (m √n) (delta method), so that the interval is m · exp(± t s / (m √n)) and never
    begins below zero. A single value has no interval.
    """
    mean = float(np.mean(values))
    if len(values) < 2 or not np.isfinite(values).all():
        return Interval(mean)
    if mean == 0:
        return Interval(0.0, 0.0, 0.0)
    error = float(np.std(values, ddof=1) / (mean * np.sqrt(len(values))))
    factor = float(np.exp(scipy.stats.t.ppf(0.975, len(values) - 1) * error))
    return Interval(mean, mean / factor, mean * factor)


def ratio_interval(
    values: Float[np.ndarray, "n"], reference: Float[np.ndarray, "m"], paired: bool, seed: int = 0
) -> Interval:
    """Interval for mean(values) / mean(reference), by the bootstrap over videos; `paired` if n = m and they belong
    together.

    The quantiles are those of the expanded percentile interval, because plain ones lie too near with few values (see
    `_expanded`). With fewer than `ENOUGH` values on a side there is no interval, and none if the reference can be zero.
    """
    ratio = float(np.mean(values) / np.mean(reference)) if np.mean(reference) else np.nan
    few = min(len(values), len(reference))
    if few < ENOUGH or not (np.isfinite(values).all() and (reference > 0).all()):
        return Interval(ratio)
    tail = float(scipy.stats.norm.cdf(-_expanded(few)))
    low, high = _quantiles((values, reference), paired, tail, seed)
    return Interval(ratio, low, high)


def _quantiles(
    data: tuple[Float[np.ndarray, "n"], Float[np.ndarray, "m"]], paired: bool, tail: float, seed: int
) -> tuple[float, float]:
    def ratio(a: np.ndarray, b: np.ndarray, axis: int) -> np.ndarray:
        return a.mean(axis) / b.mean(axis)

    found = scipy.stats.bootstrap(
        data,
        ratio,
        n_resamples=RESAMPLES,
        batch=1000,  # of the resamples are in memory at a time
        paired=paired,
        confidence_level=1 - 2 * tail,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(found.low), float(found.high)


def spread_of_log(value: float, statistic: Callable[..., float], groups: Sequence[np.ndarray], seed: int) -> Interval:
    """Interval value · exp(± q s) of a positive statistic, s the bootstrap's deviation of its logarithm, q `_expanded`.

    `statistic` takes the groups, each a set of videos along its first axis; the videos of each group are drawn anew
    with replacement. Percentiles would not do where a statistic is biased with few videos, as a Fréchet distance is:
    resamples are biased once more. This interval is about the value that such numbers of videos give on average.
    """
    rng, logs = np.random.default_rng(seed), []
    for _ in range(SPREAD_RESAMPLES):
        drawn = statistic(*(group[rng.integers(0, len(group), len(group))] for group in groups))
        logs.append(np.log(max(drawn, np.finfo(float).tiny)))
    factor = float(np.exp(_expanded(min(map(len, groups))) * np.std(logs, ddof=1)))
    return Interval(value, value / factor, value * factor)


def _expanded(count: int) -> float:
    """√(n / (n − 1)) t_{0.975, n−1}, in bootstrap deviations: what Student's interval takes for the mean of n values.

    The expanded percentile interval of Hesterberg 2015 (doi 10.1080/00031305.2015.1089789).
    """
    return float(np.sqrt(count / (count - 1)) * scipy.stats.t.ppf(0.975, count - 1))
