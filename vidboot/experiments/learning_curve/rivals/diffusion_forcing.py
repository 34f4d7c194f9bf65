"""Diffusion Forcing (Chen et al. 2024, arXiv 2407.01392): every frame has a noise level of its own.

The paper's rule (its Algorithm 1, without the recurrent state): for each frame t of a video draw σ_t on its own, and
learn to denoise all frames at once from all of them,

    E Σ_t λ(σ_t) ‖D(x; σ_1 … σ_T)_t − x0_t‖² / T,       x_t = x0_t + σ_t n_t

with a network that is told σ_t frame by frame. Full noise stands for an unknown frame, none for a known one.

Here D is the clip network, which embeds a noise level for each frame anyway. It attends to later frames too (the
authors' own later default for whole videos, and a causal network would be at a loss here), the levels have the
distribution that all rows train on, and λ is EDM's, in place of the paper's weights for a recurrent state. It learns
from clips and, in the same steps as the clip network, from long low-resolution videos at full size, of which the loss
covers the low frequencies (`vidboot.training.low_res_loss`); then from the full videos. On the test videos, as in all
rows, all frames have the same level.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor

from vidboot.config import NoiseConfig
from vidboot.distributed import device
from vidboot.experiments.learning_curve.rows import FORCING, Methods, Rows
from vidboot.experiments.learning_curve.training import train_quietly
from vidboot.method.composition import Network
from vidboot.method.edm import denoising_loss
from vidboot.model.run_folder import load_weights, save_weights
from vidboot.model.video_model import view_network
from vidboot.training.batch import Batch
from vidboot.training.low_res_loss import Question


class DiffusionForcing:
    """Its row, from a network that is trained on all partial data once, into `folder`."""

    def __init__(self, methods: Methods, folder: Path) -> None:
        self.methods, self.folder = methods, folder

    def train_on_partial_data(self, work: Path) -> None:
        """Train the network with the operations of the views."""
        run, training = self.methods.on_partial_data(self.methods.run(0, work), self.methods.compute.joint_steps)
        save_weights(self.folder, train_quietly(replace(training, loss=forcing_loss(run.noise)), work, run, 1))

    def row(self, count: int, seed: int, work: Path) -> Rows:
        """The network, fine-tuned on the full videos with the operations of the residual."""
        run = self.methods.run(seed, work)
        network = load_weights(self.folder, view_network(run, run.clip)).requires_grad_(True).to(device())
        stage = self.methods.fine_tuning(run, network, count, seed)
        return {FORCING: self.methods.trained_alone(replace(stage, loss=forcing_loss(run.noise)), run)}


def forcing_loss(noise: NoiseConfig) -> Callable[[Network, Batch], Float[Tensor, "B"]]:
    """The loss of each item, its frames at noise levels of their own."""

    def loss(network: Network, batch: Batch) -> Float[Tensor, "B"]:
        """The loss of each item."""
        asked, sigma_BT = Question.of(batch), frame_levels(batch, noise)
        x0_hat = network(asked.noisy(sigma_BT, batch.noise), sigma_BT, inputs=asked.inputs)
        return asked.weight * frame_by_frame(
            asked.answer(x0_hat), asked.target, sigma_BT, noise.sigma_data, *asked.masks
        )

    return loss


def frame_levels(batch: Batch, noise: NoiseConfig) -> Float[Tensor, "B T"]:
    """σ_t of each frame, drawn on their own as σ of an item is; they depend on the item's seed only."""
    num_frames = batch.x0.shape[2]
    # The seed itself gives the item's noise.
    generators = [torch.Generator().manual_seed(seed + 1) for seed in batch.seeds]
    levels = [[noise.sample(generator) for _ in range(num_frames)] for generator in generators]
    return torch.tensor(levels, device=batch.x0.device)


def frame_by_frame(
    x0_hat: Float[Tensor, "B C T H W"],
    x0: Float[Tensor, "B C T H W"],
    sigma_BT: Float[Tensor, "B T"],
    sigma_data: float,
    observed_mask: Bool[Tensor, "B 1 T H W"],
    loss_mask: Bool[Tensor, "B 1 T H W"],
    context_mask: Bool[Tensor, "B 1 T H W"] | None = None,
) -> Float[Tensor, "B"]:
    """`denoising_loss` of each frame at its σ; their mean by the number of pixels that the loss covers in them."""
    asked = loss_mask if context_mask is None else loss_mask & ~context_mask
    observed = observed_mask & asked
    predicted, truth, seen, counted = (
        rearrange(part, "b c t h w -> (b t) c 1 h w") for part in (x0_hat, x0, observed, asked)
    )
    losses = denoising_loss(predicted, truth, sigma_BT.flatten(), sigma_data, seen, counted)
    losses_BT = losses.view_as(sigma_BT)
    counts_BT = asked.flatten(3).sum(3)[:, 0]
    return (losses_BT * counts_BT).sum(1) / counts_BT.sum(1).clamp(min=1)
