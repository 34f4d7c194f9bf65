"""One form of the residual network, and its training: what it learns from, and how many operations that takes.

Every form starts as the clip network at full length, and trains on the same videos in the same order:

    clip         the clip network itself; no layers of its own
    long_range   layers beside that reach over all frames
    reads_base   the base's prediction as an input beside, and a penalty on the distance from it: the paper's residual

The first two need no prediction of the base while they train, so they take more steps for the same operations.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import torch

from vidboot.config import OptimizationConfig, ResidualConfig, ResidualForm, RunConfig
from vidboot.data.datasets import LentMasks, ViewDataset
from vidboot.data.manifest import Shot
from vidboot.data.set_aside import SetAside
from vidboot.distributed import device
from vidboot.method.edm import Preconditioned
from vidboot.method.gate import OPEN
from vidboot.method.network_inputs import NetworkInputs
from vidboot.model.form import bases_of
from vidboot.model.video_model import VideoModel, residual_network
from vidboot.seeds import torch_seed
from vidboot.training.engine import micro_batch
from vidboot.training.estimate import Cost, base_flops, network_cost, training_pass, video_shape, weight_bytes
from vidboot.training.gpu_estimate import Peak, base_peak, state_bytes, training_peak
from vidboot.training.held_out import HeldOut
from vidboot.training.low_res_loss import view_loss
from vidboot.training.network_training import NetworkTraining
from vidboot.training.networks import clip_network, warm_started_residual
from vidboot.training.residual_loss import residual_loss
from vidboot.training.samples import write_sample


class Candidate:
    """A form that the residual may take, and the share of all candidates' operations that it may take to its end."""

    scale: int = 1
    """Low-res factor of its videos."""

    def __init__(
        self,
        config: RunConfig,
        residual: ResidualConfig,
        form: ResidualForm,
        share: float = 1.0,
        budget: Callable[[], float] | None = None,
    ) -> None:
        self.config, self.residual, self.form, self.share = config, residual, form, share
        self.budget = budget or (lambda: self.operations(residual.train.steps))
        """The operations that all candidates share (None: those of this one's own steps)."""
        self.reads_base, self.bases = form == "reads_base", bases_of(form)

    @property
    def name(self) -> str:
        """The name of the form, and of its folder."""
        return self.form

    @property
    def num_frames(self) -> int:
        """Frames of a full video."""
        return self.config.video.num_frames

    def frame_counts(self) -> dict[int, float]:
        """Share of the steps on each frame count.

        Some are on `video.overlap` frames: in a longer video D is called on the overlaps of its windows too.
        """
        return {self.config.video.num_frames: 0.8, self.config.video.overlap: 0.2}

    @property
    def optimization(self) -> OptimizationConfig:
        """How the network is trained: as the settings say, with as many steps as its operations allow."""
        train = self.residual.train
        return train.model_copy(update={"steps": self.last_step})

    @cached_property
    def last_step(self) -> int:
        """The step at which its training ends."""
        own = self.reads_base and self.share == 1
        return self.residual.train.steps if own else self.step_at(self.share)

    def step_at(self, share: float) -> int:
        """The step by which it has taken a share of all operations."""
        return self.steps(share * self.budget())

    @property
    def draws(self) -> int | None:
        """How many noisy videos are used again and again, which only the base's predictions are a reason for."""
        return self.residual.draws if self.reads_base else None

    def network(self) -> Preconditioned:
        """The network before it takes over the clip network's weights."""
        return residual_network(self.config, self.form)

    def example_inputs(self, shape: Sequence[int]) -> NetworkInputs:
        """The base's prediction, where it is read."""
        return NetworkInputs(base=torch.empty(*shape) if self.reads_base else None)

    def steps(self, operations: float) -> int:
        """The steps that so many operations allow, at least one."""
        step, base, predicted = self._of_step
        if predicted is not None and operations > (first := predicted * (step + base)):
            return predicted + round((operations - first) / step)
        return max(1, round(operations / (step + base)))

    def operations(self, steps: int) -> float:
        """Operations of so many steps, with the base's predictions; of repeated draws these are made once."""
        step, base, predicted = self._of_step
        return steps * step + (steps if predicted is None else min(steps, predicted)) * base

    @cached_property
    def _of_step(self) -> tuple[float, float, int | None]:
        """Mean operations of a step, of its base's predictions, and the steps in which these are made (None: in all).

        As if the base used every estimate, and without activations that are computed twice to save memory.
        """
        batch, shares = self.residual.train.batch_size, self.frame_counts().items()
        step = sum(share * training_pass(self, batch, n)[1] for n, share in shares)
        if not self.reads_base:
            return step, 0.0, None
        base = sum(share * base_flops(self.config, batch, n) for n, share in shares)
        return step, base, None if self.draws is None else self.draws // batch

    def cost(self, num_frames: int) -> Cost:
        """What a training step costs, with the base's predictions."""
        once = base_flops(self.config, 1, num_frames) if self.reads_base else 0.0
        return replace(
            network_cost(self, num_frames),
            base_flops=once * self.residual.train.batch_size,
            base_once=self.draws is not None,
            frozen=weight_bytes(self.config),
            pulled=self.residual.pull > 0,
        )

    def gpu_peak(self) -> Peak:
        """Peak memory of a process on a GPU, simulated."""
        config, longest = self.config, self.config.video.num_frames
        states = state_bytes(config, self.cost(longest)) + weight_bytes(config)
        base = base_peak(config, longest, micro_batch(self.residual.train, longest, longest))
        steps = max(training_peak(self, n) for n in self.frame_counts())
        return Peak(states + max(base, steps), states + base_peak(config, longest, residual=self.network))

    def start(self, model: VideoModel) -> Preconditioned:
        """The network where its training starts: as the clip network of `model`."""
        torch.manual_seed(torch_seed(self._seed))
        return warm_started_residual(self.config, clip_network(model), self.form).to(device())

    @property
    def _seed(self) -> int:
        return self.config.seed * 1000

    def training(
        self, model: VideoModel, shots: Sequence[Shot], lenders: Sequence[Shot], held_out: HeldOut
    ) -> NetworkTraining:
        """The training of the network on full videos, beside the frozen base of `model`.

        `lenders` are shots whose masks unmasked samples may get.
        """
        config, settings, optimization = self.config, self.residual, self.optimization
        lent = LentMasks(lenders, SetAside(config.run_dir))
        counts, batch, sigma_data = self.frame_counts(), optimization.batch_size, config.noise.sigma_data
        return NetworkTraining(
            name=f"residual, {self.name}",
            network=self.start(model),
            optimization=optimization,
            dataset=ViewDataset(shots, counts, self._seed, batch, config.data, lent, self.draws),
            noise=config.noise.model_copy(update={"p_mean": settings.p_mean, "p_std": settings.p_std}),
            loss=residual_loss(model.frozen(), settings, sigma_data) if self.reads_base else view_loss(sigma_data),
            evaluate=lambda network: held_out.evaluate(network, self.bases),
            sample=self._sample(model.frozen(), shots[0].fps),
            num_frames=self.num_frames,
            pull=settings.pull,
            choose_by="error",
        )

    def _sample(self, model: VideoModel, fps: float) -> Callable[[Preconditioned, Path], None]:
        """Writes samples of the network alone: its gate is open."""
        config = self.config
        shape = video_shape(config, config.video.num_frames)
        sigmas = config.noise.karras_sigmas(config.log.sample_steps)

        def sample(network: Preconditioned, path: Path) -> None:
            """Write a sample to a path."""
            whole = VideoModel(config, model.views, network, OPEN, model.calibration)
            write_sample(whole.full if self.reads_base else network, path, shape, sigmas, config.seed, fps)

        return sample
