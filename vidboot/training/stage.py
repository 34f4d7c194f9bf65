"""What every stage of a run can do: check, estimate, run, and tell whether it is finished.

A run goes through its stages in order: a `ViewStage` for each view, the `CalibrationStage`, the `ResidualStage`
(`vidboot.training.stages`). Plan, estimate and run loop know stages only through this interface.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vidboot.config import OptimizationConfig, RunConfig
from vidboot.data.manifest import Shot
from vidboot.data.split import Split
from vidboot.method.edm import Preconditioned
from vidboot.method.network_inputs import NetworkInputs
from vidboot.model.run_folder import WEIGHTS_FILE
from vidboot.training.checkpoints import checkpoint_steps
from vidboot.training.engine import batch_per_process
from vidboot.training.estimate import Cost
from vidboot.training.stage_settings import SETTINGS_FILE, check_same_settings


class Stage(ABC):
    """One stage of a run."""

    name: str
    """Of the stage and of its folder."""

    def __init__(self, config: RunConfig) -> None:
        self.config = config

    @property
    def folder(self) -> Path:
        """Where the stage keeps what it makes."""
        return self.config.run_dir / self.name

    @property
    def settings_path(self) -> Path:
        """Where the settings that the stage was run with are kept."""
        return self.folder / SETTINGS_FILE

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """All that the stage's result depends on, as plain values."""

    @abstractmethod
    def check(self, split: Split) -> None:
        """Raise `UserError` for what would stop the stage, before any stage starts."""

    @abstractmethod
    def is_finished(self) -> bool:
        """Whether the stage has run to its end."""

    @abstractmethod
    def run(self, split: Split) -> None:
        """Run the stage to its end, from where it was stopped; all processes call it."""

    @abstractmethod
    def frame_counts(self) -> Mapping[int, float]:
        """Frame counts that the stage works on, with the share of the steps for each."""

    def trains_on(self, split: Split) -> Sequence[Shot]:
        """The shots that the stage learns from. Raises `UserError` if there are none."""
        return split.validation

    def state(self) -> str:
        """How far the stage has come, in words."""
        return "finished" if self.is_finished() else "to do"


class NetworkStage(Stage):
    """A stage that trains a network."""

    @property
    @abstractmethod
    def optimization(self) -> OptimizationConfig:
        """How the network is trained."""

    @abstractmethod
    def network(self) -> Preconditioned:
        """The network before training."""

    @abstractmethod
    def example_inputs(self, shape: Sequence[int]) -> NetworkInputs:
        """Inputs as in training, for a video of shape B C T H W, to estimate by (on the current device)."""

    @abstractmethod
    def cost(self, num_frames: int) -> Cost:
        """What a training step takes at this frame count."""

    def longest_cost(self) -> Cost:
        """What a step takes at the stage's longest frame count."""
        return self.cost(max(self.frame_counts()))

    def check(self, split: Split) -> None:
        """Raise `UserError` for other settings than before, missing shots, and batches that don't come out even."""
        check_same_settings(self.settings_path, self.settings())
        self.trains_on(split)
        batch_per_process(self.optimization)

    def is_finished(self) -> bool:
        """Whether the trained weights are there."""
        return (self.folder / WEIGHTS_FILE).exists()

    def state(self) -> str:
        """How far the stage has come, in words."""
        steps = checkpoint_steps(self.folder / "checkpoints")
        return f"goes on from step {steps[-1]}" if steps and not self.is_finished() else super().state()
