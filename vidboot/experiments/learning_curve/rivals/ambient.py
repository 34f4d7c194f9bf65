"""Ambient-o (Daras et al. 2025, arXiv 2506.10038): above a noise level of its own, poor data is as good as good data.

Noise brings distributions together: what a video p̃ lacks is gone at some σ anyway. The paper's rule: a classifier of
noisy good against noisy poor data says from which level on a kind of data can't be told from good data,

    σ_min = least σ with P(poor | x0 + σ n, σ) < 1/2 + ε on poor data,      ε = 0.05

and one network learns from good data at all σ, and from poor data at σ > σ_min as if it were good. (The paper's target
there is the poor video with noise of σ_min, in place of x0. Its regression is the same, (x + σ² ∇ log p̃_σ(x)), with a
larger variance; so x0 is the target here.)

Here poor are the low-resolution videos, enlarged, all of one kind; and "least σ" is one from which on P stays as low,
because distance only falls with noise. The classifier compares windows of a clip's length of them with clips, which
lack nothing in resolution: there are too few full videos to learn that from. Clips are no poor data but short ones, of
the length that the network is told they have, so they teach at all σ. The paper's limit for crops, at σ below the one
where a denoiser looks beyond them, is for pictures that are wrong beyond the crop. What a video's own mask hides is
treated as in all other rows. The network is the clip network, the shares of clips and low-resolution videos are those
of its settings at the levels where both are admitted. It is trained on all partial data once, with the operations of
the views, those of the classifier included; then, with those of the residual, in half of the steps on full videos
(drawn evenly, as in the paper, four full videos would never come up among thousands of others).
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor
from torch.special import ndtr, ndtri
from torch.utils.data import Dataset, default_collate

from vidboot.config import NoiseConfig, RunConfig
from vidboot.data.datasets import ViewDataset
from vidboot.data.manifest import Shot
from vidboot.data.split import Split
from vidboot.distributed import device
from vidboot.experiments.learning_curve.compute import mean_step
from vidboot.experiments.learning_curve.rivals.classifier import Classification, Draw, classify
from vidboot.experiments.learning_curve.rows import AMBIENT, Methods, Rows
from vidboot.experiments.learning_curve.training import train_quietly
from vidboot.method.composition import Network
from vidboot.method.views import pool, whole_blocks
from vidboot.model.run_folder import load_weights, save_weights
from vidboot.model.video_model import view_network
from vidboot.training.batch import Batch, with_noise
from vidboot.training.low_res_loss import view_loss
from vidboot.training.shots import training_shots
from vidboot.training.view_stage import ViewStage

CLASSIFIER_SHARE = 0.05
"""Share of the operations on partial data that the classifier takes; untuned."""
CLASSIFIED = 8
"""Videos of each kind in a step of the classifier."""
FULL_SHARE = 0.5
"""Share of the last steps on full videos; untuned."""
ANNOTATION = "annotation.json"


class Ambient:
    """Its row, from a network that is trained on all partial data once, into `folder`, as is what was classified."""

    def __init__(self, methods: Methods, folder: Path) -> None:
        self.methods, self.folder = methods, folder

    def train_on_partial_data(self, work: Path) -> None:
        """Train classifier and network with the operations of the views."""
        run, views = self.methods.run(0, work), self.methods.compute.views
        torch.manual_seed(run.seed)
        good, poor = clips_and_enlarged(run, self.methods.split(self.methods.data.partial))
        found = classify(good, poor, run.noise, CLASSIFIER_SHARE * views)
        run = admitting(run, found.sigma_min)
        steps = max(1, round((views - found.operations) / mean_step(ViewStage(run, run.clip))))
        run, training = self.methods.on_partial_data(run, steps)
        training = replace(training, loss=ambient_loss(run.noise, found.sigma_min))
        save_weights(self.folder, train_quietly(training, work, run, 1))
        found.write(self.folder / ANNOTATION)

    def row(self, count: int, seed: int, work: Path) -> Rows:
        """The network, trained on with the operations of the residual, on full videos and on the others."""
        sigma_min = Classification.read(self.folder / ANNOTATION).sigma_min
        run = admitting(self.methods.run(seed, work), sigma_min)
        network = load_weights(self.folder, view_network(run, run.clip)).requires_grad_(True).to(device())
        stage = self.methods.fine_tuning(run, network, count, seed)
        clips, batch = ViewStage(run, run.clip), stage.optimization.batch_size
        others = clips.dataset(self.methods.split(self.methods.data.partial), clips.seed, batch)
        steps = self.steps_on_all(mean_step(clips) / clips.optimization.batch_size * batch)
        stage = replace(
            stage,
            dataset=FullAndPartial(stage.dataset, others, clips.seed, batch),
            optimization=stage.optimization.model_copy(update={"steps": steps}),
            loss=ambient_loss(run.noise, sigma_min),
        )
        admitted = sigma_min if math.isfinite(sigma_min) else None  # JSON has no infinity
        return {AMBIENT: self.methods.trained_alone(stage, run) | {"sigma_min": admitted}}

    def steps_on_all(self, partial_step: float) -> int:
        """Steps on full and partial videos for the operations of the residual, given those of a partial step."""
        compute = self.methods.compute
        step = FULL_SHARE * compute.full_step + (1 - FULL_SHARE) * partial_step
        return max(1, round(compute.residual / step)) * self.methods.config.longer


class FullAndPartial(Dataset):
    """Full videos in a share of the steps, partial ones in the others; stateless like both."""

    def __init__(self, full: Dataset, partial: Dataset, seed: int, batch_size: int) -> None:
        self.full, self.partial, self.seed, self.batch_size = full, partial, seed, batch_size

    def __getitem__(self, index: int) -> dict[str, object]:
        rng = np.random.default_rng([self.seed, 3, index // self.batch_size])
        sample: dict[str, object] = (self.full if rng.random() < FULL_SHARE else self.partial)[index]
        return sample


def clips_and_enlarged(run: RunConfig, split: Split) -> tuple[Draw, Draw]:
    """Draws windows of a clip's length: of clips, and of low-resolution videos that are enlarged."""
    full_length, num_frames = run.clip.full_length, run.clip.num_frames
    assert full_length is not None  # a learning curve has it
    low = training_shots(run, split.train, "low_res", run.video.num_frames, "clip.full_length")
    good = draw_batches(run, ViewStage(run, run.clip).trains_on(split), num_frames, run.seed)
    poor = draw_batches(run, low, num_frames, run.seed + 1)

    def draw_enlarged() -> Batch:
        """The next of the low-resolution ones."""
        batch = next(poor)
        return replace(batch, x0=enlarged(batch.x0, full_length.scale))

    return partial(next, good), draw_enlarged


def draw_batches(run: RunConfig, shots: Sequence[Shot], num_frames: int, seed: int) -> Iterator[Batch]:
    """Endlessly, windows of these shots with noise."""
    windows = ViewDataset(shots, {num_frames: 1.0}, seed, CLASSIFIED, run.data)
    for first in itertools.count(step=CLASSIFIED):
        yield with_noise(default_collate([windows[first + n] for n in range(CLASSIFIED)]), 1, run.noise)


def admitting(run: RunConfig, sigma_min: float) -> RunConfig:
    """The run's settings, with low-resolution videos in their share of those steps only whose σ admits them."""
    full_length = run.clip.full_length
    assert full_length is not None  # a learning curve has it
    share = full_length.share * (1 - float(ndtr(_normal(torch.tensor(sigma_min), run.noise))))
    # Steps that would come up less than once in a thousand are none.
    kept = full_length.model_copy(update={"share": share}) if share >= 1e-3 else None
    return run.model_copy(update={"clip": run.clip.model_copy(update={"full_length": kept})})


def ambient_loss(noise: NoiseConfig, sigma_min: float) -> Callable[[Network, Batch], Float[Tensor, "B"]]:
    """The loss of each item; low-resolution videos count as good ones, at levels above σ_min."""
    of_good = view_loss(noise.sigma_data)

    def loss(network: Network, batch: Batch) -> Float[Tensor, "B"]:
        """The loss of each item."""
        return of_good(network, batch if batch.low_res_factor == 1 else as_if_good(batch, noise, sigma_min))

    return loss


def as_if_good(batch: Batch, noise: NoiseConfig, sigma_min: float) -> Batch:
    """Low-resolution videos at full size, enlarged, at levels above σ_min; what a mask hides in part is masked."""
    r = batch.low_res_factor

    def blocks(mask: Bool[Tensor, "B 1 T H W"]) -> Bool[Tensor, "B 1 T H W"]:
        """True in blocks of which all pixels are."""
        return whole_blocks(mask, r).repeat_interleave(r, dim=-1).repeat_interleave(r, dim=-2)

    return replace(
        batch,
        x0=enlarged(batch.x0, r),
        observed_mask=blocks(batch.observed_mask),
        loss_mask=blocks(batch.loss_mask),
        sigma=levels_above(batch.sigma, noise, sigma_min),
        # A pixel without noise would be told from a good one.
        context_mask=None,
        low_res_factor=1,
    )


def enlarged(x0: Float[Tensor, "B C T H W"], scale: int) -> Float[Tensor, "B C T H W"]:
    """The low-resolution video that is in `x0`, at full size, interpolated."""
    low = (pool(x0, scale) / scale).flatten(0, 2)[:, None]
    return F.interpolate(low, scale_factor=float(scale), mode="bilinear", align_corners=False).reshape(x0.shape)


def levels_above(sigma: Float[Tensor, "B"], noise: NoiseConfig, sigma_min: float) -> Float[Tensor, "B"]:
    """Levels with the distribution of training, given that they are above σ_min; from levels without that condition.

    With u = P(σ' < σ), the level of which P is u P(σ' > σ_min) more than P(σ' < σ_min).
    """
    below = ndtr(_normal(sigma.new_tensor(sigma_min), noise))
    u = below + (1 - below) * ndtr(_normal(sigma, noise))
    return (noise.p_mean + noise.p_std * ndtri(u)).exp().clamp(sigma_min, noise.sigma_max).to(sigma.dtype)


def _normal(sigma: Tensor, noise: NoiseConfig) -> Tensor:
    """The number of standard deviations of ln σ above its mean."""
    return (sigma.double().log() - noise.p_mean) / noise.p_std
