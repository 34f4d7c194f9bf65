"""The samples of a step, with their noise.

Noise and noise levels depend on seed and sample number only. So a batch is the same however many processes share it,
and a run that was stopped goes on exactly where it was.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vidboot.config import NoiseConfig
from vidboot.data.datasets import at_scale, to_tensor
from vidboot.distributed import device
from vidboot.method.hole_filling import fill_hidden, fillable
from vidboot.method.network_inputs import NetworkInputs

CONTEXT_NOISE = 4.0
"""Samples with context have this many times more noise, so that the network must learn from the context."""


@dataclass(frozen=True)
class Batch:
    """Some samples of a step, with their noise."""

    x0: Float[Tensor, "B C T H W"]
    """Videos in [-1, 1]; pixels under their own masks are filled in."""
    observed_mask: Bool[Tensor, "B 1 T H W"]
    """True where the network observes a pixel: false where one is hidden on purpose, or in frames masked all over."""
    loss_mask: Bool[Tensor, "B 1 T H W"]
    """True where the loss counts a pixel: false under the video's own mask."""
    sigma: Float[Tensor, "B"]
    noise: Float[Tensor, "B C T H W"]
    seeds: list[int]
    """The seed of each item's noise level and noise; items with the same seed are the same."""
    shots: list[str]
    """The file that each sample is from."""
    context_mask: Bool[Tensor, "B 1 T H W"] | None = None
    """True where a pixel is given without noise (None: nowhere)."""
    conditions: dict[str, Int[Tensor, "B"]] = field(default_factory=dict)
    """Class `label` and frame `stride`, for networks that take them."""
    low_res_factor: int = 1
    """Low-res factor of low-resolution videos that are stored at full size (1: other videos)."""

    @property
    def inputs(self) -> NetworkInputs:
        """The network's inputs besides the noisy videos."""
        return NetworkInputs(self.observed_mask, self.context_mask, **self.conditions)


def with_noise(samples: Mapping[str, Any], scale: int, levels: NoiseConfig) -> Batch:
    """Samples of a `ViewDataset` at a low-res factor, each with a noise level and noise from its own seed."""
    video = to_tensor(_to_device(samples["frames"]))
    names = [name for name in ("observed_mask", "loss_mask", "context_mask") if name in samples]
    x0, masks = at_scale(video, _to_device(torch.cat([samples[name] for name in names], dim=1)), scale)
    of = dict(zip(names, masks.split(1, dim=1), strict=True))
    clean = of["loss_mask"]
    x0, observed = fill_hidden(x0, clean), of["observed_mask"] | (~clean & fillable(clean))
    seeds = samples["seed"].tolist()
    generators = [torch.Generator(device()).manual_seed(seed) for seed in seeds]
    # On the CPU: reading each level from the device would wait for it.
    on_cpu = generators if device().type == "cpu" else [torch.Generator().manual_seed(seed) for seed in seeds]
    sigma = _to_device(torch.tensor([levels.sample(g) for g in on_cpu]))
    if (context := of.get("context_mask")) is not None:
        noisier = (CONTEXT_NOISE * sigma).clamp(max=levels.sigma_max)
        sigma = torch.where(context.flatten(1).any(1), noisier, sigma)
    return Batch(
        x0=x0,
        observed_mask=observed,
        loss_mask=clean,
        sigma=sigma,
        noise=torch.stack([torch.randn(x0.shape[1:], generator=g, device=device()) for g in generators]),
        seeds=seeds,
        shots=samples["shot"],
        context_mask=context,
        conditions={name: _to_device(samples[name]) for name in ("label", "stride") if name in samples},
        low_res_factor=int(samples["low_res_factor"][0]) if "low_res_factor" in samples else 1,
    )


def _to_device(tensor: Tensor) -> Tensor:
    """The tensor on this process's device; copied from pinned memory, the host doesn't wait for the copy."""
    return tensor.pin_memory().to(device(), non_blocking=True) if device().type == "cuda" else tensor
