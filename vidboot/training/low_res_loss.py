"""The view networks' loss; and long low-resolution videos at full size, of which only a band is known.

With `clip.long_share` the clip network learns from low-resolution videos of all frames too, in that share of its
steps. Of those only a band is known, P x0 with P = AᵀA of the low-res factor r; of the rest the input
is noise alone, the mask channel says that of each pixel 1/r² is observed, and the loss is that of the band,

    λ(σ) · ‖P (D(P x0 + σ n; σ) − x0)‖² / number of pixels

So a network of full size, run at full length, knows what only long videos show before it has seen a full one. It is the
finest view there is, and what the residual network starts from.
"""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import Dataset

from vidboot.data.datasets import ViewDataset
from vidboot.method.edm import add_noise, denoising_loss
from vidboot.method.views import pool, unpool, whole_blocks
from vidboot.training.stage import Batch


class WithLongVideos(Dataset):
    """Clips, and in a share of the steps low-resolution videos at full size; stateless like `ViewDataset`.

    A sample's `band` is the low-res factor whose band is all that's known of it; 1 for clips.
    """

    def __init__(self, clips: ViewDataset, long: ViewDataset, band: int, share: float) -> None:
        self.kinds, self.band, self.share = {1: clips, band: long}, band, share
        self.seed, self.batch_size = clips.seed, clips.batch_size

    def __getitem__(self, index: int) -> dict[str, object]:
        rng = np.random.default_rng([self.seed, 2, index // self.batch_size])
        band = self.band if rng.random() < self.share else 1
        return self.kinds[band][index] | {"band": band}


def view_loss(sigma_data: float) -> Callable[[Callable[..., Tensor], Batch], Float[Tensor, "B"]]:
    """`denoising_loss` of each item; of a band only of what it holds."""

    def loss(network: Callable[..., Tensor], batch: Batch) -> Float[Tensor, "B"]:
        """The loss of each item; a low-res pixel is known only if none of its pixels is masked."""
        r, context = batch.band, batch.context
        if r == 1:
            x = add_noise(batch.x0, batch.sigma, batch.noise, batch.mask, context)
            x0_hat = network(x, batch.sigma, mask=batch.mask, context=context, **batch.conditions)
            return denoising_loss(x0_hat, batch.x0, batch.sigma, sigma_data, batch.mask, batch.known, context)
        seen, known = whole_blocks(batch.mask, r), whole_blocks(batch.known, r)
        exact = None if context is None else whole_blocks(context, r)
        y = pool(batch.x0, r)
        # `unpool` spreads each value over r × r pixels, 1/r to each: of a pixel 1/r² is known.
        share = unpool(seen.to(y.dtype), r) / r
        spread = None if exact is None else exact.repeat_interleave(r, dim=-1).repeat_interleave(r, dim=-2)
        x = add_noise(unpool(torch.where(seen, y, torch.zeros_like(y)), r), batch.sigma, batch.noise, context=spread)
        x0_hat = network(x, batch.sigma, mask=share, context=spread, **batch.conditions)
        # Σ over the band's r-fold fewer values, over all pixels: what the band adds to the loss of a full video.
        return denoising_loss(pool(x0_hat, r), y, batch.sigma, sigma_data, seen, known, exact) / r**2

    return loss
