"""Samplers: plain functions `(denoise, x, sigmas) -> x0` over any denoiser."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from vidboot.score import Denoiser


@torch.no_grad()
def sample_heun(
    denoise: Denoiser,
    x: Float[Tensor, "B C T H W"],
    sigmas: Float[Tensor, "steps+1"],
    on_step: Callable[[int], None] = lambda step: None,
) -> Float[Tensor, "B C T H W"]:
    """Second-order deterministic sampler (Karras et al. 2022, arXiv 2206.00364, Algorithm 1 without churn).

    `x` is noise of standard deviation `sigmas[0]`; `sigmas` falls, and ends with 0. 2·steps − 1 evaluations; `on_step`
    is told the number of steps done.
    """
    for step, (sigma, sigma_next) in enumerate(zip(sigmas[:-1].tolist(), sigmas[1:].tolist(), strict=True), 1):
        slope = (x - denoise(x, x.new_full((len(x),), sigma))) / sigma
        x_next = x + (sigma_next - sigma) * slope
        if sigma_next > 0:
            slope_next = (x_next - denoise(x_next, x.new_full((len(x),), sigma_next))) / sigma_next
            x_next = x + (sigma_next - sigma) * (slope + slope_next) / 2
        x = x_next
        on_step(step)
    return x
