"""The training of one network: its data, its loss, and how it is judged. What the loop runs."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Float
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vidboot.config import NoiseConfig, OptimizationConfig
from vidboot.data.datasets import leave_signals_to_parent
from vidboot.distributed import rank
from vidboot.method.composition import Network
from vidboot.method.edm import Preconditioned
from vidboot.training.batch import Batch, with_noise
from vidboot.training.engine import batch_per_process


@dataclass(frozen=True)
class NetworkTraining:
    """Everything about the training of a network that the loop does not know.

    The state between two steps is weights, optimiser, average and step count; all else depends on seed and step.
    """

    name: str
    network: Preconditioned
    optimization: OptimizationConfig
    dataset: Dataset
    noise: NoiseConfig
    loss: Callable[[Network, Batch], Float[Tensor, "B"]]
    """Loss of each item."""
    evaluate: Callable[[Preconditioned], dict[str, float]]
    """Held-out metrics of the averaged network; called on all processes."""
    sample: Callable[[Preconditioned, Path], None]
    """Write a sample video of the averaged network to a path; called on the first process."""
    scale: int = 1
    """Low-res factor of what the network sees."""
    pull: float = 0.0
    """Strength of the pull towards the weights that training started from."""
    choose_by: str | None = None
    """Held-out metric whose lowest value marks the stopping point (None: train to the end)."""
    should_stop: Callable[[], bool] = lambda: False
    """Asked after each step, on all processes: true ends the training early."""


def draw_steps(training: NetworkTraining, start: int, num_workers: int) -> Iterator[list[Batch]]:
    """This process's micro-batches of each step from `start` on."""
    share, micro = batch_per_process(training.optimization)
    size = training.optimization.batch_size
    indices = [
        range(step * size + rank() * share + first, step * size + rank() * share + first + micro)
        for step in range(start, training.optimization.steps)
        for first in range(0, share, micro)
    ]
    loader = DataLoader(
        training.dataset,
        batch_sampler=indices,
        num_workers=num_workers,
        # Spawned, not forked: decord hangs in a fork of a process that has read a video.
        multiprocessing_context="spawn" if num_workers else None,
        worker_init_fn=leave_signals_to_parent,
    )
    micro_batches: list[Batch] = []
    for samples in loader:
        micro_batches.append(with_noise(samples, training.scale, training.noise))
        if len(micro_batches) == share // micro:
            yield micro_batches
            micro_batches = []
