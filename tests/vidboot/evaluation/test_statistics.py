import numpy as np
import pytest
import torch

from vidboot.evaluation.statistics import autocorrelation, confidence_interval, drift, frechet_distance, seam_ratio
from vidboot.method.denoising_error import denoising_errors, edm_weighted, fixed_noise


def test_denoising_errors_agree_with_a_few_plain_lines():
    videos = torch.rand(3, 3, 4, 2, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    errors = denoising_errors(lambda x, sigma: x / (1 + sigma.reshape(-1, 1, 1, 1, 1) ** 2), videos, [0.5, 2.0])
    for s, sigma in enumerate([0.5, 2.0]):
        for n, video in enumerate(videos.numpy()):
            noisy = video + sigma * fixed_noise(video.shape, n, s).numpy()
            assert errors[s, n].item() == pytest.approx(((noisy / (1 + sigma**2) - video) ** 2).mean(), rel=1e-5)
    lam = {sigma: (sigma**2 + 0.25) / (sigma * 0.5) ** 2 for sigma in (0.5, 2.0)}
    assert edm_weighted({0.5: 0.1, 2.0: 0.3}, 0.5) == pytest.approx((lam[0.5] * 0.1 + lam[2.0] * 0.3) / 2)


def test_a_masked_videos_error_covers_its_observed_pixels_only_and_does_not_depend_on_the_hidden_ones():
    generator = torch.Generator().manual_seed(0)
    videos, under = torch.rand(2, 2, 3, 4, 8, 8, generator=generator) / 2 + 0.5
    masks = torch.ones(2, 1, 4, 8, 8, dtype=torch.bool)
    masks[1, :, :, 2:5, 1:6] = False

    seen = []

    def blurred(x, sigma):
        seen.append(x)
        return torch.nn.functional.avg_pool3d(x, (1, 3, 3), 1, (0, 1, 1))

    errors = denoising_errors(blurred, videos, [0.5], masks)
    without_noise = seen[1][0] - 0.5 * fixed_noise(videos.shape[1:], 1, 0)
    assert without_noise.min() > 0.49 and without_noise.max() < 1.01  # filled in from pixels in [0.5, 1]
    assert torch.equal(denoising_errors(blurred, torch.where(masks, videos, under), [0.5], masks), errors)
    assert torch.equal(denoising_errors(blurred, videos, [0.5])[:, 0], errors[:, 0])
    far = torch.ones(8, 8, dtype=torch.bool)
    far[1:6, :7] = False  # where no filled-in pixel reaches
    x0_hat = blurred(videos + 0.5 * torch.stack([fixed_noise(videos.shape[1:], n, 0) for n in (0, 1)]), None)
    of_far = denoising_errors(lambda x, sigma: torch.where(far, blurred(x, sigma), videos[1]), videos, [0.5], masks)
    expected = (x0_hat - videos)[1][..., far].square().sum() / (masks[1].sum() * 3)
    assert of_far[0, 1].item() == pytest.approx(expected.item(), rel=1e-5)


def test_intervals_cover_the_known_error_of_gaussian_videos():
    """x0 ~ N(0, I): the best denoiser x / (1 + σ²) has the error σ² / (1 + σ²)."""
    sigma, covered, trials = 0.8, 0, 300
    generator = torch.Generator().manual_seed(0)
    for _ in range(trials):
        videos = torch.randn(8, 1, 4, 2, 2, generator=generator)
        noisy = videos + sigma * torch.randn(videos.shape, generator=generator)
        errors = (noisy / (1 + sigma**2) - videos).square().flatten(1).mean(1)
        interval = confidence_interval(errors.numpy())
        covered += interval.low <= sigma**2 / (1 + sigma**2) <= interval.high
    assert 0.91 <= covered / trials <= 0.985


def test_one_video_gives_no_interval():
    assert confidence_interval(np.array([0.3])) == (0.3, -np.inf, np.inf)


@pytest.mark.parametrize("count", [20_000, 6])
def test_frechet_distance_of_gaussians_has_its_closed_form(count):
    """For uncorrelated features: Σ (μ_a − μ_b)² + (s_a − s_b)², with the samples' means and standard deviations."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((count, 4))
    noise -= noise.mean(0)
    noise = np.linalg.qr(noise)[0] * np.sqrt(count - 1)  # exactly uncorrelated, of variance one
    spread_a, spread_b, shift = np.array([1, 2, 3, 0.5]), np.array([2, 2, 1, 0.1]), np.array([0, 1, 0, -2.0])
    expected = (shift**2).sum() + ((spread_a - spread_b) ** 2).sum()
    assert frechet_distance(noise * spread_a, noise * spread_b + shift) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(noise, noise) == pytest.approx(0, abs=1e-9)


def test_frechet_distance_with_fewer_samples_than_features():
    rng = np.random.default_rng(1)
    a = rng.standard_normal((5, 12))
    assert frechet_distance(a, a + 1) == pytest.approx(12, rel=1e-6)


def test_autocorrelation_of_a_wave_is_a_cosine():
    phase = torch.rand(4000, 1, generator=torch.Generator().manual_seed(0)) * 2 * torch.pi
    wave = torch.sin(2 * torch.pi * torch.arange(24) / 12 + phase).reshape(4000, 1, 24, 1, 1)
    found = autocorrelation(wave + 0.5, torch.full((1, 1, 1, 1), 0.5), [3, 6, 12, 24])
    assert list(found) == [3, 6, 12]  # 24 frames have no pair 24 apart
    assert list(found.values()) == pytest.approx([0.0, -1.0, 1.0], abs=0.02)


def test_a_jump_at_every_border_is_a_seam():
    video = torch.arange(12.0).reshape(1, 1, 12, 1, 1)
    assert seam_ratio(video, [4, 8]) == pytest.approx(1)
    video[:, :, 4:] += 1
    video[:, :, 8:] += 1
    assert seam_ratio(video, [4, 8]) == pytest.approx(4)
    assert seam_ratio(video, []) is None


def test_drift_is_the_move_from_the_first_quarter_to_the_last():
    video = torch.zeros(2, 1, 8, 1, 2)
    video[..., 1] = 0.2
    video[:, :, 6:] += torch.tensor([0.3, -0.3]).reshape(2, 1, 1, 1, 1)
    assert drift(video)["brightness"] == pytest.approx(0.3)
    assert drift(video)["contrast"] == pytest.approx(0, abs=1e-6)
