"""EDM: noise levels, preconditioning and the (masked) denoising loss (Karras et al. 2022, arXiv 2206.00364)."""

import math

import torch
from jaxtyping import Bool, Float, Int
from pydantic import PositiveFloat, model_validator
from torch import Tensor, nn

from vidboot.settings import Strict


class Noise(Strict):
    """Noise levels of training and sampling, for data in [-1, 1]."""

    sigma_min: PositiveFloat = 0.02
    sigma_max: PositiveFloat = 80.0
    sigma_data: PositiveFloat = 0.5
    p_mean: float = -0.6
    """Mean of ln σ in training."""
    p_std: PositiveFloat = 1.6
    """Standard deviation of ln σ in training."""

    @model_validator(mode="after")
    def _rises(self) -> "Noise":
        if self.sigma_min >= self.sigma_max:
            raise ValueError(f"sigma_min must be below sigma_max = {self.sigma_max}, got {self.sigma_min}")
        return self

    def sample(self, generator: torch.Generator) -> float:
        """One training noise level: ln σ ~ N(p_mean, p_std²), held within the sampling range (arXiv 2206.00364, §5)."""
        normal = torch.randn((), generator=generator, device=generator.device).item()
        return min(self.sigma_max, max(self.sigma_min, math.exp(self.p_mean + self.p_std * normal)))

    def steps(self, num_steps: int, rho: float = 7.0) -> Float[Tensor, "steps+1"]:
        """Falling sampling levels, then 0: σ_i = (σ_max^{1/ρ} + i/(N−1) (σ_min^{1/ρ} − σ_max^{1/ρ}))^ρ (eq. 5)."""
        ramp = torch.linspace(0, 1, num_steps, dtype=torch.float64)
        top, bottom = self.sigma_max ** (1 / rho), self.sigma_min ** (1 / rho)
        sigmas = (top + ramp * (bottom - top)) ** rho
        return torch.cat([sigmas, sigmas.new_zeros(1)])


EXACT = 0.02
"""σ that the network is told for frames without noise. Told the item's own it learns far less from them: on moving
digits at σ = 30, the next two frames' error after 2,500 steps was .047, and with this .035."""


class Preconditioned(nn.Module):
    """D(x; σ) = c_skip x + c_out F(c_in x; c_noise): a network F as a denoiser (arXiv 2206.00364, eq. 7 and table 1).

    F is called as `network(x, c_noise, mask, context, base, label, stride)`: `mask` says what share of a pixel is
    observed (None: all of each; true and false are 1 and 0), `context` where `x` is without noise (None: nowhere),
    `base` is a second prediction of x0 to read (the residual network's input; None for a view network).

    Mask and context are the two ends of one scale, a noise level for each pixel (as for frames in Diffusion Forcing,
    Chen et al. 2024, arXiv 2407.01392). Where the mask is zero c_in x and c_skip x are 0 and c_out is σ_data, as for
    σ → ∞: D is there the mean of what may lie under the mask, given the rest, if that was trained (`data.extra_masks`).
    In the context c_in is 1/σ_data, c_skip 1 and c_out 0, as for σ → 0: D is x there, and elsewhere E[x0 | x, context],
    if that was trained (`data.context`). Frames that are all context have a c_noise of their own too, that of `EXACT`.
    """

    def __init__(self, network: nn.Module, sigma_data: float) -> None:
        super().__init__()
        self.network, self.sigma_data = network, sigma_data

    def forward(
        self,
        x: Float[Tensor, "B C T H W"],
        sigma: Float[Tensor, "B"],
        mask: Bool[Tensor, "B 1 T H W"] | Float[Tensor, "B 1 T H W"] | None = None,
        context: Bool[Tensor, "B 1 T H W"] | None = None,
        base: Float[Tensor, "B C T H W"] | None = None,
        label: Int[Tensor, "B"] | None = None,
        stride: Int[Tensor, "B"] | None = None,
    ) -> Float[Tensor, "B C T H W"]:
        """Denoise `x`, whose item b has noise of standard deviation `sigma[b]`. Computes σ terms in float32."""
        sigma = sigma.to(torch.float32).reshape(-1, 1, 1, 1, 1).expand(x.shape[0], 1, 1, 1, 1)
        c_in, c_skip, c_out, c_noise = self.coefficients(sigma)
        # The base prediction is data, not noise: scaled to unit variance like the noisy input.
        read = None if base is None else base / self.sigma_data
        if context is not None:
            limits = (1 / self.sigma_data, c_in), (1.0, c_skip), (0.0, c_out)
            c_in, c_skip, c_out = (torch.where(context, limit, c) for limit, c in limits)
        if mask is not None:
            hidden = mask == 0
            x, c_out = torch.where(hidden, torch.zeros_like(x), x), torch.where(hidden, self.sigma_data, c_out)
        F = self.network(c_in * x, self.noise_of_frames(c_noise, context), mask, context, read, label, stride)
        return c_skip * x + c_out * F.to(x.dtype)

    @staticmethod
    def noise_of_frames(c_noise: Tensor, context: Tensor | None) -> Float[Tensor, "B"] | Float[Tensor, "B T"]:
        """c_noise of each item (`B 1 1 1 1` before); with context that of each frame."""
        if context is None:
            return c_noise.flatten()
        exact = context.flatten(3).all(3)[:, 0]
        return torch.where(exact, math.log(EXACT) / 4, c_noise.flatten()[:, None])

    def coefficients(self, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """c_in, c_skip, c_out, c_noise of noise level σ."""
        total = sigma**2 + self.sigma_data**2
        return total.rsqrt(), self.sigma_data**2 / total, sigma * self.sigma_data * total.rsqrt(), sigma.log() / 4


def add_noise(
    x0: Float[Tensor, "B C T H W"],
    sigma: Float[Tensor, "B"],
    noise: Float[Tensor, "B C T H W"],
    mask: Bool[Tensor, "B 1 T H W"] | None = None,
    context: Bool[Tensor, "B 1 T H W"] | None = None,
) -> Float[Tensor, "B C T H W"]:
    """x = x0 + σ n; in the context x0 itself; where the mask is false only the noise.

    What lies under a mask must never be seen.
    """
    if mask is not None:
        x0 = torch.where(mask, x0, torch.zeros_like(x0))
    x = x0 + sigma.reshape(-1, 1, 1, 1, 1) * noise
    return x if context is None else torch.where(context, x0, x)


def loss_weight(sigma: Float[Tensor, "B"], sigma_data: float) -> Float[Tensor, "B"]:
    """λ(σ) = (σ² + σ_data²) / (σ σ_data)²: an equal effective loss at every noise level (arXiv 2206.00364, eq. 8)."""
    return (sigma**2 + sigma_data**2) / (sigma * sigma_data) ** 2


def denoising_loss(
    x0_hat: Float[Tensor, "B C T H W"],
    x0: Float[Tensor, "B C T H W"],
    sigma: Float[Tensor, "B"],
    sigma_data: float,
    mask: Bool[Tensor, "B 1 T H W"],
    known: Bool[Tensor, "B 1 T H W"],
    context: Bool[Tensor, "B 1 T H W"] | None = None,
) -> Float[Tensor, "B"]:
    """Mean over the `known` pixels of λ (x0_hat − x0)²: λ(σ) where the `mask` shows the network one, λ(∞) elsewhere.

    λ(∞) = 1/σ_data², as a hidden pixel is one of endless noise. Pixels that were masked in the video itself are not
    known, whatever is shown there. Learning what was hidden on purpose is after Daras et al. 2023 (2305.19256). The
    `context`, which is without noise, is not asked for.
    """
    if context is not None:
        known = known & ~context
    mask = mask & known
    observed = mask.flatten(1).sum(1) / known.flatten(1).sum(1).clamp(min=1)
    seen, hidden = squared_error(x0_hat, x0, mask), squared_error(x0_hat, x0, known & ~mask)
    return loss_weight(sigma, sigma_data) * observed * seen + (1 - observed) * hidden / sigma_data**2


def squared_error(
    x0_hat: Float[Tensor, "B C T H W"], x0: Float[Tensor, "B C T H W"], mask: Bool[Tensor, "B 1 T H W"] | None = None
) -> Float[Tensor, "B"]:
    """Σ m (x0_hat − x0)² / Σ m for each item: the mean over observed pixels; 0 for an item with none."""
    difference = x0_hat - x0
    if mask is None:
        return (difference**2).flatten(1).mean(1)
    # `where`, not a product, and before the square: a NaN under the mask must not get through as 0 · NaN.
    observed = torch.where(mask, difference, torch.zeros_like(difference))
    return (observed**2).flatten(1).sum(1) / (mask.flatten(1).sum(1) * x0.shape[1]).clamp(min=1)
