from dataclasses import replace

import pytest
import torch
from small_model import small_model

from vidboot.config import NoiseConfig
from vidboot.method.edm import loss_weight
from vidboot.method.network_inputs import NetworkInputs
from vidboot.method.views import View
from vidboot.training.batch import with_noise
from vidboot.training.low_res_loss import view_loss


def test_samples_with_context_are_noisier_and_all_else_is_as_without():
    masks = torch.ones(40, 1, 2, 4, 4, dtype=torch.bool)
    samples = {
        "frames": torch.randint(0, 256, (40, 2, 4, 4, 3), dtype=torch.uint8),
        "observed_mask": masks,
        "loss_mask": masks,
        "seed": torch.arange(40),
        "shot": ["a.mp4"] * 40,
    }
    context = torch.zeros_like(masks)
    context[::2, :, :1] = True
    levels = NoiseConfig(p_mean=1.0, p_std=1.5, sigma_max=80.0)
    plain, given = with_noise(samples, 1, levels), with_noise(samples | {"context_mask": context}, 1, levels)
    assert torch.equal(given.sigma[1::2], plain.sigma[1::2]) and torch.equal(given.noise, plain.noise)
    assert given.sigma[::2].tolist() == pytest.approx([min(80.0, 4 * sigma) for sigma in plain.sigma[::2].tolist()])
    assert 0 < (given.sigma[::2] == 80).sum() < 20


def masked_samples(under):
    """Two samples of bright frames: the first with a mask of its own, the second with pixels hidden on purpose."""
    frames = torch.randint(200, 256, (2, 2, 8, 8, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(2, 1, 2, 8, 8, dtype=torch.bool)
    mask[0, :, :, 2:5, 1:6] = mask[1, :, 1, 4:8, 2:4] = False
    clean = mask.clone()
    clean[1] = True
    frames[0] = torch.where(mask[0, 0, ..., None], frames[0], under)
    return {
        "frames": frames,
        "observed_mask": mask,
        "loss_mask": clean,
        "seed": torch.tensor([1, 2]),
        "shot": ["a", "b"],
    }


@pytest.mark.parametrize("scale", [1, 2])
def test_what_a_videos_own_mask_hides_is_filled_in_and_no_part_of_the_loss(scale):
    batch, other = (with_noise(masked_samples(under), scale, NoiseConfig()) for under in (0, 255))
    assert torch.equal(batch.x0, other.x0)  # nothing of what lies under the mask is left
    assert batch.observed_mask[0].all() and not batch.loss_mask[0].all()
    assert (
        batch.loss_mask[1].all() and not batch.observed_mask[1].all()
    )  # hidden on purpose: no input, but part of the loss
    low, high = (f(batch.x0[0][:, batch.loss_mask[0, 0]]) for f in (torch.min, torch.max))
    assert low <= batch.x0[0].min() and batch.x0[0].max() <= high


def test_a_frame_that_is_masked_all_over_is_not_observed():
    samples = masked_samples(0)
    samples["observed_mask"][0, :, 1] = samples["loss_mask"][0, :, 1] = False
    batch = with_noise(samples, 1, NoiseConfig())
    assert batch.observed_mask[0, :, 0].all() and not batch.observed_mask[0, :, 1].any()
    assert torch.equal(batch.loss_mask, samples["loss_mask"])


@pytest.mark.parametrize("factor", [1, 2])
def test_the_gradient_of_a_masked_video_ignores_what_lies_under_the_mask(factor):
    network, gradients = small_model().views["clip"].requires_grad_(True), []
    for under in (0, 255):
        network.zero_grad()
        batch = replace(with_noise(masked_samples(under), 1, NoiseConfig()), low_res_factor=factor)
        view_loss(0.5)(network, batch).sum().backward()
        gradients.append([p.grad.clone() for p in network.parameters() if p.grad is not None])
    assert gradients[0] and all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


@pytest.mark.parametrize("factor", [1, 2])
def test_the_loss_of_a_masked_video_is_that_of_its_other_pixels_where_it_is_filled_in(factor):
    network, batch = (
        small_model().views["clip"],
        replace(with_noise(masked_samples(0), 1, NoiseConfig()), low_res_factor=factor),
    )
    of_masked = {"x0": batch.x0[:1], "sigma": batch.sigma[:1], "noise": batch.noise[:1]}
    batch = replace(batch, **of_masked, observed_mask=batch.observed_mask[:1], loss_mask=batch.loss_mask[:1])
    view = View(range(2), factor)
    shown = view.lift(view.project(batch.x0), 2) + batch.sigma.view(-1, 1, 1, 1, 1) * batch.noise
    share = torch.full_like(batch.x0[:, :1], 1 / factor**2)
    error = view.lift(
        view.project(network(shown, batch.sigma, NetworkInputs(observed_mask=share)) - batch.x0), 2
    ).square()
    clean = torch.ones(8, 8, dtype=torch.bool)
    clean[2:5, 1:6] = False
    clean = clean if factor == 1 else clean.unflatten(0, (4, 2)).unflatten(2, (4, 2)).all(3).all(1)
    clean = clean.repeat_interleave(factor, 0).repeat_interleave(factor, 1)
    # The low frequencies' share of all pixels' error, from the blocks without a masked pixel.
    expected = loss_weight(batch.sigma, 0.5) * error[..., clean].mean()
    torch.testing.assert_close(view_loss(0.5)(network, batch), expected, rtol=1e-4, atol=1e-6)
