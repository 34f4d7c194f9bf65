"""One stage of training: one network, its data, its loss, on a DeepSpeed engine.

A stage's samples, noise and noise levels depend on seed and sample number only. So the state between two steps is
weights, optimiser, average and step count; a run that was stopped goes on exactly where it was, and a global batch is
the same however many processes share it.
"""

import logging
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import deepspeed
import torch
from jaxtyping import Bool, Float
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import DataLoader

from vidboot.config import OptimizationConfig, RunConfig
from vidboot.data.datasets import ViewDataset, leave_signals_to_parent
from vidboot.data.files import atomic_path
from vidboot.edm import Noise, Preconditioned
from vidboot.training.checkpoints import load_last_checkpoint, save_checkpoint
from vidboot.training.distributed import device, rank, sum_over_ranks, world_size
from vidboot.training.engine import batch_per_process, make_engine
from vidboot.training.log import StageLog
from vidboot.training.optimizer import Average, learning_rate

logger = logging.getLogger(__name__)
BEST_FILE = "best.safetensors"


@dataclass(frozen=True)
class Batch:
    """Some samples of a step, noise included."""

    x0: Float[Tensor, "B C T H W"]
    mask: Bool[Tensor, "B 1 T H W"]
    sigma: Float[Tensor, "B"]
    noise: Float[Tensor, "B C T H W"]


@dataclass(frozen=True)
class Stage:
    """What makes a stage: everything that the loop does not know."""

    name: str
    network: Preconditioned
    optimization: OptimizationConfig
    dataset: ViewDataset
    noise: Noise
    loss: Callable[[Callable[..., Tensor], Batch], Float[Tensor, "B"]]
    """Loss of each item, given the network (called as `network(x, sigma, …)`) and a batch."""
    evaluate: Callable[[Preconditioned], dict[str, float]]
    """Held-out metrics of the averaged network; called on all processes."""
    sample: Callable[[Preconditioned, Path], None]
    """Write a sample video of the averaged network to a path; called on the first process."""
    pull: float = 0.0
    choose_by: str | None = None
    """Held-out metric whose lowest value marks the stopping point (None: train to the end)."""


class Interrupted(KeyboardInterrupt):
    """Training was stopped by a signal, after its state was saved."""


def train_stage(stage: Stage, folder: Path, config: RunConfig) -> Preconditioned:
    """Train `stage` to its end, from its last checkpoint if there is one; returns the averaged network.

    Raises `Interrupted` on SIGINT or SIGTERM, after saving a checkpoint at the next step boundary.
    """
    average = Average(stage.network, stage.optimization.ema_decay)
    engine = make_engine(stage.network, stage.optimization, config.deepspeed, stage.pull)
    checkpoints = folder / "checkpoints"
    step = load_last_checkpoint(checkpoints, engine, average)
    steps = stage.optimization.steps
    if step:
        logger.info("%s: goes on from the checkpoint at step %d of %d", stage.name, step, steps)
    log = StageLog(folder, stage.name, steps, step)
    best = _Best(folder, stage.choose_by, step)
    frames = videos = 0
    with _StopSignal() as stop:
        for micro_batches in _steps(stage, step, config.data.num_workers):
            loss = _train_step(engine, stage, micro_batches, learning_rate(step, stage.optimization))
            step += 1
            average.update(engine.module, step)
            totals = sum_over_ranks(torch.tensor([loss, float(stop.requested)], dtype=torch.float64, device=device()))
            videos += stage.optimization.batch_size
            frames += stage.optimization.batch_size * micro_batches[0].x0.shape[2]
            if step % config.log.log_every == 0 or step == steps:
                metrics = {
                    "loss": totals[0].item() / world_size(),
                    "learning_rate": learning_rate(step - 1, stage.optimization),
                }
                log.progress(step, videos, frames, metrics)
                frames = videos = 0
            if step % config.log.evaluate_every == 0 or step == steps:
                held_out = stage.evaluate(average.network)
                log.write(step, held_out)
                best.offer(step, held_out, average)
                logger.info("%s %d/%d  held out: %s", stage.name, step, steps, _in_words(held_out))
            if rank() == 0 and (step % config.log.sample_every == 0 or step == steps):
                stage.sample(average.network, folder / "samples" / f"step-{step:07d}.mp4")
            stopping = bool(totals[1])
            if step % config.log.checkpoint_every == 0 or stopping or step == steps:
                save_checkpoint(checkpoints, step, engine, average, config.log.keep_checkpoints)
            if stopping and step < steps:
                log.close()
                raise Interrupted(f"{stage.name} was stopped at step {step}; its checkpoint is saved")
    log.close()
    best.restore(average)
    engine.destroy()
    return average.network


def _train_step(engine: deepspeed.DeepSpeedEngine, stage: Stage, micro_batches: list[Batch], rate: float) -> float:
    """One optimiser step over this process's micro-batches; returns their mean loss."""
    engine.train()
    for group in engine.optimizer.param_groups:
        group["lr"] = rate
    total = 0.0
    for batch in micro_batches:
        loss = stage.loss(engine, batch).mean()
        engine.backward(loss)
        engine.step()
        total += loss.item()
    return total / len(micro_batches)


def _steps(stage: Stage, start: int, num_workers: int) -> Iterator[list[Batch]]:
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
        micro_batches.append(_with_noise(samples, stage.noise))
        if len(micro_batches) == share // micro:
            yield micro_batches
            micro_batches = []


def _with_noise(samples: dict[str, Tensor], levels: Noise) -> Batch:
    """Draw each item's noise level and noise from its own seed."""
    x0, mask = samples["video"].to(device()), samples["mask"].to(device())
    generators = [torch.Generator(device()).manual_seed(seed) for seed in samples["seed"].tolist()]
    sigma = torch.tensor([levels.sample(g) for g in generators], device=device())
    noise = torch.stack([torch.randn(x0.shape[1:], generator=g, device=device()) for g in generators])
    return Batch(x0, mask, sigma, noise)


class _StopSignal:
    """Notes SIGINT and SIGTERM while the loop runs, for the next step boundary; a second one stops at once."""

    def __enter__(self) -> "_StopSignal":
        self.requested = False
        self.before = {s: signal.signal(s, self._note) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True

    def __exit__(self, *exception: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)


class _Best:
    """The averaged weights at the lowest held-out value of one metric: the stopping point."""

    def __init__(self, folder: Path, metric: str | None, resumed_at: int) -> None:
        self.path, self.metric, self.value = folder / BEST_FILE, metric, float("inf")
        if metric is None or not resumed_at or not self.path.exists():
            self.path.unlink(missing_ok=True)
            return
        self.value = float(_metadata(self.path)["value"])

    def offer(self, step: int, held_out: dict[str, float], average: Average) -> None:
        """Keep the weights if they are the best so far."""
        if self.metric is not None and held_out[self.metric] < self.value:
            self.value = held_out[self.metric]
            if rank() == 0:
                with atomic_path(self.path) as partial:
                    save_file(average.network.state_dict(), partial, {"step": str(step), "value": repr(self.value)})

    def restore(self, average: Average) -> None:
        """Put the best weights into `average`."""
        if self.metric is not None:
            average.network.load_state_dict(load_file(self.path))
            logger.info("stopping point: step %s", _metadata(self.path)["step"])


def _metadata(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as stored:
        return stored.metadata()


def _in_words(metrics: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.4f}" for name, value in metrics.items())
