"""The loss of the view networks, with one for low-resolution videos that the clip network learns from at full size.

With `clip.full_length` the clip network trains on low-resolution videos of all frames too, in that share of its steps.
Such a video contains P x0 of a video x0, with P = AᵀA of the low-res factor r. The input is P x0 + σ n, the
`observed_mask` is 1/r² at every pixel, and the loss covers only the low frequencies that the video contains:

    λ(σ) · ‖P (D(P x0 + σ n; σ) − x0)‖² / number of pixels

So the clip network learns what only long videos contain, before it is trained on any full video. The residual network
starts from it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.utils.data import Dataset

from vidboot.data.datasets import ViewDataset
from vidboot.method.composition import Network
from vidboot.method.edm import NoiseLevels, add_noise, denoising_loss
from vidboot.method.network_inputs import NetworkInputs
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


@dataclass(frozen=True)
class Question:
    """What a batch asks of a network: what it is shown, and what of its prediction is compared with what."""

    shown: Float[Tensor, "B C T H W"]
    """The clean video that noise is added to."""
    inputs: NetworkInputs
    """The network's other inputs."""
    answer: Callable[[Float[Tensor, "B C T H W"]], Float[Tensor, "B C T h w"]]
    """What counts of a prediction."""
    target: Float[Tensor, "B C T h w"]
    """What it should be."""
    masks: tuple[Bool[Tensor, "B 1 T h w"], Bool[Tensor, "B 1 T h w"], Bool[Tensor, "B 1 T h w"] | None]
    """`observed_mask`, `loss_mask` and `context_mask` of the answer."""
    weight: float = 1.0
    """Of the loss."""

    @classmethod
    def of(cls, batch: Batch) -> "Question":
        """What is asked of views, and of full videos; of low-resolution ones at full size their low frequencies."""
        if batch.low_res_factor > 1:
            return _low_res_question(batch)
        masks = batch.observed_mask, batch.loss_mask, batch.context_mask
        shown = torch.where(batch.observed_mask, batch.x0, torch.zeros_like(batch.x0))
        return cls(shown, batch.inputs, lambda x0_hat: x0_hat, batch.x0, masks)

    def noisy(self, sigma: NoiseLevels, noise: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B C T H W"]:
        """What is shown, with noise outside the context."""
        return add_noise(self.shown, sigma, noise, context_mask=self.inputs.context_mask)


def view_loss(sigma_data: float) -> Callable[[Network, Batch], Float[Tensor, "B"]]:
    """`denoising_loss` of each item; for low-resolution videos at full size only of the low frequencies."""

    def loss(network: Network, batch: Batch) -> Float[Tensor, "B"]:
        """The loss of each item."""
        asked = Question.of(batch)
        x0_hat = network(asked.noisy(batch.sigma, batch.noise), batch.sigma, inputs=asked.inputs)
        return asked.weight * denoising_loss(asked.answer(x0_hat), asked.target, batch.sigma, sigma_data, *asked.masks)

    return loss


def _low_res_question(batch: Batch) -> Question:
    """Of low-resolution videos at full size. A low-res pixel counts only if none of its pixels is masked."""
    r, context, spread = batch.low_res_factor, None, None
    observed, loss_mask = whole_blocks(batch.observed_mask, r), whole_blocks(batch.loss_mask, r)
    y = pool(batch.x0, r)
    # `unpool` gives 1/r of each value to its r × r pixels, so 1/r² of a pixel is observed.
    share = unpool(observed.to(y.dtype), r) / r
    if batch.context_mask is not None:
        context = whole_blocks(batch.context_mask, r)
        spread = context.repeat_interleave(r, dim=-1).repeat_interleave(r, dim=-2)
    return Question(
        shown=unpool(torch.where(observed, y, torch.zeros_like(y)), r),
        inputs=replace(batch.inputs, observed_mask=share, context_mask=spread),
        answer=lambda x0_hat: pool(x0_hat, r),
        target=y,
        masks=(observed, loss_mask, context),
        # The mean is over r² times fewer values. Divided by r² it is what these frequencies add to a full video's loss.
        weight=1 / r**2,
    )
