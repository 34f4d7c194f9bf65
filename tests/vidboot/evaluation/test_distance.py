"""The Fréchet distance against closed forms and scipy, and what is said of it on data where the truth is known."""

import numpy as np
import pytest
import scipy.linalg
import torch

from vidboot.evaluation import distance as module
from vidboot.evaluation import intervals
from vidboot.evaluation.distance import features_of, frechet_distance, measure_distance
from vidboot.evaluation.features import FeatureNetwork


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr(module, "SPLITS", 100)
    monkeypatch.setattr(intervals, "SPREAD_RESAMPLES", 100)


def features(count, seed, dimensions=4, windows=1, scale=1.0, shift=0.0):
    """Independent standard normal features, scaled and shifted."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((count, windows, dimensions)) * scale + shift


@pytest.mark.parametrize("count", [20_000, 6])
def test_of_uncorrelated_gaussians_it_has_its_closed_form(count):
    """Σ (μ_a − μ_b)² + (s_a − s_b)², with the samples' means and standard deviations."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((count, 4))
    noise -= noise.mean(0)
    noise = np.linalg.qr(noise)[0] * np.sqrt(count - 1)  # exactly uncorrelated, of variance one
    spread_a, spread_b, shift = np.array([1, 2, 3, 0.5]), np.array([2, 2, 1, 0.1]), np.array([0, 1, 0, -2.0])
    expected = (shift**2).sum() + ((spread_a - spread_b) ** 2).sum()
    assert frechet_distance(noise * spread_a, noise * spread_b + shift) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(noise, noise) == pytest.approx(0, abs=1e-9)


def test_of_correlated_features_it_agrees_with_the_matrix_root_of_scipy():
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((50, 5)) @ rng.standard_normal((5, 5)) + rng.standard_normal(5) for _ in range(2))
    covariances = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1]).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(covariances[0] + covariances[1] - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-8)


def test_with_fewer_samples_than_features():
    a = np.random.default_rng(1).standard_normal((5, 12))
    assert frechet_distance(a, a + 1) == pytest.approx(12, rel=1e-6)
    assert frechet_distance(a, a[:1]) is None and frechet_distance(a[:1], a) is None
    assert frechet_distance(a, np.full((3, 12), np.nan)) is None


def test_the_interval_covers_what_such_numbers_of_videos_give_on_average(monkeypatch):
    monkeypatch.setattr(intervals, "SPREAD_RESAMPLES", 60)
    monkeypatch.setattr(module, "SPLITS", 2)

    def draw(seed):
        return features(16, (0, seed), shift=1), features(16, (1, seed))

    truth = np.mean([frechet_distance(a[:, 0], b[:, 0]) for a, b in map(draw, range(1000, 1600))])
    found = [measure_distance(*draw(seed), features(16, (2, seed))).value for seed in range(100)]
    assert np.mean([low <= truth <= high for _, low, high in found]) >= 0.87  # 95 % less 3.5 standard errors
    assert np.median([high / low for _, low, high in found]) < 4


def test_real_videos_are_at_their_floor_and_others_are_not():
    real, training = features(32, 0), features(32, 1)
    same = measure_distance(features(32, 2), real, training)
    assert same.shown and same.floor.low <= same.value.mean <= same.floor.high
    assert "no difference" in same.sentence
    other = measure_distance(features(32, 2, shift=1), real, training)
    assert other.shown and other.value.low > other.floor.high and "farther" in other.sentence
    assert other.floor == same.floor
    copied = measure_distance(real + 0.01, real, training)
    assert copied.value.mean < copied.floor.low and "copied" in copied.sentence


def test_the_floor_is_of_the_same_numbers_of_videos():
    """Two sets of n standard normal features in D dimensions: E ‖μ_a − μ_b‖² alone is 2 D / n; all falls as 1 / n."""
    pools = {count: (features(count, 0), features(count, 1), features(count, 2)) for count in (16, 64)}
    floors = {count: measure_distance(*sets).floor.mean for count, sets in pools.items()}
    assert floors[16] > 2 * 4 / 16 and 2.5 < floors[16] / floors[64] < 8
    made, real, training = features(64, 0), features(64, 1), features(64, 2)
    few = measure_distance(made, real[:16], training[:4])  # 20 real videos: ten against ten
    assert few.sentence.startswith("10 against 10 videos")


def test_a_distance_that_so_few_videos_cannot_tell_is_not_shown():
    """Of 64 features, 8 videos against 8 leave the noise clouds nearer than real videos: all alike is nearer still."""
    real, training = features(8, 0, 64), features(8, 1, 64)
    alike = features(8, 2, 64, scale=0.1)
    assert frechet_distance(alike[:, 0], real[:, 0]) < frechet_distance(training[:, 0], real[:, 0])
    found = measure_distance(alike, real, training)
    assert not found.shown and found.sentence.startswith("Not shown: with 8 against 8 videos")
    assert found.floor.high > found.constant and found.constant == pytest.approx(64, rel=0.1)
    many = measure_distance(features(400, 2, 64, scale=0.1), features(400, 0, 64), features(400, 1, 64))
    assert many.shown and many.value.mean > many.floor.high


def test_with_fewer_than_six_videos_and_with_too_short_ones_there_is_none():
    four = measure_distance(features(4, 0), features(4, 1), features(4, 2))
    assert not four.shown and "fewer than 6" in four.sentence and np.isnan(four.value.mean)
    short = measure_distance(features(16, 0)[:, :0], features(16, 1), features(16, 2))
    assert not short.shown and "shorter" in short.sentence


def test_each_video_keeps_its_own_windows():
    network = FeatureNetwork(lambda x: x.flatten(1)[:, :1], 2, "the first value")
    videos = torch.arange(3.0).reshape(3, 1, 1, 1, 1) * 10 + torch.arange(6.0).reshape(1, 1, 6, 1, 1)
    assert features_of(network, videos)[..., 0].tolist() == [[0, 2, 4], [10, 12, 14], [20, 22, 24]]
    assert features_of(network, videos[:, :, :1]).shape == (3, 0, 1)
