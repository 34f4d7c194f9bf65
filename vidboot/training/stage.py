"""What every stage of a run can do: check, estimate, run, and say whether it is finished.

A run goes through its stages in order: a `ViewStage` for each view, the `CalibrationStage`, the `ResidualStage`
(`vidboot.training.stages`). The plan, the estimate and the run loop know stages only through this interface.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidboot.config import OptimizationConfig, RunConfig
from vidboot.data.manifest import Shot
from vidboot.data.split import Split
from vidboot.distributed import rank
from vidboot.method.edm import Preconditioned
from vidboot.method.network_inputs import NetworkInputs
from vidboot.model.run_folder import WEIGHTS_FILE
from vidboot.training.checkpoints import checkpoint_steps
from vidboot.training.engine import batch_per_process
from vidboot.training.estimate import Cost, count_parameters
from vidboot.training.gpu_estimate import Peak
from vidboot.training.stage_settings import SETTINGS_FILE, check_same_settings, save_settings


@dataclass(frozen=True)
class Outline:
    """What a stage has before it, in words, for the plan."""

    data: str
    """What it learns from."""
    parameters: str = ""
    """Size of the network that it trains."""
    steps: str = ""
    """Steps of its training, and their batch size."""
    remarks: Sequence[str] = ()
    """Sentences below the table."""


class Stage(ABC):
    """One stage of a run."""

    name: str
    """Name of the stage and of its folder."""

    def __init__(self, config: RunConfig) -> None:
        self.config = config

    @property
    def folder(self) -> Path:
        """Where the stage keeps what it makes."""
        return self.config.run_dir / self.name

    @property
    def settings_path(self) -> Path:
        """Where the settings are kept that the stage was run with."""
        return self.folder / SETTINGS_FILE

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """All settings that the stage's result depends on, as plain values."""

    @abstractmethod
    def check(self, split: Split) -> None:
        """Raise `UserError` for anything that would stop the stage; called before the first stage starts."""

    @abstractmethod
    def is_finished(self) -> bool:
        """Whether the stage has run to its end."""

    @abstractmethod
    def run(self, split: Split) -> None:
        """Run the stage to its end, or go on from where it was stopped; all processes call it."""

    @abstractmethod
    def frame_counts(self) -> Mapping[int, float]:
        """The frame counts that the stage works on, each with its share of the steps."""

    @abstractmethod
    def outline(self, split: Split | None) -> Outline:
        """What the stage has before it; `split` is None as long as there is no data."""

    def cost(self, num_frames: int | None = None) -> Cost | None:
        """What a training step costs (`num_frames` None: at the longest frame count); None if nothing is trained."""
        return None

    @abstractmethod
    def gpu_peak(self) -> Peak:
        """Peak memory of a process on a GPU, simulated."""

    def state(self) -> str:
        """How far the stage has come, in words."""
        return "finished" if self.is_finished() else "to do"

    def save_settings(self) -> None:
        """Write the settings into the stage's folder, from the first process."""
        if rank() == 0:
            save_settings(self.settings_path, self.settings())


class NetworkStage(Stage):
    """A stage that trains a network."""

    scale: int = 1
    """Low-res factor of the network's videos."""

    @property
    def trainings(self) -> int:
        """How many networks it trains, each with checkpoints of its own."""
        return 1

    @property
    @abstractmethod
    def num_frames(self) -> int:
        """Frames of the network's own videos, which `optimization.micro_batch_size` counts."""

    @property
    @abstractmethod
    def optimization(self) -> OptimizationConfig:
        """How the network is trained."""

    @abstractmethod
    def network(self) -> Preconditioned:
        """The network before training."""

    @abstractmethod
    def example_inputs(self, shape: Sequence[int]) -> NetworkInputs:
        """Inputs as in training, for a video of shape B C T H W, made on torch's default device: for the estimate."""

    @abstractmethod
    def trains_on(self, split: Split) -> Sequence[Shot]:
        """The shots that the network learns from. Raises `UserError` if there are none."""

    @abstractmethod
    def cost(self, num_frames: int | None = None) -> Cost:
        """What a training step costs (`num_frames` None: at the longest frame count)."""

    def total_flops(self) -> float:
        """Operations of all steps, over all processes."""
        of_step = sum(share * self.cost(n).flops for n, share in self.frame_counts().items())
        return self.optimization.steps * of_step

    def check(self, split: Split) -> None:
        """Raise `UserError` for changed settings, missing shots, and batches that can't be shared out evenly."""
        if self.settings_path.exists():
            check_same_settings(self.settings_path, self.settings())
        self.trains_on(split)
        batch_per_process(self.optimization)

    def is_finished(self) -> bool:
        """Whether the trained weights are in the stage's folder."""
        return (self.folder / WEIGHTS_FILE).exists()

    def outline(self, split: Split | None) -> Outline:
        """The network's size, the amount of data, and steps × batch size."""
        data = "unknown"
        if split is not None:
            shots = self.trains_on(split)
            data = f"{len(shots)} shots, {sum(shot.num_frames for shot in shots)} frames"
        return Outline(
            data=data,
            parameters=f"{count_parameters(self.network()) / 1e6:.2f} M",
            steps=f"{self.optimization.steps} × {self.optimization.batch_size}",
        )

    def state(self) -> str:
        """How far the stage has come, in words: also from which checkpoint it goes on."""
        steps = checkpoint_steps(self.folder / "checkpoints")
        return f"goes on from step {steps[-1]}" if steps and not self.is_finished() else super().state()
