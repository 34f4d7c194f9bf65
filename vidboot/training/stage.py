"""What a stage of training is: one network, its data, its loss.

A stage's samples, noise and noise levels depend on seed and sample number only. So the state between two steps is
weights, optimiser, average and step count; a run that was stopped goes on exactly where it was, and a global batch is
the same however many processes share it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vidboot.config import OptimizationConfig
from vidboot.data.datasets import at_scale, leave_signals_to_parent, to_tensor
from vidboot.distributed import device, rank
from vidboot.method.edm import Noise, Preconditioned
from vidboot.method.hole_filling import fill_hidden, fillable
from vidboot.training.engine import batch_per_process

CONTEXT_NOISE = 4.0
"""Samples with context are this many times noisier: there it has to tell what the noisy frames themselves don't."""


@dataclass(frozen=True)
class Batch:
    """Some samples of a step, noise included."""

    x0: Float[Tensor, "B C T H W"]
    """Videos; what their own masks hide is filled in."""
    mask: Bool[Tensor, "B 1 T H W"]
    """True where the network is shown a pixel: false where one is hidden on purpose, or nothing of a frame is known."""
    known: Bool[Tensor, "B 1 T H W"]
    """True where the loss may ask for a pixel: false where the video's own mask hides one."""
    sigma: Float[Tensor, "B"]
    noise: Float[Tensor, "B C T H W"]
    seeds: list[int]
    """Of each item's noise level and noise: equal seeds are equal items."""
    conditions: dict[str, Int[Tensor, "B"]]
    """Class `label` and frame `stride`, for networks that take them."""
    shots: list[str]
    """The files that the samples are from."""
    band: int = 1
    """Low-res factor whose band is all that's known of the videos (1: everything)."""
    context: Bool[Tensor, "B 1 T H W"] | None = None
    """True where a pixel is without noise (None: nowhere)."""


@dataclass(frozen=True)
class Stage:
    """What makes a stage: everything that the loop does not know."""

    name: str
    network: Preconditioned
    optimization: OptimizationConfig
    dataset: Dataset
    noise: Noise
    loss: Callable[[Callable[..., Tensor], Batch], Float[Tensor, "B"]]
    """Loss of each item, given the network (called as `network(x, sigma, …)`) and a batch."""
    evaluate: Callable[[Preconditioned], dict[str, float]]
    """Held-out metrics of the averaged network; called on all processes."""
    sample: Callable[[Preconditioned, Path], None]
    """Write a sample video of the averaged network to a path; called on the first process."""
    scale: int = 1
    """Low-res factor of what the network sees."""
    pull: float = 0.0
    choose_by: str | None = None
    """Held-out metric whose lowest value marks the stopping point (None: train to the end)."""
    hopeless: Callable[[], bool] = lambda: False
    """Asked after each step, on all processes: true ends the training early."""


def draw_steps(stage: Stage, start: int, num_workers: int) -> Iterator[list[Batch]]:
    """This process's micro-batches of each step from `start` on."""
    share, micro = batch_per_process(stage.optimization)
    size = stage.optimization.batch_size
    indices = [
        range(step * size + rank() * share + first, step * size + rank() * share + first + micro)
        for step in range(start, stage.optimization.steps)
        for first in range(0, share, micro)
    ]
    loader = DataLoader(
        stage.dataset,
        batch_sampler=indices,
        num_workers=num_workers,
        # Spawned, not forked: decord hangs in a fork of a process that has read a video.
        multiprocessing_context="spawn" if num_workers else None,
        worker_init_fn=leave_signals_to_parent,
    )
    micro_batches: list[Batch] = []
    for samples in loader:
        micro_batches.append(_with_noise(samples, stage.scale, stage.noise))
        if len(micro_batches) == share // micro:
            yield micro_batches
            micro_batches = []


def _with_noise(samples: dict[str, Tensor], scale: int, levels: Noise) -> Batch:
    """Draw each item's noise level and noise from its own seed."""
    video = to_tensor(samples["frames"].to(device()))
    names = [name for name in ("mask", "known", "context") if name in samples]
    x0, masks = at_scale(video, torch.cat([samples[name] for name in names], dim=1).to(device()), scale)
    of = dict(zip(names, masks.split(1, dim=1), strict=True))
    x0, shown = fill_hidden(x0, of["known"]), of["mask"] | (~of["known"] & fillable(of["known"]))
    seeds = samples["seed"].tolist()
    generators = [torch.Generator(device()).manual_seed(seed) for seed in seeds]
    sigma = torch.tensor([levels.sample(g) for g in generators], device=device())
    if "context" in of:
        has_context = of["context"].flatten(1).any(1)
        sigma = torch.where(has_context, (CONTEXT_NOISE * sigma).clamp(max=levels.sigma_max), sigma)
    noise = torch.stack([torch.randn(x0.shape[1:], generator=g, device=device()) for g in generators])
    conditions = {name: samples[name].to(device()) for name in ("label", "stride") if name in samples}
    band = int(samples["band"][0]) if "band" in samples else 1
    shots = samples["shot"]
    return Batch(x0, shown, of["known"], sigma, noise, seeds, conditions, shots, band, of.get("context"))
