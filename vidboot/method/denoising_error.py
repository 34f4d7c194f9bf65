"""Held-out denoising error: the mean square error of a denoiser at each noise level, with fixed noise."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vidboot.method.composition import Denoiser
from vidboot.method.edm import add_noise, loss_weight, squared_error
from vidboot.method.hole_filling import fill_hidden, fillable
from vidboot.method.network_inputs import NetworkInputs


def fixed_noise(shape: Sequence[int], video: int, level: int) -> Float[Tensor, "C T H W"]:
    """The noise for one held-out video at one noise level: the same in any batch and process."""
    generator = torch.Generator().manual_seed(1_000_003 * level + video)
    return torch.randn(tuple(shape), generator=generator)


@torch.no_grad()
def denoising_errors(
    denoise: Denoiser,
    videos: Float[Tensor, "N C T H W"],
    sigmas: Sequence[float],
    masks: Bool[Tensor, "N 1 T H W"] | None = None,
    only: Sequence[int] | None = None,
    device: torch.device | str = "cpu",
) -> Float[Tensor, "S N"]:
    """Mean square error per clean pixel of each video at each noise level; videos in [-1, 1].

    `only` limits the work to some videos (those of one process); the errors of the others are 0. Masked videos are
    denoised as in training: pixels under the mask are filled in, and frames without any clean pixel are marked as
    unobserved, which takes a denoiser with `inputs`.
    """
    errors = torch.zeros(len(sigmas), len(videos), dtype=torch.float64)
    for n in range(len(videos)) if only is None else only:
        x0 = videos[n : n + 1].to(device)
        mask = None if masks is None or bool(masks[n].all()) else masks[n : n + 1].to(device)
        filled = x0 if mask is None else fill_hidden(x0, mask)
        hidden = {} if mask is None or fillable(mask).all() else {"inputs": NetworkInputs(observed_mask=fillable(mask))}
        for s, sigma in enumerate(sigmas):
            noise = fixed_noise(x0.shape[1:], n, s)[None].to(device)
            level = x0.new_full((1,), sigma)
            x0_hat = denoise(add_noise(filled, level, noise), level, **hidden)
            errors[s, n] = squared_error(x0_hat, x0, mask).double().cpu()
    return errors


def edm_weights(sigmas: Sequence[float], sigma_data: float) -> Float[Tensor, "S"]:
    """λ(σ) of the training loss over the number of noise levels: what each one's error counts in their mean."""
    return loss_weight(torch.tensor(list(sigmas), dtype=torch.float64), sigma_data) / len(sigmas)


def edm_weighted(errors: Mapping[float, float], sigma_data: float) -> float:
    """Mean over the noise levels σ of λ(σ) · error(σ), with the λ of the training loss: one number for comparisons."""
    weights: list[float] = edm_weights(list(errors), sigma_data).tolist()
    return sum(w * error for w, error in zip(weights, errors.values(), strict=True))
