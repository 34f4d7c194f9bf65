import numpy as np
import pytest
import torch
from small_model import small_model

from vidboot.experiments.learning_curve.correlation import correlation_errors, lags


def brute_force(videos_NCTHW, mean_CHW, lag):
    centred = videos_NCTHW - mean_CHW[None, :, None]
    pairs = [(centred[:, :, t] * centred[:, :, t + lag]).mean() for t in range(videos_NCTHW.shape[2] - lag)]
    return np.mean(pairs) / (centred**2).mean()


def test_errors_are_those_of_what_the_denoiser_makes():
    config = small_model().config  # videos of 12 frames, clips of 4
    assert lags(config) == [2, 6]
    torch.manual_seed(0)
    real = torch.randn(5, 3, 12, 8, 8).cumsum(2) * 0.1
    made = torch.randn(1, 3, 12, 8, 8).clamp(-1, 1)
    errors = correlation_errors(lambda x, sigma: made.expand_as(x), config, 3, real)
    mean = real.mean((0, 2)).numpy()
    for lag in (2, 6):
        expected = abs(brute_force(made.numpy(), mean, lag) - brute_force(real.numpy(), mean, lag))
        assert errors[str(lag)] == pytest.approx(expected, abs=1e-5)
