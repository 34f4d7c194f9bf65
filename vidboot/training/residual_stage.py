"""The stage that trains the residual network on the few full videos, and fits its gate."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from vidboot.config import OptimizationConfig, ResidualConfig, RunConfig
from vidboot.data.datasets import LentMasks, ViewDataset, held_out_spans
from vidboot.data.manifest import Shot
from vidboot.data.set_aside import SetAside
from vidboot.data.split import Split
from vidboot.distributed import device, rank
from vidboot.errors import UserError
from vidboot.method.edm import Preconditioned
from vidboot.method.gate import OPEN
from vidboot.method.network_inputs import NetworkInputs
from vidboot.model.run_folder import load_parts, save_gate, save_weights
from vidboot.model.video_model import VideoModel, frozen, residual_network
from vidboot.seeds import torch_seed
from vidboot.training.context_fit import gate_with_context
from vidboot.training.engine import micro_batch
from vidboot.training.estimate import Cost, base_flops, network_cost, video_shape, weight_bytes
from vidboot.training.gpu_estimate import Peak, base_peak, state_bytes, training_peak
from vidboot.training.held_out import HeldOut
from vidboot.training.loop import train_network
from vidboot.training.network_training import NetworkTraining
from vidboot.training.networks import clip_network, warm_started_residual
from vidboot.training.residual_loss import residual_loss
from vidboot.training.samples import write_sample
from vidboot.training.shots import supplying
from vidboot.training.stage import NetworkStage
from vidboot.training.stage_settings import training_settings, view_settings, view_weights

logger = logging.getLogger(__name__)


class ResidualStage(NetworkStage):
    """Training of D_θ, which starts as the clip network, beside the frozen base."""

    name = "residual"

    def __init__(self, config: RunConfig, residual: ResidualConfig) -> None:
        super().__init__(config)
        self.residual = residual

    @property
    def optimization(self) -> OptimizationConfig:
        """How the network is trained."""
        return self.residual.train

    def settings(self) -> dict[str, Any]:
        """All that the residual depends on: settings, and the views' networks."""
        values, shared = self.config.model_dump(mode="json"), training_settings(self.config)
        shared["data"]["max_full_videos"] = values["data"]["max_full_videos"]
        views = {name: view_settings(view) for name, view in self.config.views.items()}
        full = {key: values[key] for key in ("calibration", "residual", "evaluation")}
        return shared | views | full | {"weights": view_weights(self.config)}

    @property
    def num_frames(self) -> int:
        """Frames of a full video."""
        return self.config.video.num_frames

    def frame_counts(self) -> dict[int, float]:
        """Share of the steps on each frame count.

        Some are on `video.overlap` frames: in a longer video D is called on the overlaps of its windows too.
        """
        return {self.config.video.num_frames: 0.8, self.config.video.overlap: 0.2}

    def trains_on(self, split: Split) -> list[Shot]:
        """The full videos (all frames at full resolution), at most `data.max_full_videos` of them.

        Some may have masked pixels: these are filled in, and the loss leaves them out. Raises `UserError` if there are
        no full videos.
        """
        data, longest = self.config.data, self.config.video.num_frames
        full = supplying(split.train, "full", longest)
        if not full:
            raise UserError(
                f"nothing to train the residual on: no training shot in {data.manifest} is a full video of {longest} "
                "frames. Set residual=null calibration=null to generate from the views alone"
            )
        return sorted(full, key=lambda shot: shot.id)[: data.max_full_videos]

    def check(self, split: Split) -> None:
        """Raise `UserError` for anything that would stop the stage; reads masks, but no video."""
        held_out_spans(split.validation, self.config.video.num_frames, clean=True, most=1)
        super().check(split)

    def network(self) -> Preconditioned:
        """The network before it takes over the clip network's weights."""
        return residual_network(self.config)

    def example_inputs(self, shape: Sequence[int]) -> NetworkInputs:
        """The base's prediction."""
        return NetworkInputs(base=torch.empty(*shape))

    def cost(self, num_frames: int | None = None) -> Cost:
        """What a training step costs, with the base's predictions (`num_frames` None: at the longest frame count)."""
        num_frames = max(self.frame_counts()) if num_frames is None else num_frames
        return replace(
            network_cost(self, num_frames),
            base_flops=base_flops(self.config, 1, num_frames) * self.optimization.batch_size,
            base_once=self.residual.draws is not None,
            frozen=weight_bytes(self.config),
            pulled=self.residual.pull > 0,
        )

    def total_flops(self) -> float:
        """Operations of all steps, with the base's predictions; of repeated draws these are made once."""
        draws, batch_size = self.residual.draws, self.optimization.batch_size
        predicted = self.optimization.steps if draws is None else min(self.optimization.steps, draws // batch_size)
        base = sum(share * self.cost(n).base_flops for n, share in self.frame_counts().items())
        return super().total_flops() + predicted * base

    def gpu_peak(self) -> Peak:
        """Peak memory of a process on a GPU, simulated."""
        config, longest = self.config, self.config.video.num_frames
        states = state_bytes(config, self.cost()) + weight_bytes(config)
        base = base_peak(config, longest, micro_batch(self.optimization, longest, longest))
        steps = max(training_peak(self, n) for n in self.frame_counts())
        return Peak(states + max(base, steps), states + base_peak(config, longest, residual=self.network))

    def training(self, model: VideoModel, split: Split, held_out: HeldOut) -> NetworkTraining:
        """The training of the network beside the frozen base of `model`. Raises `UserError` without full videos."""
        config, settings, seed = self.config, self.residual, self.config.seed * 1000
        shots = self.trains_on(split)
        torch.manual_seed(torch_seed(seed))
        return NetworkTraining(
            name=self.name,
            network=warm_started_residual(config, clip_network(model)).to(device()),
            optimization=settings.train,
            dataset=ViewDataset(
                shots,
                self.frame_counts(),
                seed,
                settings.train.batch_size,
                config.data,
                LentMasks(split.train, SetAside(config.run_dir)),
                settings.draws,
            ),
            noise=config.noise.model_copy(update={"p_mean": settings.p_mean, "p_std": settings.p_std}),
            loss=residual_loss(model.frozen(), settings, config.noise.sigma_data),
            evaluate=held_out.evaluate,
            sample=self._sample(model.frozen(), shots[0].fps),
            num_frames=self.num_frames,
            pull=settings.pull,
            choose_by="error",
        )

    def run(self, split: Split) -> None:
        """Train the network to its stopping point and fit its gates; all processes call it."""
        config = self.config
        self.save_settings()
        model = load_parts(config, config.run_dir, residual=False).to(device())
        held_out = HeldOut(config, model.frozen().base, split.validation)
        network = train_network(self.training(model, split, held_out), self.folder, config)
        gate, with_context = held_out.gate(frozen(network, config)), None
        logger.info("gate γ(σ): %s", gate)
        if config.data.context:
            with_context = gate_with_context(model.frozen(), frozen(network, config), held_out.videos, split.train)
            logger.info("gate γ(σ) with context: %s", with_context)
        if rank() == 0:
            save_gate(self.folder, gate, with_context)
            save_weights(self.folder, network)

    def _sample(self, model: VideoModel, fps: float) -> Callable[[Preconditioned, Path], None]:
        """Writes samples of the network alone: its gate is open."""
        config = self.config
        shape = video_shape(config, config.video.num_frames)
        sigmas = config.noise.karras_sigmas(config.log.sample_steps)

        def sample(network: Preconditioned, path: Path) -> None:
            """Write a sample to a path."""
            whole = VideoModel(config, model.views, network, OPEN, model.calibration)
            write_sample(whole.full, path, shape, sigmas, config.seed, fps)

        return sample
