"""EDM: noise levels, preconditioning and the (masked) denoising loss (Karras et al. 2022, arXiv 2206.00364)."""

import math
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vidboot.method.network_inputs import NO_INPUTS, NetworkInputs


def sample_sigma(generator: torch.Generator, p_mean: float, p_std: float, sigma_min: float, sigma_max: float) -> float:
    """One noise level for training: ln σ ~ N(p_mean, p_std²), held within [sigma_min, sigma_max] (§5)."""
    normal = torch.randn((), generator=generator, device=generator.device).item()
    return min(sigma_max, max(sigma_min, math.exp(p_mean + p_std * normal)))


def karras_sigmas(
    num_steps: int, sigma_min: float, sigma_max: float, rho: float = 7.0
) -> Float[Tensor, "{num_steps}+1"]:
    """Falling noise levels for sampling, then 0 (arXiv 2206.00364, eq. 5).

    σ_i = (σ_max^{1/ρ} + i/(N−1) (σ_min^{1/ρ} − σ_max^{1/ρ}))^ρ for i < N = `num_steps`, in float64.
    """
    ramp = torch.linspace(0, 1, num_steps, dtype=torch.float64)
    top, bottom = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    sigmas = (top + ramp * (bottom - top)) ** rho
    return torch.cat([sigmas, sigmas.new_zeros(1)])


NoiseLevels = Float[Tensor, "B"] | Float[Tensor, "B T"]
"""σ of each item of a batch, or of each frame of each item."""

CONTEXT_SIGMA = 0.02
"""The noise level that stands for frames without noise in the network's input. With the item's σ in its place the
network learns far less from these frames: on moving digits at σ = 30, after 2,500 steps, the error of the next two
frames was .047 instead of .035."""


class Preconditioned(nn.Module):
    """D(x; σ) = c_skip x + c_out F(c_in x; c_noise): a network F as a denoiser (arXiv 2206.00364, eq. 7 and table 1).

    F is called as `network(x, c_noise, inputs=…)`, with `base` scaled to unit variance like the noisy input.

    The masks give each pixel a noise level of its own (as Diffusion Forcing does for frames, Chen et al. 2024, arXiv
    2407.01392): σ → ∞ where `observed_mask` is 0, σ → 0 where `context_mask` is true, the item's σ elsewhere. So at
    unobserved pixels c_in x and c_skip x are 0 and c_out is σ_data; D there is the mean given the other pixels, if that
    was trained (`data.extra_masks`). In the context c_in is 1/σ_data, c_skip 1 and c_out 0; D there is x, and elsewhere
    E[x0 | x, context], if that was trained (`data.context`). Frames that are all context have the c_noise of
    `CONTEXT_SIGMA`.
    """

    def __init__(self, network: nn.Module, sigma_data: float) -> None:
        super().__init__()
        self.network, self.sigma_data = network, sigma_data

    def forward(
        self, x: Float[Tensor, "B C T H W"], sigma: NoiseLevels, inputs: NetworkInputs = NO_INPUTS
    ) -> Float[Tensor, "B C T H W"]:
        """Denoise `x`, whose item b has noise of standard deviation `sigma[b]`, or its frame t `sigma[b, t]`.

        Computes σ terms in float32.
        """
        sigma = of_pixels(sigma.to(torch.float32)).expand(x.shape[0], 1, -1, 1, 1)
        c_in, c_skip, c_out, c_noise = self.coefficients(sigma)
        observed, context = inputs.observed_mask, inputs.context_mask
        if inputs.base is not None:
            inputs = replace(inputs, base=inputs.base / self.sigma_data)
        if context is not None:
            c_in = torch.where(context, 1 / self.sigma_data, c_in)
            c_skip, c_out = torch.where(context, 1.0, c_skip), torch.where(context, 0.0, c_out)
        if observed is not None:
            hidden = observed == 0
            x, c_out = torch.where(hidden, torch.zeros_like(x), x), torch.where(hidden, self.sigma_data, c_out)
        F: Tensor = self.network(c_in * x, self.noise_of_frames(c_noise, context), inputs=inputs)
        return c_skip * x + c_out * F.to(x.dtype)

    @staticmethod
    def noise_of_frames(
        c_noise: Float[Tensor, "B 1 1 1 1"] | Float[Tensor, "B 1 T 1 1"],
        context_mask: Bool[Tensor, "#B 1 T H W"] | None,
    ) -> NoiseLevels:
        """c_noise of each item; of each frame, if frames differ in noise or there is a context."""
        of_frames = c_noise.flatten(1)
        if context_mask is None:
            return of_frames if of_frames.shape[1] > 1 else of_frames[:, 0]
        without_noise = context_mask.flatten(3).all(3)[:, 0]
        return torch.where(without_noise, math.log(CONTEXT_SIGMA) / 4, of_frames)

    def coefficients(self, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """c_in, c_skip, c_out, c_noise of noise level σ."""
        total = sigma**2 + self.sigma_data**2
        return total.rsqrt(), self.sigma_data**2 / total, sigma * self.sigma_data * total.rsqrt(), sigma.log() / 4


def of_pixels(sigma: NoiseLevels) -> Float[Tensor, "B 1 #T 1 1"]:
    """σ in the shape in which it meets a video."""
    return sigma.reshape(-1, 1, sigma.shape[1] if sigma.ndim > 1 else 1, 1, 1)


def add_noise(
    x0: Float[Tensor, "B C T H W"],
    sigma: NoiseLevels,
    noise: Float[Tensor, "B C T H W"],
    observed_mask: Bool[Tensor, "B 1 T H W"] | None = None,
    context_mask: Bool[Tensor, "B 1 T H W"] | None = None,
) -> Float[Tensor, "B C T H W"]:
    """x = x0 + σ n, σ of each item or of each frame; x0 itself in the context; the noise alone at unobserved pixels.

    The values of x0 at unobserved pixels have no effect, not even NaN.
    """
    if observed_mask is not None:
        x0 = torch.where(observed_mask, x0, torch.zeros_like(x0))
    x = x0 + of_pixels(sigma) * noise
    return x if context_mask is None else torch.where(context_mask, x0, x)


def loss_weight(sigma: Float[Tensor, "..."], sigma_data: float) -> Float[Tensor, "..."]:
    """λ(σ) = (σ² + σ_data²) / (σ σ_data)²: an equal effective loss at every noise level (arXiv 2206.00364, eq. 8)."""
    return (sigma**2 + sigma_data**2) / (sigma * sigma_data) ** 2


def denoising_loss(
    x0_hat: Float[Tensor, "B C T H W"],
    x0: Float[Tensor, "B C T H W"],
    sigma: Float[Tensor, "B"],
    sigma_data: float,
    observed_mask: Bool[Tensor, "B 1 T H W"],
    loss_mask: Bool[Tensor, "B 1 T H W"],
    context_mask: Bool[Tensor, "B 1 T H W"] | None = None,
) -> Float[Tensor, "B"]:
    """Mean over the `loss_mask` of λ (x0_hat − x0)²: λ(σ) at observed pixels, λ(∞) at the others.

    λ(∞) = 1/σ_data², because an unobserved pixel is one at σ → ∞. The `loss_mask` is false at pixels under the video's
    own mask, whether or not the network observes them. Losses at pixels that were hidden on purpose are after Daras et
    al. 2023 (arXiv 2305.19256). The context, which has no noise, is left out too.
    """
    if context_mask is not None:
        loss_mask = loss_mask & ~context_mask
    observed_mask = observed_mask & loss_mask
    share = observed_mask.flatten(1).sum(1) / loss_mask.flatten(1).sum(1).clamp(min=1)
    observed = squared_error(x0_hat, x0, observed_mask)
    hidden = squared_error(x0_hat, x0, loss_mask & ~observed_mask)
    return loss_weight(sigma, sigma_data) * share * observed + (1 - share) * hidden / sigma_data**2


def squared_error(
    x0_hat: Float[Tensor, "B C T H W"], x0: Float[Tensor, "B C T H W"], mask: Bool[Tensor, "B 1 T H W"] | None = None
) -> Float[Tensor, "B"]:
    """Σ m (x0_hat − x0)² / Σ m for each item: the mean over the pixels of a mask m; 0 for an item with none."""
    difference = x0_hat - x0
    if mask is None:
        return (difference**2).flatten(1).mean(1)
    # `where`, not a product, and before the square: 0 · NaN would be NaN.
    observed = torch.where(mask, difference, torch.zeros_like(difference))
    return (observed**2).flatten(1).sum(1) / (mask.flatten(1).sum(1) * x0.shape[1]).clamp(min=1)
