import math

import pytest
import torch

from vidboot.config import NoiseConfig
from vidboot.experiments.learning_curve.rivals.classifier import (
    EPSILON,
    NoisyClassifier,
    classify,
    least_level,
    step_operations,
    train_classifier,
)
from vidboot.training.batch import Batch

NOISE = NoiseConfig(sigma_min=0.05, sigma_max=20.0, p_mean=-0.5, p_std=1.5)
LEVELS = [0.1, 0.2, 0.4, 0.8]


@pytest.mark.parametrize(
    "probabilities, least",
    [
        ([0.99, 0.8, 0.54, 0.5], 0.4),
        ([0.99, 0.8, 0.6, 0.5], 0.8),
        ([0.5, 0.8, 0.54, 0.5], 0.4),  # it knows nothing yet of the lowest level
        ([0.54, 0.5, 0.5, 0.5], 0.1),  # never told apart: admitted everywhere
        ([0.9, 0.9, 0.9, 0.9], math.inf),
    ],
)
def test_poor_videos_are_admitted_from_where_on_nothing_tells_them_apart(probabilities, least):
    assert least_level(LEVELS, probabilities) == least


def drawing(deviation, seed, shape=(16, 3, 2, 8, 8)):
    """Videos of white noise of a standard deviation."""
    generator = torch.Generator().manual_seed(seed)

    def draw():
        x0, noise = (torch.randn(shape, generator=generator) for _ in range(2))
        levels = torch.tensor([NOISE.sample(generator) for _ in range(shape[0])])
        mask = torch.ones(shape[0], 1, *shape[2:], dtype=torch.bool)
        return Batch(deviation * x0, mask, mask, levels, noise, [0] * shape[0], [""] * shape[0])

    return draw


def bayes(sigma, good, poor, values, count=4000):
    """Mean of the true P(poor | x, σ) over poor videos: the likelihoods of white noise of two variances."""
    torch.manual_seed(0)
    of_good, of_poor = good**2 + sigma**2, poor**2 + sigma**2
    squares = of_poor * torch.distributions.Chi2(float(values)).sample((count,))
    logit = 0.5 * (values * math.log(of_good / of_poor) + squares * (1 / of_good - 1 / of_poor))
    return float(torch.sigmoid(logit).mean())


def test_its_level_is_that_of_the_best_classifier_where_that_is_known():
    """Good videos have a standard deviation of 0.5, poor ones 0.35: noise hides the difference."""
    torch.manual_seed(0)
    good, poor = drawing(0.5, 1), drawing(0.35, 2)
    operations = 400 * step_operations(NoisyClassifier(3, 0.5), good())
    found = classify(good, poor, NOISE, operations)
    true = [bayes(sigma, 0.5, 0.35, 3 * 2 * 64) for sigma in found.sigmas]
    best = least_level(found.sigmas, true)
    assert 0.5 < best < 5
    assert found.operations == pytest.approx(operations)
    # It can't know more than the best one, and one as small, trained for seconds, knows not much less.
    assert best / 2 <= found.sigma_min <= best * 1.35
    assert found.probabilities[0] > 0.9 and abs(found.probabilities[-1] - 0.5) < EPSILON


def test_what_is_alike_is_admitted_at_every_level():
    torch.manual_seed(0)
    good, poor = drawing(0.5, 1), drawing(0.5, 2)
    assert classify(good, poor, NOISE, 40 * step_operations(NoisyClassifier(3, 0.5), good())).sigma_min <= 0.2


def test_a_classifier_takes_videos_of_any_length():
    torch.manual_seed(0)
    classifier, draw = NoisyClassifier(3, 0.5), drawing(0.5, 1, (2, 3, 1, 8, 8))
    train_classifier(classifier, draw, draw, 1)
    frame, sigma = draw().x0, torch.ones(2)
    torch.testing.assert_close(classifier(frame, sigma), classifier(frame.repeat(1, 1, 5, 1, 1), sigma))
