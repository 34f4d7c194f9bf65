import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from vidboot.config import NoiseConfig
from vidboot.experiments.gaussian.gaussian import GaussianVideo
from vidboot.method.conditioning import AnnealedConditioning, Corrected, MomentMatched, Observation, conjugate_residuals
from vidboot.method.samplers import sample_heun


@pytest.fixture(scope="module")
def video():
    return GaussianVideo.reference(num_frames=8, size=4)


@pytest.fixture(scope="module")
def cases(video):
    """What may be known of one video, and the same as explicit constraints S x0 = b on the flattened video."""
    generator = torch.Generator().manual_seed(0)
    truth = video.sample(1, generator)
    mask = torch.rand(1, 1, *video.shape[1:], generator=generator) < 0.3
    first = torch.zeros_like(mask)
    first[:, :, :3] = True
    low = F.avg_pool3d(truth, (1, 2, 2))
    size = math.prod(video.shape)
    identity = torch.eye(size, dtype=torch.float64)
    means = F.avg_pool3d(identity.reshape(size, *video.shape), (1, 2, 2)).flatten(1).T
    pixels, frames = identity[mask.flatten()], identity[first.flatten()]
    known = {
        "first frames": (Observation.of_first_frames(truth[:, :, :3], 8), frames),
        "low-res": (Observation.of_low_resolution(low, 2), means),
        "pixels": (Observation.of_pixels(truth, mask), pixels),
        "pixels and low-res": (
            Observation.of_pixels(truth, mask) & Observation.of_low_resolution(low, 2),
            torch.cat([pixels, means]),
        ),
        "low-res and frames": (
            Observation.of_low_resolution(low, 2) & Observation.of_first_frames(truth[:, :, :3], 8),
            torch.cat([frames, means]),
        ),
    }
    return {name: (k, s, s @ truth.flatten()) for name, (k, s) in known.items()}


NAMES = ["first frames", "low-res", "pixels", "pixels and low-res", "low-res and frames"]


@pytest.mark.parametrize("name", NAMES)
def test_projection_and_lift_are_those_of_the_constraints(video, cases, name):
    known, s, b = cases[name]
    inverse = torch.linalg.pinv(s)
    basis = torch.eye(s.shape[1], dtype=torch.float64).reshape(-1, *video.shape)
    torch.testing.assert_close(known.project(basis).flatten(1).T, inverse @ s)
    torch.testing.assert_close(known.lifted.flatten(), inverse @ b)
    anything = torch.randn(2, *video.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(known.impose(anything).flatten(1) @ s.T, b.expand(2, -1))


def test_it_is_brought_into_range_with_its_means_kept():
    generator = torch.Generator().manual_seed(3)
    low = 2 * torch.rand(1, 2, 3, 4, 4, generator=generator, dtype=torch.float64) - 1
    mask = torch.rand(1, 1, 3, 8, 8, generator=generator) < 0.3
    truth = 2 * torch.rand(1, 2, 3, 8, 8, generator=generator, dtype=torch.float64) - 1
    anything = 2 * torch.randn(1, 2, 3, 8, 8, generator=generator, dtype=torch.float64)
    known = Observation.of_low_resolution(low, 2)
    video = known.impose(anything.clamp(-1, 1))
    assert video.abs().max() > 1.1
    ranged = known.within_range(video)
    assert ranged.abs().max() <= 1
    torch.testing.assert_close(F.avg_pool3d(ranged, (1, 2, 2)), low)
    inside = F.max_pool3d(video.abs(), (1, 2, 2)).repeat_interleave(2, -1).repeat_interleave(2, -2) <= 1
    assert inside.any()
    torch.testing.assert_close(ranged[inside], video[inside])
    both = Observation.of_pixels(truth, mask) & known
    ranged = both.within_range(both.impose(anything.clamp(-1, 1)))
    assert ranged.abs().max() <= 1
    torch.testing.assert_close(torch.where(mask, ranged, 0), torch.where(mask, truth, 0))


def given(covariance, s, b):
    """Mean and covariance of N(0, C) given S x = b."""
    gain = covariance @ s.T @ torch.linalg.pinv(s @ covariance @ s.T, hermitian=True, rtol=1e-12)
    return gain @ b, covariance - gain @ s @ covariance


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sigma", [0.1, 1.0, 10.0])
def test_moment_matching_is_the_conditional_mean_of_gaussian_data(video, cases, name, sigma):
    """E[x0 | x, y] by conditioning the joint law of x0, x = x0 + σ n and y = S x0 directly."""
    known, s, b = cases[name]
    size = s.shape[1]
    noisy = video.sample(2, torch.Generator().manual_seed(2)) * (1 + sigma)
    mean, covariance = given(video.covariance, s, b)
    wiener = covariance @ torch.linalg.inv(covariance + sigma**2 * torch.eye(size, dtype=torch.float64))
    expected = mean + (noisy.flatten(1) - mean) @ wiener.T
    exact = MomentMatched(video.denoiser_of(video.full_view), known, iterations=150)
    result = exact(noisy, torch.full((2,), sigma, dtype=torch.float64)).flatten(1)
    assert float((result - expected).norm() / expected.norm()) < 2e-3


@pytest.mark.parametrize("name", ["first frames", "low-res", "pixels"])
def test_the_mean_of_samples_is_the_true_conditional_mean(video, cases, name):
    known, s, b = cases[name]
    denoise = video.denoiser_of(video.full_view)
    mean, _ = given(video.covariance, s, b)
    sigmas = NoiseConfig(sigma_min=0.02, sigma_max=80.0).karras_sigmas(10)
    noise = torch.randn(1000, *video.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    off = {}
    for conditioned in (MomentMatched(denoise, known, 16), MomentMatched(denoise, known, 3), Corrected(denoise, known)):
        samples = sample_heun(conditioned, noise * sigmas[0], sigmas).flatten(1)
        torch.testing.assert_close(samples @ s.T, b.expand(1000, -1), atol=1e-4, rtol=0)
        off[conditioned] = float((samples.mean(0) - mean).norm() / mean.norm())
    exact, default, corrected = off.values()
    assert exact < 0.05
    assert exact < default < corrected


def test_conjugate_residuals_solve_each_item_for_itself():
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(3, 6, 6, dtype=torch.float64, generator=generator)
    m, b = root @ root.mT + torch.eye(6), torch.randn(3, 6, dtype=torch.float64, generator=generator)
    b[1] = 0
    solved = conjugate_residuals(lambda v: (m @ v[..., None])[..., 0], b, 6)
    torch.testing.assert_close(solved, torch.linalg.solve(m, b), atol=1e-6, rtol=1e-6)
    alone = conjugate_residuals(lambda v: (m[2:] @ v[..., None])[..., 0], b[2:], 6)
    torch.testing.assert_close(solved[2:], alone)


def test_conjugate_residuals_never_make_it_worse():
    """Not even for a matrix that is neither symmetric nor positive, as a trained network's Jacobian may be."""
    generator = torch.Generator().manual_seed(0)
    m = torch.randn(4, 12, 12, dtype=torch.float64, generator=generator)
    b = torch.randn(4, 12, dtype=torch.float64, generator=generator)
    m[3] = 0

    def times(v):
        return (m @ v[..., None])[..., 0]

    left = [(b - times(conjugate_residuals(times, b, k))).norm(dim=1) for k in range(1, 20)]
    assert (left[0] <= b.norm(dim=1) * (1 + 1e-9)).all()
    assert all((later <= earlier * (1 + 1e-9)).all() for earlier, later in itertools.pairwise(left))
    assert not conjugate_residuals(times, b, 19)[3].any()


def test_a_stretch_of_frames_and_nothing_beyond_the_last(cases):
    known, _, _ = cases["low-res and frames"]
    part = known.frames(2, 11)
    assert part.pixels.shape[2] == 9
    assert part.pixels[0, 0, :, 0, 0].tolist() == [True] + [False] * 8
    assert part.block_frames.tolist() == [True] * 6 + [False] * 3
    torch.testing.assert_close(part.lifted[:, :, :6], known.lifted[:, :, 2:])
    assert not part.lifted[:, :, 6:].any()


def test_what_can_not_be_known_together_is_refused(cases):
    known, _, _ = cases["low-res"]
    with pytest.raises(ValueError, match="only one low-resolution"):
        known & known
    with pytest.raises(ValueError, match="5 frames are known of a video of 4"):
        Observation.of_first_frames(torch.zeros(1, 3, 5, 2, 2), 4)


def test_less_is_known_as_the_noise_falls():
    def conditioned_on(number):
        return lambda x, sigma: torch.full_like(x, number)

    loosening = AnnealedConditioning([conditioned_on(k) for k in range(3)], [0.5, 4.0])
    at = {
        sigma: float(loosening(torch.zeros(1, 1, 1, 1, 1), torch.tensor([sigma])))
        for sigma in (0.1, 0.5, 0.6, 4.0, 5.0)
    }
    assert at == {0.1: 0, 0.5: 0, 0.6: 1, 4.0: 1, 5.0: 2}
