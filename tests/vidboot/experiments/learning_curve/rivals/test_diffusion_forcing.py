from dataclasses import replace

import pytest
import torch
from small_model import small_model
from torch.utils.flop_counter import FlopCounterMode

from vidboot.config import NoiseConfig
from vidboot.experiments.learning_curve.rivals.diffusion_forcing import forcing_loss, frame_by_frame, frame_levels
from vidboot.method.edm import add_noise, loss_weight
from vidboot.training.batch import Batch
from vidboot.training.low_res_loss import view_loss

NOISE = NoiseConfig()


def batch(factor=1, masked=False, seeds=(1, 2), shape=(2, 3, 12, 8, 8)):
    generator = torch.Generator().manual_seed(3)
    x0, noise = (torch.randn(shape, generator=generator) for _ in range(2))
    mask = torch.ones(shape[0], 1, *shape[2:], dtype=torch.bool)
    loss_mask = mask.clone()
    if masked:
        loss_mask[0, :, 2:7, :4, :3] = False
        mask[1, :, 1:3, 4:, :] = False
    sigma = torch.tensor([0.3, 4.0])[: shape[0]]
    return Batch(x0, mask, loss_mask, sigma, noise, list(seeds), ["a", "b"][: shape[0]], low_res_factor=factor)


@pytest.mark.parametrize("factor", [1, 2])
@pytest.mark.parametrize("masked", [False, True])
def test_frames_at_one_level_have_the_loss_of_their_item(factor, masked, monkeypatch):
    network, some = small_model().views["clip"], batch(factor, masked)
    equal = some.sigma[:, None].expand(-1, 12)
    monkeypatch.setattr("vidboot.experiments.learning_curve.rivals.diffusion_forcing.frame_levels", lambda *a: equal)
    torch.testing.assert_close(forcing_loss(NOISE)(network, some), view_loss(0.5)(network, some))


def test_a_network_told_one_level_for_all_frames_is_the_network_told_it_once():
    network, some = small_model().views["clip"], batch()
    x = add_noise(some.x0, some.sigma, some.noise)
    of_frames = some.sigma[:, None].expand(-1, 12)
    torch.testing.assert_close(network(x, of_frames), network(x, some.sigma))
    torch.testing.assert_close(add_noise(some.x0, of_frames, some.noise), x)


def test_the_loss_is_the_sum_over_frames_of_the_formula():
    generator = torch.Generator().manual_seed(0)
    x0, x0_hat = (torch.randn(2, 3, 4, 2, 2, generator=generator) for _ in range(2))
    sigma = torch.rand(2, 4, generator=generator) + 0.1
    asked = torch.rand(2, 1, 4, 2, 2, generator=generator) > 0.3
    observed = torch.ones_like(asked)
    for b, found in enumerate(frame_by_frame(x0_hat, x0, sigma, 0.5, observed, asked).tolist()):
        total = weight = 0.0
        for t in range(4):
            for pixel in asked[b, 0, t].nonzero().tolist():
                error = (x0_hat[b, :, t, *pixel] - x0[b, :, t, *pixel]).square().mean()
                total += float(loss_weight(sigma[b, t], 0.5) * error)
                weight += 1
        assert found == pytest.approx(total / weight, rel=1e-5)


def test_levels_are_drawn_for_each_frame_on_its_own_from_the_levels_of_training():
    some = batch(seeds=(11, 12), shape=(2, 3, 4000, 1, 1))
    levels = frame_levels(some, NOISE)
    normal = (levels.log() - NOISE.p_mean) / NOISE.p_std
    inside = normal[(levels > NOISE.sigma_min) & (levels < NOISE.sigma_max)]
    assert abs(float(levels.log().median()) - NOISE.p_mean) < 0.1
    # A normal distribution has 68 % within a standard deviation; neighbours know nothing of each other.
    assert abs(float((inside.abs() < 1).float().sum() / normal.numel()) - 0.683) < 0.02
    assert abs(float(torch.corrcoef(torch.stack([normal[0, :-1], normal[0, 1:]]))[0, 1])) < 0.05
    assert abs(float(torch.corrcoef(normal)[0, 1])) < 0.05
    torch.testing.assert_close(frame_levels(replace(some, x0=some.x0 + 1), NOISE), levels)


def test_of_gaussian_videos_the_best_linear_denoiser_has_the_least_loss_and_the_closed_form():
    """Frames with covariance C and noise of σ_t: E[x0 | x] = C (C + diag σ²)⁻¹ x, its error C − C (C + diag σ²)⁻¹ C."""
    num_frames, count = 6, 4000
    times = torch.arange(num_frames)
    covariance = 0.25 * 0.8 ** (times[:, None] - times).abs().double()
    root = torch.linalg.cholesky(covariance)
    sigma = torch.tensor([[0.1, 2.0, 0.5, 0.05, 8.0, 0.3]])
    wiener = covariance @ torch.linalg.inv(covariance + torch.diag(sigma[0].double() ** 2))
    of_frames = (covariance - wiener @ covariance).diagonal()
    expected = float((loss_weight(sigma[0].double(), 0.5) * of_frames).mean())
    mask = torch.ones(1, 1, num_frames, 4, 4, dtype=torch.bool)

    def loss(matrix):
        total, draws = 0.0, torch.Generator().manual_seed(2)
        for _ in range(count // 16):
            normal = torch.randn(num_frames, 3 * 16, dtype=torch.float64, generator=draws)
            x0 = (root @ normal).T.reshape(1, 3, 4, 4, num_frames).movedim(-1, 2)
            x = add_noise(x0, sigma.double(), torch.randn(x0.shape, dtype=torch.float64, generator=draws))
            x0_hat = torch.einsum("st,bcthw->bcshw", matrix, x)
            total += float(frame_by_frame(x0_hat, x0, sigma.double(), 0.5, mask, mask))
        return total / (count // 16)

    best = loss(wiener)
    assert best == pytest.approx(expected, rel=0.02)
    assert loss(wiener * 1.1) > best
    # What a denoiser of frames alone does, which knows nothing of the others.
    alone = torch.diag(0.25 / (0.25 + sigma[0].double() ** 2))
    assert loss(alone) > best


def test_a_level_for_each_frame_takes_no_other_operations():
    """So that the steps which are counted for the clip network are as many here."""

    def operations(levels):
        network, x = small_model().views["clip"].requires_grad_(True), torch.randn(1, 3, 12, 8, 8)
        with FlopCounterMode(display=False) as counter:
            network(x, levels).square().mean().backward()
        return counter.get_total_flops()

    assert operations(torch.ones(1, 12)) == pytest.approx(operations(torch.ones(1)), rel=0.05)
