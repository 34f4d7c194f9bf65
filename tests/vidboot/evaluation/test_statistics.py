import pytest
import torch

from vidboot.evaluation.statistics import autocorrelation, drift, motion, seam_ratio
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


def test_motion_of_a_moving_edge_is_the_share_of_values_that_change():
    """In each step one column of eight goes from 0 to 1: a mean square change of 1/8."""
    moving = (torch.arange(8.0) < torch.arange(6.0)[:, None]).double().reshape(1, 1, 6, 1, 8)
    assert motion(moving) == pytest.approx([(1 / 8) ** 0.5])
    assert motion(torch.cat([moving, moving[:, :, 2:3].expand(-1, -1, 6, -1, -1)]))[1] == 0  # a still video
