import numpy as np
import pytest
import torch
from explicit_matrices import random, view_matrix
from small_model import small_model

from vidboot.experiments.learning_curve.rivals.msm import (
    LOW_RES_SHARES,
    AggregatedScores,
    LowResOfClipNetwork,
    errors_by_share,
)
from vidboot.method.composition import AveragedWindows
from vidboot.method.denoising_error import denoising_errors
from vidboot.method.edm import add_noise
from vidboot.method.network_inputs import NetworkInputs
from vidboot.method.views import View, pool, unpool

FRAMES, LENGTH, SIZE, SCALE = 7, 3, 4, 2


def aggregate(clip, low, share, length=LENGTH):
    denoise = AggregatedScores(clip, low, length, SCALE)
    denoise.share = share
    return denoise


def linear(matrix):
    """A denoiser of one channel that multiplies the flattened video by a matrix."""
    return lambda x, sigma: (x.flatten(1) @ matrix.T).reshape(x.shape)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.75])
def test_the_aggregate_is_that_of_explicit_matrices(share):
    """W E[Sᵀ D_S S x] with W = (E[Sᵀ S])⁻¹, in full."""
    of_clip, of_low = random((LENGTH * SIZE**2,) * 2, 0), random((FRAMES * (SIZE // SCALE) ** 2,) * 2, 1)
    starts = range(FRAMES - LENGTH + 1)
    clips = [view_matrix(View(range(t, t + LENGTH)), FRAMES, SIZE, SIZE) for t in starts]
    low = view_matrix(View(range(FRAMES), SCALE), FRAMES, SIZE, SIZE)
    drawn = [((1 - share) / len(clips), s, of_clip) for s in clips] + [(share, low, of_low)]
    covered = sum(p * s.T @ s for p, s, _ in drawn)
    denoised = sum(p * s.T @ d @ s for p, s, d in drawn)
    x = random((2, 1, FRAMES, SIZE, SIZE), 2)
    expected = x.flatten(1) @ (torch.linalg.inv(covered) @ denoised).T
    found = aggregate(linear(of_clip), linear(of_low), share)(x, 1.0)
    torch.testing.assert_close(found.flatten(1), expected)


@pytest.mark.parametrize("share", LOW_RES_SHARES)
def test_of_frames_without_correlation_it_is_exact(share):
    """Each partial denoiser is exact then, and so is what they are put together to."""
    variance, sigma = 0.25, 0.7
    exact = variance / (variance + sigma**2)
    x = random((1, 3, FRAMES, SIZE, SIZE), 0)
    found = aggregate(lambda x, sigma: exact * x, lambda y, sigma: exact * y, share)(x, sigma)
    torch.testing.assert_close(found, exact * x)


def test_without_low_resolution_it_is_the_mean_over_all_windows():
    network, x = small_model().views["clip"], random((1, 3, 12, 8, 8), 0).float()
    found = aggregate(network, lambda y, sigma: y, 0.0, 4)(x, 1.0)
    torch.testing.assert_close(found, AveragedWindows(4, 3, network)(x, 1.0))


def test_the_clip_network_denoises_the_low_resolution_view_as_it_was_taught():
    """By its training: input P x0 + σ n, the observed share 1/r², of which the low frequencies count."""
    network, x0 = small_model().views["clip"], random((1, 3, 12, 8, 8), 1).float()
    sigma, noise = torch.tensor([0.8]), random((1, 3, 12, 8, 8), 2).float()
    y = pool(add_noise(x0, sigma, noise), SCALE)
    seen = []

    def spy(x, sigma, inputs):
        seen.append((x, inputs))
        return network(x, sigma, inputs=inputs)

    found = LowResOfClipNetwork(spy, SCALE)(y, sigma)
    x, inputs = seen[0]
    torch.testing.assert_close(pool(x, SCALE), y)
    beside = x - unpool(pool(x, SCALE), SCALE)
    # Of r² values in a block r² − 1 are noise beside the mean.
    assert float(beside.square().mean()) == pytest.approx(0.64 * 3 / 4, rel=0.1)
    share = torch.full((1, 1, 12, 8, 8), 0.25)
    assert torch.equal(inputs.observed_mask, share)
    torch.testing.assert_close(found, pool(network(x, sigma, NetworkInputs(observed_mask=share)), SCALE))


def test_errors_of_each_share_are_those_of_the_aggregate_with_it():
    network, videos = small_model().views["clip"], random((2, 3, 12, 8, 8), 3).float()
    denoise = AggregatedScores(network, LowResOfClipNetwork(network, SCALE), 4, SCALE)
    found = errors_by_share(denoise, videos, [0.5, 2.0])
    for share in LOW_RES_SHARES:
        denoise.share = share
        expected = denoising_errors(denoise, videos, [0.5, 2.0]).mean(1).numpy()
        np.testing.assert_allclose(list(found[share].values()), expected, rtol=1e-5)
