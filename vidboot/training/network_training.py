"""The training of one network: its data, its loss, and how it is measured. The loop runs it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vidboot.config import NoiseConfig, OptimizationConfig
from vidboot.data.datasets import leave_signals_to_parent
from vidboot.distributed import rank
from vidboot.method.composition import Network
from vidboot.method.edm import Preconditioned
from vidboot.training.batch import Batch, with_noise
from vidboot.training.engine import batch_per_process, micro_batch


@dataclass(frozen=True)
class NetworkTraining:
    """All that differs between the trainings of two networks.

    Between two steps the only state is weights, optimiser, EMA and step count; all else follows from seed and step.
    """

    name: str
    network: Preconditioned
    optimization: OptimizationConfig
    dataset: Dataset
    noise: NoiseConfig
    loss: Callable[[Network, Batch], Float[Tensor, "B"]]
    """Loss of each item."""
    evaluate: Callable[[Preconditioned], dict[str, float]]
    """Held-out metrics of the EMA network; called on all processes."""
    sample: Callable[[Preconditioned, Path], None]
    """Write a sample video of the EMA network to a path; called on the first process."""
    num_frames: int = 1
    """Frames of the videos that `optimization.micro_batch_size` counts."""
    scale: int = 1
    """Low-res factor of the network's videos."""
    pull: float = 0.0
    """Strength of the pull towards the weights that training started from."""
    choose_by: str | None = None
    """Held-out metric that is lowest at the stopping point, whose weights are kept (None: the last weights)."""
    until: int | None = None
    """Pause after this many steps, with a checkpoint and a measurement (None: go on to the end)."""
    should_stop: Callable[[], bool] = lambda: False
    """Called after each step, on all processes; true ends the training early."""

    @property
    def last_step(self) -> int:
        """The number of the step after which this training pauses or ends."""
        steps = self.optimization.steps
        return steps if self.until is None else min(self.until, steps)


def draw_steps(training: NetworkTraining, start: int, num_workers: int) -> Iterator[list[Batch]]:
    """This process's micro-batches of each step from `start` on.

    Raises `UserError` if the batch size can't be shared out evenly, or if no shot is left that can be read.
    """
    loader = DataLoader(
        training.dataset,
        batch_sampler=_shares(training.optimization, start, training.last_step),
        num_workers=num_workers,
        # Spawned, not forked: decord hangs in a fork of a process that has read a video.
        multiprocessing_context="spawn" if num_workers else None,
        worker_init_fn=leave_signals_to_parent,
        pin_memory=torch.cuda.is_available(),
    )
    for samples in loader:
        share, num_frames = samples["frames"].shape[:2]
        micro = micro_batch(training.optimization, training.num_frames, num_frames)
        parts = [slice(first, first + micro) for first in range(0, share, micro)]
        yield [_with_noise(training, {name: value[part] for name, value in samples.items()}) for part in parts]


def _with_noise(training: NetworkTraining, samples: Mapping[str, Any]) -> Batch:
    return with_noise(samples, training.scale, training.noise)


def _shares(optimization: OptimizationConfig, start: int, end: int) -> Iterator[list[int]]:
    """Sample numbers of this process in each step, in order. Step s has the numbers from s · `batch_size` on."""
    share, _ = batch_per_process(optimization)
    for step in range(start, end):
        first = step * optimization.batch_size + rank() * share
        yield list(range(first, first + share))
