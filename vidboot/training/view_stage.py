"""The stage that trains one view's network: on clips, or on low-resolution videos."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from vidboot.config import ClipConfig, LowResConfig, NoiseConfig, OptimizationConfig, RunConfig
from vidboot.data.datasets import LentMasks, ViewDataset
from vidboot.data.manifest import Shot
from vidboot.data.set_aside import SetAside
from vidboot.data.split import Split
from vidboot.distributed import device, rank
from vidboot.method.edm import Preconditioned
from vidboot.method.network_inputs import NetworkInputs
from vidboot.model.made_for import made_for
from vidboot.model.run_folder import save_weights
from vidboot.model.start import Start, read_start
from vidboot.model.video_model import view_network
from vidboot.seeds import torch_seed
from vidboot.training.checkpoints import checkpoint_steps
from vidboot.training.estimate import Cost, network_cost, video_shape
from vidboot.training.gpu_estimate import Peak, denoising_peak, state_bytes, training_peak
from vidboot.training.held_out import HeldOutWindows
from vidboot.training.loop import train_network
from vidboot.training.low_res_loss import ClipsAndLongVideos, view_loss
from vidboot.training.network_training import NetworkTraining
from vidboot.training.samples import write_sample
from vidboot.training.shots import supplying, training_shots
from vidboot.training.stage import NetworkStage, Outline
from vidboot.training.stage_settings import training_settings, view_settings

logger = logging.getLogger(__name__)


class ViewStage(NetworkStage):
    """Training of one view's network."""

    def __init__(self, config: RunConfig, view: ClipConfig | LowResConfig) -> None:
        super().__init__(config)
        self.view = view
        self.name = next(name for name, other in config.views.items() if other is view)
        self.scale = view.scale if isinstance(view, LowResConfig) else 1
        self.supplied_as = "clip" if self.scale == 1 else "low_res"
        """The manifest's word for such a view."""
        self.full_length = view.full_length if isinstance(view, ClipConfig) else None

    @property
    def optimization(self) -> OptimizationConfig:
        """How the network is trained."""
        return self.view.train

    @property
    def seed(self) -> int:
        """The stage's own seed, so that initial weights and random draws differ between stages."""
        return self.config.seed * 1000 + self.scale

    @property
    def noise(self) -> NoiseConfig:
        """Noise levels of the training. In its natural range a low-res view has σ/r where the full video has σ (r its
        factor), so they reach down to σ_min/r."""
        return self.config.noise.model_copy(update={"sigma_min": self.config.noise.sigma_min / self.scale})

    def settings(self) -> dict[str, Any]:
        """All settings that the network depends on."""
        return training_settings(self.config) | {self.name: view_settings(self.view)}

    def region_frame_counts(self) -> dict[int, float]:
        """The frame counts that the region graph asks of the network, each with its weight among the samples.

        Half of the samples have the longest count. The others share the rest, by how many regions have each.
        """
        regions = [r for r in self.config.plan.regions(self.config.video.num_frames) if r.view.scale == self.scale]
        counts = Counter(region.view.num_frames for region in regions)
        longest = max(counts)
        shorter = {n: c for n, c in counts.items() if n != longest}
        return {longest: 1.0} | {n: c / sum(shorter.values()) for n, c in shorter.items()}

    @property
    def num_frames(self) -> int:
        """Frames of the view: of a clip, or of a whole low-resolution video."""
        return max(self.region_frame_counts())

    def frame_counts(self) -> dict[int, float]:
        """Share of the steps on each frame count; the clip network's long videos count too."""
        counts, longest = self.region_frame_counts(), self.config.video.num_frames
        long = self.full_length.share if self.full_length else 0.0
        shares = {n: (1 - long) * weight / sum(counts.values()) for n, weight in counts.items()}
        return shares | ({longest: shares.get(longest, 0.0) + long} if long else {})

    def trains_on(self, split: Split) -> list[Shot]:
        """The training shots that supply the view and are long enough. Raises `UserError` if there are none."""
        return training_shots(self.config, split.train, self.supplied_as, self.num_frames, self.name)

    def dataset(self, split: Split, seed: int, batch_size: int) -> Dataset:
        """What the network is trained on. Raises `UserError` if no shot is long enough."""
        data, listing = self.config.data, self.config.run_dir

        def windows(shots: Sequence[Shot], counts: Mapping[int, float], seed: int) -> ViewDataset:
            """Samples of these shots."""
            return ViewDataset(shots, counts, seed, batch_size, data, LentMasks(split.train, SetAside(listing)))

        own = windows(self.trains_on(split), self.region_frame_counts(), seed)
        if self.full_length is None:
            return own
        length, scale = self.config.video.num_frames, self.full_length.scale
        shots = training_shots(self.config, split.train, "low_res", length, "clip.full_length")
        return ClipsAndLongVideos(own, windows(shots, {length: 1.0}, seed + scale), scale, self.full_length.share)

    def check(self, split: Split) -> None:
        """Raise `UserError` for anything that would stop the stage."""
        super().check(split)
        self.dataset(split, seed=0, batch_size=1)
        self.start(split)

    def network(self) -> Preconditioned:
        """The network before training."""
        return view_network(self.config, self.view)

    def example_inputs(self, shape: Sequence[int]) -> NetworkInputs:
        """A mask by which every pixel is observed; no context."""
        return NetworkInputs(observed_mask=torch.ones(shape[0], 1, *shape[2:], dtype=torch.bool))

    def cost(self, num_frames: int | None = None) -> Cost:
        """What a training step costs (`num_frames` None: at the longest frame count)."""
        return network_cost(self, max(self.frame_counts()) if num_frames is None else num_frames)

    def gpu_peak(self) -> Peak:
        """Peak memory of a process on a GPU, simulated."""
        states = state_bytes(self.config, self.cost())
        denoising = denoising_peak(self.config, self.network, self.num_frames, self.scale)
        return Peak(states + max(training_peak(self, n) for n in self.frame_counts()), states + denoising)

    def training(self, split: Split) -> NetworkTraining:
        """The training of the network. Raises `UserError` if no shot is long enough."""
        torch.manual_seed(torch_seed(self.seed))
        return NetworkTraining(
            name=self.name,
            network=self.network().to(device()),
            optimization=self.optimization,
            dataset=self.dataset(split, self.seed, self.optimization.batch_size),
            num_frames=self.num_frames,
            scale=self.scale,
            noise=self.noise,
            loss=view_loss(self.config.noise.sigma_data),
            evaluate=self.held_out_error(split.validation),
            sample=self._sample(split.train[0].fps),
        )

    def start(self, split: Split) -> Start | None:
        """What the network takes from another run; None if it starts from nothing, or has started.

        Raises `UserError` if it can take nothing.
        """
        begun = self.is_finished() or checkpoint_steps(self.folder / "checkpoints")
        if self.view.start_from is None or begun:
            return None
        with torch.device("meta"):
            network = self.network()  # for its shapes
        return read_start(self.view.start_from, self.name, network, self.made_for(split))

    def outline(self, split: Split | None) -> Outline:
        """As of all networks, and what it starts from."""
        start = None if split is None else self.start(split)
        return replace(super().outline(split), remarks=() if start is None else start.sentences())

    def made_for(self, split: Split) -> dict[str, Any]:
        """What the network is made for, beside its shape."""
        return made_for(self.config, self.view, split.fps)

    def run(self, split: Split) -> None:
        """Train the network to its end; all processes call it."""
        self.save_settings()
        training = self.training(split)
        if (start := self.start(split)) is not None:
            start.apply(training.network)
            start.log(self.name)
            if rank() == 0:
                start.save(self.folder)
        network = train_network(training, self.folder, self.config)
        if rank() == 0:
            save_weights(self.folder, network, self.made_for(split))

    def held_out_error(self, shots: Sequence[Shot]) -> Callable[[Preconditioned], dict[str, float]]:
        """Measures the network on held-out shots. If none of them supplies the view, it measures nothing."""
        own = supplying(shots, self.supplied_as, self.num_frames)
        if not own:
            message = "no shot of the '%s' view with %d frames is held out to measure it on"
            logger.info(message, self.supplied_as, self.num_frames)
            return lambda network: {}
        return HeldOutWindows(own, self.num_frames, self.scale, self.config.evaluation).evaluate

    def _sample(self, fps: float) -> Callable[[Preconditioned, Path], None]:
        shape = video_shape(self.config, self.num_frames, self.scale)
        sigmas = self.noise.karras_sigmas(self.config.log.sample_steps)
        return lambda network, path: write_sample(network, path, shape, sigmas, self.config.seed, fps)


def view_stages(config: RunConfig) -> list[ViewStage]:
    """A stage for each view, the clip view first."""
    return [ViewStage(config, view) for view in config.views.values()]
