import math

import numpy as np
import pytest
import torch

from vidboot.config import NoiseConfig
from vidboot.method.edm import CONTEXT_SIGMA, Preconditioned, add_noise, denoising_loss, loss_weight, squared_error
from vidboot.method.network_inputs import NetworkInputs


class Fixed(torch.nn.Module):
    """F = a · input: a network whose denoiser is known in closed form."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x, c_noise, inputs):
        self.seen = c_noise
        return self.factor * x


def test_preconditioning_is_that_of_the_paper():
    # Karras et al. 2022, table 1, written out.
    sigma, sigma_data, factor = 0.7, 0.5, -0.3
    x = torch.randn(2, 3, 4, 5, 6, dtype=torch.float64)
    network = Fixed(factor)
    denoised = Preconditioned(network, sigma_data)(x, torch.full((2,), sigma))
    c_skip = sigma_data**2 / (sigma**2 + sigma_data**2)
    c_out = sigma * sigma_data / math.sqrt(sigma**2 + sigma_data**2)
    c_in = 1 / math.sqrt(sigma**2 + sigma_data**2)
    torch.testing.assert_close(denoised, c_skip * x + c_out * factor * c_in * x, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(network.seen, torch.full((2,), math.log(sigma) / 4))


def test_an_unobserved_pixel_is_one_at_infinite_noise():
    # What a pixel of any content becomes as σ → ∞: c_in x = c_skip x = 0, c_out = σ_data. The network adds 1 to tell.
    class Shifted(Fixed):
        def forward(self, x, c_noise, inputs):
            return super().forward(x, c_noise, inputs) + 1

    x, sigma = torch.randn(2, 3, 4, 5, 6), torch.tensor([0.1, 0.7])
    mask = torch.rand(2, 1, 4, 5, 6, generator=torch.Generator().manual_seed(0)) < 0.6
    denoise = Preconditioned(Shifted(-0.3), 0.5)
    at_infinity = denoise(torch.randn_like(x), torch.tensor([1e9, 1e9]))
    expected = torch.where(mask, denoise(x, sigma), at_infinity)
    torch.testing.assert_close(denoise(x, sigma, NetworkInputs(observed_mask=mask)), expected, rtol=1e-5, atol=1e-5)
    nothing_known = torch.where(mask, x, torch.full_like(x, float("nan")))
    assert torch.equal(
        denoise(nothing_known, sigma, NetworkInputs(observed_mask=mask)),
        denoise(x, sigma, NetworkInputs(observed_mask=mask)),
    )
    everything = torch.ones_like(mask)
    assert torch.equal(denoise(x, sigma, NetworkInputs(observed_mask=everything)), denoise(x, sigma))


def test_a_pixel_of_the_context_is_one_without_noise():
    # What a pixel becomes as σ → 0: c_in = 1/σ_data, c_skip = 1, c_out = 0. The network adds 1 to tell.
    class Shifted(Fixed):
        def forward(self, x, c_noise, inputs):
            self.shown, self.inputs = x, inputs
            return super().forward(x, c_noise, inputs) + 1

    x, sigma = torch.randn(2, 3, 4, 5, 6), torch.tensor([0.1, 70.0])
    context = torch.rand(2, 1, 4, 5, 6, generator=torch.Generator().manual_seed(0)) < 0.4
    denoise = Preconditioned(Shifted(-0.3), 0.5)
    denoised = denoise(x, sigma, NetworkInputs(context_mask=context))
    assert torch.equal(torch.where(context, denoised, x), x)
    assert torch.equal(denoise.network.inputs.context_mask, context)
    torch.testing.assert_close(
        torch.where(context, denoise.network.shown, 0.0), torch.where(context, 2 * x, 0.0), rtol=1e-6, atol=0
    )
    torch.testing.assert_close(torch.where(context, 0.0, denoised), torch.where(context, 0.0, denoise(x, sigma)))


def test_frames_that_are_all_context_have_the_noise_level_of_the_context():
    network, sigma = Fixed(-0.3), torch.tensor([0.1, 70.0])
    context = torch.zeros(2, 1, 4, 5, 6, dtype=torch.bool)
    context[0, :, :3] = context[1, :, 1] = True
    context[1, :, 2, 1:] = True  # context in part only
    Preconditioned(network, 0.5)(torch.zeros(2, 3, 4, 5, 6), sigma, NetworkInputs(context_mask=context))
    expected = torch.tensor([[CONTEXT_SIGMA, CONTEXT_SIGMA, CONTEXT_SIGMA, 0.1], [70.0, CONTEXT_SIGMA, 70.0, 70.0]])
    torch.testing.assert_close((4 * network.seen).exp(), expected)


def test_the_context_has_no_noise_and_is_left_out_of_the_loss():
    generator = torch.Generator().manual_seed(0)
    x0, noise, x0_hat = torch.randn(3, 2, 3, 2, 4, 4, generator=generator)
    mask, context = torch.rand(2, 2, 1, 2, 4, 4, generator=generator) < 0.6
    context &= mask
    known = mask | (torch.rand(2, 1, 2, 4, 4, generator=generator) < 0.5)
    sigma = torch.tensor([0.3, 2.0])
    x = add_noise(x0, sigma, noise, mask, context)
    shown = torch.where(mask, x0, 0.0) + torch.where(context, 0.0, sigma.reshape(-1, 1, 1, 1, 1) * noise)
    torch.testing.assert_close(x, shown)
    # λ by hand: none in the context, λ(σ) on what else is observed, λ(∞) = 4 on what is hidden on purpose.
    weight = torch.where(mask, (1 / sigma**2 + 4).reshape(-1, 1, 1, 1, 1), torch.tensor(4.0)) * (known & ~context)
    expected = (weight * (x0_hat - x0) ** 2).flatten(1).sum(1) / ((known & ~context).flatten(1).sum(1) * 3)
    torch.testing.assert_close(denoising_loss(x0_hat, x0, sigma, 0.5, mask, known, context), expected)
    everything = torch.ones_like(mask)
    assert not denoising_loss(x0_hat, x0, sigma, 0.5, everything, everything, everything).any()


@pytest.mark.parametrize("sigma", [0.02, 0.5, 5.0, 80.0])
def test_input_and_target_of_the_network_have_unit_variance(sigma):
    # White data of variance σ_data²: input c_in·x and target (x0 − c_skip x)/c_out have variance one (eq. 113, 115),
    # and the loss weight is 1/c_out² (eq. 8).
    generator = torch.Generator().manual_seed(0)
    x0 = 0.5 * torch.randn(200_000, generator=generator, dtype=torch.float64)
    x = x0 + sigma * torch.randn(200_000, generator=generator, dtype=torch.float64)
    c_in, c_skip, c_out, _ = Preconditioned(Fixed(0), 0.5).coefficients(torch.tensor(sigma, dtype=torch.float64))
    assert (c_in * x).var().item() == pytest.approx(1, abs=0.02)
    assert ((x0 - c_skip * x) / c_out).var().item() == pytest.approx(1, abs=0.02)
    assert loss_weight(torch.tensor(sigma), 0.5).item() == pytest.approx(1 / c_out.item() ** 2, rel=1e-5)


def test_sampling_levels_are_those_of_the_paper():
    sigmas = NoiseConfig(sigma_min=0.002, sigma_max=80.0).karras_sigmas(18)
    expected = [(80 ** (1 / 7) + i / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7 for i in range(18)]
    np.testing.assert_allclose(sigmas.numpy(), [*expected, 0.0], rtol=1e-12)


def test_training_levels_are_lognormal_within_the_range():
    noise, generator = (
        NoiseConfig(p_mean=-0.5, p_std=1.0, sigma_min=0.02, sigma_max=80.0),
        torch.Generator().manual_seed(0),
    )
    levels = np.array([noise.sample(generator) for _ in range(20_000)])
    assert levels.min() >= 0.02
    inside = np.log(levels[levels > 0.0201])
    assert np.median(np.log(levels)) == pytest.approx(-0.5, abs=0.03)
    assert np.quantile(inside, 0.8413) == pytest.approx(0.5, abs=0.05)


def test_masked_error_is_the_mean_over_observed_pixels():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 3, 2, 4, 4)), rng.normal(size=(2, 3, 2, 4, 4))
    mask = rng.random((2, 1, 2, 4, 4)) < 0.5
    error = squared_error(torch.from_numpy(a), torch.from_numpy(b), torch.from_numpy(mask))
    brute = [((a[i] - b[i]) ** 2)[np.broadcast_to(mask[i], a[i].shape)].mean() for i in range(2)]
    np.testing.assert_allclose(error.numpy(), brute, rtol=1e-12)


def test_what_lies_under_a_mask_reaches_neither_input_nor_gradient():
    generator = torch.Generator().manual_seed(0)
    x0 = torch.randn(2, 3, 2, 4, 4, generator=generator)
    noise = torch.randn(2, 3, 2, 4, 4, generator=generator)
    mask = torch.rand(2, 1, 2, 4, 4, generator=generator) < 0.5
    sigma = torch.tensor([0.3, 2.0])

    def gradient(x0):
        weight = torch.ones(3, 3, requires_grad=True)
        x = add_noise(x0, sigma, noise, mask)
        squared_error(torch.einsum("cd,bdthw->bcthw", weight, x), x0, mask).sum().backward()
        return weight.grad

    hidden = torch.where(mask, x0, torch.full_like(x0, float("nan")))
    assert torch.equal(gradient(x0), gradient(hidden))
