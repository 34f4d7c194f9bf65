"""Intervals cover what they say they cover."""

import numpy as np
import pytest
import scipy.stats

from vidboot.evaluation.intervals import ENOUGH, positive_interval, ratio_interval, spread_of_log


@pytest.mark.parametrize("count", [2, 4, 12])
def test_intervals_of_errors_cover_the_mean_and_never_begin_below_zero(count):
    """Squares of normal errors over 8 pixels: 8 times the mean is chi-square with 8 degrees of freedom, of mean 1."""
    values = np.random.default_rng(0).chisquare(8, (600, count)) / 8
    found = [positive_interval(row) for row in values]
    assert all(0 < low < mean < high for mean, low, high in found)
    assert 0.92 <= np.mean([low <= 1 <= high for _, low, high in found]) <= 0.98


def test_with_many_alike_values_the_interval_is_students():
    values = np.random.default_rng(0).normal(1, 0.01, 50)
    expected = scipy.stats.t.interval(0.95, 49, values.mean(), scipy.stats.sem(values))
    assert positive_interval(values)[1:] == pytest.approx(expected, rel=1e-4)


def test_one_value_has_no_interval_and_zeros_have_zero():
    mean, low, high = positive_interval(np.array([0.3]))
    assert mean == 0.3 and np.isnan(low) and np.isnan(high)
    assert positive_interval(np.zeros(4)) == (0, 0, 0)


@pytest.mark.parametrize("paired", [True, False])
def test_intervals_of_ratios_cover_the_ratio(paired, monkeypatch):
    """Both sides share a factor for each video if they are paired; the second is 1.2 times as large in the mean."""
    monkeypatch.setattr("vidboot.evaluation.intervals.RESAMPLES", 999)
    rng, covered, widths = np.random.default_rng(0), [], []
    for trial in range(100):
        common = rng.gamma(8, 1 / 8, ENOUGH + 2)
        other = common if paired else rng.gamma(8, 1 / 8, ENOUGH + 2)
        _, low, high = ratio_interval(common * rng.normal(1.2, 0.06, len(common)), other, paired, trial)
        covered.append(low <= 1.2 <= high)
        widths.append(high - low)
    assert np.mean(covered) >= 0.88  # 95 % less 3 standard errors of 100 trials
    assert bool(np.median(widths) < 0.2) is paired


def test_too_few_videos_give_a_ratio_without_an_interval():
    # The range of n values covers the centre of a symmetric distribution with probability 1 − 2 · 2^−n.
    assert 1 - 2 * 0.5**ENOUGH >= 0.95 > 1 - 2 * 0.5 ** (ENOUGH - 1)
    mean, low, high = ratio_interval(np.full(ENOUGH - 1, 3.0), np.full(20, 2.0), paired=False)
    assert mean == 1.5 and np.isnan(low) and np.isnan(high)


def test_the_spread_of_a_mean_is_its_standard_error():
    values = np.random.default_rng(0).normal(10, 1, 100)
    value, low, high = spread_of_log(values.mean(), np.mean, [values], 0)
    error = scipy.stats.sem(values) / values.mean()
    assert np.log(high / low) / 2 == pytest.approx(scipy.stats.t.ppf(0.975, 99) * error, rel=0.1)
    assert low * high == pytest.approx(value**2)
