"""Training one network of a learning curve, with its stopping point and learning rate chosen on held-out videos."""

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from torch import Tensor

from vidboot.config import OptimizationConfig, RunConfig
from vidboot.data.datasets import ViewDataset
from vidboot.data.manifest import Shot
from vidboot.method.edm import Preconditioned
from vidboot.training.held_out import HeldOut
from vidboot.training.loop import train_network
from vidboot.training.low_res_loss import view_loss
from vidboot.training.network_training import NetworkTraining

UNGATED, GATED = "ungated", "error"
"""Criteria for the stopping point, metrics of `HeldOut`: the error of the network alone, or of base + gated network."""
PATIENCE, FAR_OFF = 1 / 4, 1.1
"""A training stops early if for this share of its measurements its error was this many times its least error.

No sooner, because on real footage a trained network gets up to 8 % worse before it gets better.
"""


class Best:
    """The EMA weights of lowest held-out error over stopping points and learning rates, for each criterion."""

    def __init__(self, held_out: HeldOut) -> None:
        self.held_out = held_out
        self.error: dict[str, float] = dict.fromkeys((UNGATED, GATED), math.inf)
        self.rate: dict[str, float | None] = {}
        self.weights: dict[str, dict[str, Tensor]] = {}
        self.begin({})

    def begin(self, metrics: dict[str, float]) -> None:
        """Begin a training whose network has these errors at first: it is compared with its own errors only."""
        self.own = {criterion: metrics.get(criterion, math.inf) for criterion in self.error}
        self.far_off = self.not_better = 0
        """How many measurements in a row improved neither criterion, and of these were far above the least ungated
        error."""

    def offer(self, network: Preconditioned, rate: float | None) -> dict[str, float]:
        """Measure a network trained at a learning rate (None: untrained); keep its weights if they are the best yet."""
        metrics = self.held_out.evaluate(network)
        for criterion, least in self.error.items():
            if metrics[criterion] < least:
                self.error[criterion], self.rate[criterion] = metrics[criterion], rate
                self.weights[criterion] = copy.deepcopy(network.state_dict())
        better = any(metrics[criterion] < least for criterion, least in self.own.items())
        self.own = {criterion: min(least, metrics[criterion]) for criterion, least in self.own.items()}
        far_off = not better and metrics[UNGATED] > FAR_OFF * self.own[UNGATED]
        self.far_off = self.far_off + 1 if far_off else 0
        self.not_better = 0 if better else self.not_better + 1
        return metrics

    def notes(self, criterion: str) -> dict[str, float | None]:
        """Learning rate and held-out error of the best weights."""
        return {"rate": self.rate[criterion], "validation": self.error[criterion]}

    def restored(self, network: Preconditioned, criterion: str) -> Preconditioned:
        """`network` with the best weights, frozen."""
        network.load_state_dict(self.weights[criterion])
        return network.eval().requires_grad_(False)


class Patience:
    """Ends a training when its lowest held-out error is `limit` measurements ago."""

    def __init__(self, training: NetworkTraining, limit: int) -> None:
        self.training, self.limit = training, limit
        self.least, self.since = math.inf, 0

    def evaluate(self, network: Preconditioned) -> dict[str, float]:
        """Measure, and note whether the error is the lowest yet."""
        metrics = self.training.evaluate(network)
        self.since = 0 if metrics[GATED] < self.least else self.since + 1
        self.least = min(self.least, metrics[GATED])
        return metrics

    @classmethod
    def of(cls, training: NetworkTraining, limit: int) -> NetworkTraining:
        """The same training, which ends so."""
        patience = cls(training, limit)
        return replace(training, evaluate=patience.evaluate, should_stop=lambda: patience.since >= limit)


def train_best(
    stage: NetworkTraining,
    held_out: HeldOut,
    config: RunConfig,
    rates: Sequence[float],
    points: int,
    longer: int = 1,
) -> Best:
    """Train once for each learning rate; the network before training counts as a stopping point too.

    A training of `longer` times as many steps is measured as much more often, and ends when it has not been better for
    `points` measurements.
    """
    best, start = Best(held_out), copy.deepcopy(stage.network)

    def should_stop() -> bool:
        """Whether the training is hopeless, or has long been at its best."""
        return best.far_off > PATIENCE * points * longer or (longer > 1 and best.not_better >= points)

    untrained = best.offer(start.eval(), None)
    for rate in rates:
        best.begin(untrained)
        optimization = stage.optimization.model_copy(update={"learning_rate": rate})
        attempt = replace(
            stage,
            network=copy.deepcopy(start).train(),
            optimization=optimization,
            evaluate=partial(best.offer, rate=rate),
            sample=lambda network, path: None,
            choose_by=None,
            should_stop=should_stop,
        )
        train_quietly(attempt, config.run_dir / f"rate-{rate:g}", config, points * longer)
    return best


def train_quietly(stage: NetworkTraining, folder: Path, config: RunConfig, points: int) -> Preconditioned:
    """Train and measure `points` times. There are no checkpoints to go on from: a stopped task begins again."""
    return train_network(stage, folder, quiet(config, stage.optimization.steps, points))


def quiet(config: RunConfig, steps: int, points: int) -> RunConfig:
    """The run with a log that measures `points` times in so many steps, and does nothing else before their end."""
    every = {"evaluate_every": math.ceil(steps / points), "checkpoint_every": steps, "log_every": steps}
    log = config.log.model_copy(update=every | {"sample_every": steps, "keep_checkpoints": 1})
    return config.model_copy(update={"log": log})


def full_video_stage(
    config: RunConfig, network: Preconditioned, shots: Sequence[Shot], optimization: OptimizationConfig
) -> NetworkTraining:
    """Plain training of a network on full videos."""
    counts = {config.video.num_frames: 1.0}
    dataset = ViewDataset(shots, counts, config.seed * 1000, optimization.batch_size, config.data)
    return NetworkTraining(
        name="full videos",
        network=network,
        optimization=optimization,
        dataset=dataset,
        noise=config.noise,
        loss=view_loss(config.noise.sigma_data),
        evaluate=lambda network: {},
        sample=lambda network, path: None,
    )
