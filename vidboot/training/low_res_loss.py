"""The loss of the view networks, with one for low-resolution videos that the clip network learns from at full size.

With `clip.full_length` the clip network trains on low-resolution videos of all frames too, in that share of its steps.
Such a video contains P x0 of a video x0, with P = AᵀA of the low-res factor r. The input is P x0 + σ n, the
`observed_mask` is 1/r² at every pixel, and the loss covers only the low frequencies that the video contains:

    λ(σ) · ‖P (D(P x0 + σ n; σ) − x0)‖² / number of pixels

So the clip network learns what only long videos contain, before it is trained on any full video. The residual network
starts from it.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import Dataset

from vidboot.data.datasets import ViewDataset
from vidboot.method.composition import Network
from vidboot.method.edm import add_noise, denoising_loss
from vidboot.method.views import pool, unpool, whole_blocks
from vidboot.training.batch import Batch


class ClipsAndLongVideos(Dataset):
    """Clips, and in a share of the steps low-resolution videos at full size; stateless like `ViewDataset`.

    A sample has the keys of `ViewDataset`, and its `low_res_factor`, which is 1 for clips.
    """

    def __init__(self, clips: ViewDataset, long: ViewDataset, scale: int, share: float) -> None:
        self.by_factor, self.scale, self.share = {1: clips, scale: long}, scale, share
        self.seed, self.batch_size = clips.seed, clips.batch_size

    def __getitem__(self, index: int) -> dict[str, object]:
        rng = np.random.default_rng([self.seed, 2, index // self.batch_size])
        scale = self.scale if rng.random() < self.share else 1
        return self.by_factor[scale][index] | {"low_res_factor": scale}


def view_loss(sigma_data: float) -> Callable[[Network, Batch], Float[Tensor, "B"]]:
    """`denoising_loss` of each item; for low-resolution videos at full size only of the low frequencies."""

    def loss(network: Network, batch: Batch) -> Float[Tensor, "B"]:
        """The loss of each item."""
        if batch.low_res_factor > 1:
            return _low_res_loss(network, batch, sigma_data)
        masks = batch.observed_mask, batch.context_mask
        x = add_noise(batch.x0, batch.sigma, batch.noise, *masks)
        x0_hat = network(x, batch.sigma, inputs=batch.inputs)
        return denoising_loss(
            x0_hat, batch.x0, batch.sigma, sigma_data, batch.observed_mask, batch.loss_mask, batch.context_mask
        )

    return loss


def _low_res_loss(network: Network, batch: Batch, sigma_data: float) -> Float[Tensor, "B"]:
    """The loss of low-resolution videos at full size. A low-res pixel counts only if none of its pixels is masked."""
    r, context, spread = batch.low_res_factor, None, None
    observed, loss_mask = whole_blocks(batch.observed_mask, r), whole_blocks(batch.loss_mask, r)
    y = pool(batch.x0, r)
    # `unpool` gives 1/r of each value to its r × r pixels, so 1/r² of a pixel is observed.
    share = unpool(observed.to(y.dtype), r) / r
    if batch.context_mask is not None:
        context = whole_blocks(batch.context_mask, r)
        spread = context.repeat_interleave(r, dim=-1).repeat_interleave(r, dim=-2)
    x0 = unpool(torch.where(observed, y, torch.zeros_like(y)), r)
    x = add_noise(x0, batch.sigma, batch.noise, context_mask=spread)
    x0_hat = network(x, batch.sigma, inputs=replace(batch.inputs, observed_mask=share, context_mask=spread))
    # The mean is over r² times fewer values. Divided by r² it is what these frequencies add to a full video's loss.
    return denoising_loss(pool(x0_hat, r), y, batch.sigma, sigma_data, observed, loss_mask, context) / r**2
