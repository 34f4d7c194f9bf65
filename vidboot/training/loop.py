"""The training loop: steps, held-out errors, samples and checkpoints, on an engine."""

import logging
import signal
from pathlib import Path
from types import FrameType

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from vidboot.config import RunConfig
from vidboot.data.files import atomic_path
from vidboot.distributed import device, rank, sum_over_ranks
from vidboot.method.edm import Preconditioned
from vidboot.model.video_model import frozen
from vidboot.training.batch import Batch
from vidboot.training.checkpoints import Checkpoints
from vidboot.training.compiling import Compiling
from vidboot.training.engine import make_engine
from vidboot.training.engine_types import StoredEngine
from vidboot.training.log import StageLog
from vidboot.training.network_training import NetworkTraining, draw_steps
from vidboot.training.networks import unet_of
from vidboot.training.optimizer import EMA, learning_rate
from vidboot.training.step import TrainStep

logger = logging.getLogger(__name__)
BEST_FILE = "best.safetensors"


class Interrupted(KeyboardInterrupt):
    """Training was stopped by a signal, after its state was saved."""


def train_network(training: NetworkTraining, folder: Path, config: RunConfig) -> Preconditioned:
    """Train a network to its end (or `until`), from its last checkpoint if there is one, and return its EMA.

    Raises `Interrupted` on SIGINT or SIGTERM, after the current step and its checkpoint; `UserError` if the checkpoint
    can't be read or too many steps in a row are not finite.
    """
    optimization, steps, last = training.optimization, training.optimization.steps, training.last_step
    ema = EMA(training.network, optimization.ema_decay)
    unet_of(training.network).recompute_activations(optimization.activation_checkpointing)
    checkpoints = Checkpoints(folder / "checkpoints", config.log.keep_checkpoints)
    other_world = checkpoints.from_other_world(config)
    engine = make_engine(training.network, optimization, config.deepspeed, training.pull, other_world)
    step = checkpoints.load_last(engine, ema)
    if step:
        logger.info("%s: goes on from the checkpoint at step %d of %d", training.name, step, steps)
    watch, compiling = _Watch(training, folder, config, ema, step), Compiling(engine.module, steps, config.compile)
    train_step = TrainStep(engine, training)
    with _StopSignal() as signals:
        for micro_batches in draw_steps(training, step, config.data.num_workers):
            rate = learning_rate(step, optimization)
            step += 1
            with compiling.timed(step, micro_batches[0].x0.shape[2]):
                loss, stopping = train_step(step, micro_batches, rate, signals.requested)
            ema.update(engine.module, step)
            watch.after(step, micro_batches, {"loss": loss, "learning_rate": rate} | _extras(engine, train_step))
            if step % config.log.checkpoint_every == 0 or stopping or step == last:
                checkpoints.save(step, engine, ema)
            if stopping:
                break
            if training.should_stop():
                logger.info("%s: stopped early, at step %d of %d", training.name, step, steps)
                break
        # Looked at again, because a signal during the last step has no next step that would notice it.
        stopped = bool(sum_over_ranks(torch.tensor(float(signals.requested), device=device())))
    watch.log.close()
    if stopped:
        raise Interrupted(f"{training.name} was stopped at step {step}; run the same command again to go on from there")
    watch.best.restore(ema)
    engine.destroy()
    return ema.network


def _extras(engine: StoredEngine, train_step: TrainStep) -> dict[str, float]:
    """The gradient norm, where the engine has it, and the number of skipped steps, if there are any."""
    norm = train_step.gradient_norm if train_step.clips else engine.get_global_grad_norm()
    skipped = {"skipped_steps": float(train_step.skipped)} if train_step.skipped else {}
    return ({} if norm is None else {"gradient_norm": float(norm)}) | skipped


class _Watch:
    """Logs, held-out errors and samples along the way."""

    def __init__(
        self, training: NetworkTraining, folder: Path, config: RunConfig, ema: "EMA[Preconditioned]", resumed_at: int
    ) -> None:
        self.training, self.folder, self.config, self.ema = training, folder, config, ema
        self.every = config.log
        self.log = StageLog(folder, training.name, training.optimization.steps, resumed_at)
        self.best = _Best(folder, training.choose_by, resumed_at)
        self.frames = self.videos = 0

    def after(self, step: int, micro_batches: list[Batch], metrics: dict[str, float]) -> None:
        """Do what is due after a step; all processes call it."""
        steps, last = self.training.optimization.steps, self.training.last_step
        self.videos += self.training.optimization.batch_size
        self.frames += self.training.optimization.batch_size * micro_batches[0].x0.shape[2]
        if step % self.every.log_every == 0 or step == last:
            self.log.progress(step, self.videos, self.frames, metrics)
            self.frames = self.videos = 0
        if step % self.every.evaluate_every == 0 or step == last:
            held_out = self.training.evaluate(frozen(self.ema.network, self.config))
            self.log.write(step, held_out)
            self.best.offer(step, held_out, self.ema)
            said = "  ".join(f"{name} {value:.4f}" for name, value in held_out.items())
            logger.info("%s %d/%d  held out: %s", self.training.name, step, steps, said)
        if rank() == 0 and (step % self.every.sample_every == 0 or step == steps):
            self.training.sample(
                frozen(self.ema.network, self.config), self.folder / "samples" / f"step-{step:07d}.mp4"
            )


class _StopSignal:
    """Catches SIGINT and SIGTERM, so that the loop can end its current step. A second Ctrl-C (SIGINT) stops at once.

    A SIGTERM that follows is the launcher's: after a Ctrl-C in a terminal, which reaches all processes, DeepSpeed's
    launcher sends one to each, and waits.
    """

    def __enter__(self) -> "_StopSignal":
        self.requested = False
        self.before = {s: signal.signal(s, self._note) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True

    def __exit__(self, *exception: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)


class _Best:
    """The EMA weights at the stopping point, where one held-out metric is lowest."""

    def __init__(self, folder: Path, metric: str | None, resumed_at: int) -> None:
        self.path, self.metric, self.value = folder / BEST_FILE, metric, float("inf")
        if metric is not None and resumed_at and self.path.exists():
            self.value = float(_metadata(self.path)["value"])
        elif rank() == 0:
            self.path.unlink(missing_ok=True)

    def offer(self, step: int, held_out: dict[str, float], ema: EMA) -> None:
        """Keep the weights if they are the best yet."""
        if self.metric is not None and held_out[self.metric] < self.value:
            self.value = held_out[self.metric]
            if rank() == 0:
                with atomic_path(self.path) as partial:
                    save_file(ema.network.state_dict(), partial, {"step": str(step), "value": repr(self.value)})

    def restore(self, ema: EMA) -> None:
        """Put the best weights into `ema`."""
        if self.metric is not None:
            ema.network.load_state_dict(load_file(self.path))
            logger.info("stopping point: step %s", _metadata(self.path)["step"])


def _metadata(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as stored:
        return stored.metadata()
