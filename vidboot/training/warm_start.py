"""The stage before the residual: the clip network learns from every view at full size, as the residual's warm start.

In turn it sees clips, and low-resolution videos of all frames. Of the latter only a band is known, P x0 with P = AᵀA
of the low-res factor r; the rest is hidden like pixels under a mask: the input there is noise alone, the mask channel
says that each pixel is known to 1/r², and the loss is that of the band,

    λ(σ) · ‖P (D(P x0 + σ n; σ) − x0)‖² / number of pixels

So a network of full size and length learns what only long videos show before it has seen a full one.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import Dataset

from vidboot.config import OptimizationConfig, RunConfig
from vidboot.data.datasets import ViewDataset
from vidboot.data.manifest import Shot
from vidboot.edm import Preconditioned, add_noise, loss_weight, squared_error
from vidboot.training.stage import Batch, Stage
from vidboot.training.view_stage import held_out_error, sample_video, shots_for
from vidboot.views import pool, unpool


def long_share(config: RunConfig) -> float:
    """Share of the steps that are on long videos: as many frames of them as of clips."""
    clip, full = config.clip.num_frames, config.video.num_frames
    return clip / (clip + full)


def warm_start_stage(
    config: RunConfig,
    network: Preconditioned,
    optimization: OptimizationConfig,
    train: Sequence[Shot],
    validation: Sequence[Shot],
) -> Stage:
    """Training of a full-size network (of the clip network's shape) on all views, from the weights that it has.

    Raises `UserError` if there are no clips, or no low-resolution videos, to draw from.
    """
    num_frames, seed = config.video.num_frames, config.seed * 1000 + 500
    return Stage(
        name="warm_start",
        network=network,
        optimization=optimization,
        dataset=AllViews(config, train, seed, optimization.batch_size),
        noise=config.noise,
        loss=band_loss(config.noise.sigma_data),
        evaluate=held_out_error(config, 1, num_frames, validation),
        sample=sample_video(config, 1, num_frames, config.noise, train[0].fps),
    )


class AllViews(Dataset):
    """Clips, and low-resolution videos at full size: one kind in each step, stateless like `ViewDataset`.

    A sample's `band` is the low-res factor whose band is all that's known of it; 1 for clips.
    """

    def __init__(self, config: RunConfig, shots: Sequence[Shot], seed: int, batch_size: int) -> None:
        self.seed, self.batch_size, self.long_share = seed, batch_size, long_share(config)
        finest = config.low_res[0]
        kinds = {
            1: ("clip", config.clip.num_frames),
            finest.scale: (f"low_res_{finest.scale}", config.video.num_frames),
        }
        self.kinds = {
            band: ViewDataset(
                shots_for(config, name, shots), {length: 1.0}, seed + band, batch_size, config.data, config.run_dir
            )
            for band, (name, length) in kinds.items()
        }

    def __getitem__(self, index: int) -> dict[str, object]:
        rng = np.random.default_rng([self.seed, 2, index // self.batch_size])
        band = max(self.kinds) if rng.random() < self.long_share else 1
        return self.kinds[band][index] | {"band": band}


def band_loss(sigma_data: float) -> Callable[[Callable[..., Tensor], Batch], Float[Tensor, "B"]]:
    """The loss of each item above; a low-res pixel is known only if none of its pixels is masked."""

    def loss(network: Callable[..., Tensor], batch: Batch) -> Float[Tensor, "B"]:
        """The loss of each item."""
        r = batch.band
        seen = pool(batch.mask.to(batch.x0.dtype), r) == r  # r · mean = r where all are seen
        hidden_zero = torch.where(batch.mask, batch.x0, torch.zeros_like(batch.x0))
        y = torch.where(seen, pool(hidden_zero, r), torch.zeros(()).to(batch.x0))
        x = add_noise(unpool(y, r), batch.sigma, batch.noise)
        # `unpool` spreads each value over r × r pixels, 1/r to each: of a pixel 1/r² is known.
        known = unpool(seen.to(x.dtype), r) / r
        x0_hat = network(x, batch.sigma, mask=known, **batch.conditions)
        # Σ over the band's r-fold fewer values, over all pixels: what the band adds to the loss of a full video.
        return loss_weight(batch.sigma, sigma_data) * squared_error(pool(x0_hat, r), y, seen) / r**2

    return loss
