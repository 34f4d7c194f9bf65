"""The stage that trains one view's network: clips, or low-resolution videos."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from vidboot.config import ClipConfig, LowResConfig, NoiseConfig, OptimizationConfig, RunConfig
from vidboot.data.datasets import LentMasks, ViewDataset, held_out_windows
from vidboot.data.manifest import Shot
from vidboot.data.set_aside import SetAside
from vidboot.data.split import Split
from vidboot.distributed import device, rank, sum_over_ranks, world_size
from vidboot.errors import UserError
from vidboot.method.denoising_error import denoising_errors
from vidboot.method.edm import Preconditioned
from vidboot.method.network_inputs import NetworkInputs
from vidboot.model.run_folder import save_weights
from vidboot.model.video_model import view_network
from vidboot.training.estimate import Cost, network_cost
from vidboot.training.loop import train_network
from vidboot.training.low_res_loss import ClipsAndLongVideos, view_loss
from vidboot.training.network_training import NetworkTraining
from vidboot.training.samples import write_sample
from vidboot.training.stage import NetworkStage
from vidboot.training.stage_settings import save_settings, training_settings

logger = logging.getLogger(__name__)


class ViewStage(NetworkStage):
    """Training of one view's network."""

    def __init__(self, config: RunConfig, view: ClipConfig | LowResConfig) -> None:
        super().__init__(config)
        self.view = view
        self.scale = view.scale if isinstance(view, LowResConfig) else 1
        self.name = next(name for name, other in config.views.items() if other is view)
        self.kind = "clip" if self.scale == 1 else "low_res"
        """What the manifest calls such a view."""
        self.full_length = view.full_length if isinstance(view, ClipConfig) else None

    @property
    def optimization(self) -> OptimizationConfig:
        """How the network is trained."""
        return self.view.train

    @property
    def seed(self) -> int:
        """Seeds of the stages differ, so that their networks and draws are independent."""
        return self.config.seed * 1000 + self.scale

    @property
    def noise(self) -> NoiseConfig:
        """The full video's σ is σ/r in the natural range of a low-res view: the network is asked for levels that low."""
        return self.config.noise.model_copy(update={"sigma_min": self.config.noise.sigma_min / self.scale})

    def settings(self) -> dict[str, Any]:
        """What the network depends on."""
        return training_settings(self.config) | {self.name: self.view.model_dump(mode="json")}

    def region_frame_counts(self) -> dict[int, float]:
        """Frame counts that the region graph asks of the network, with how often to train on each.

        Half of the samples are as long as the view gets; regions share the rest, by their counts among the shorter ones.
        """
        regions = [r for r in self.config.plan.regions(self.config.video.num_frames) if r.view.scale == self.scale]
        counts = Counter(region.view.num_frames for region in regions)
        longest = max(counts)
        shorter = {n: c for n, c in counts.items() if n != longest}
        return {longest: 1.0} | {n: c / sum(shorter.values()) for n, c in shorter.items()}

    def frame_counts(self) -> dict[int, float]:
        """Share of the steps on each frame count, long videos of the clip network included."""
        counts, longest = self.region_frame_counts(), self.config.video.num_frames
        long = self.full_length.share if self.full_length else 0.0
        shares = {n: (1 - long) * weight / sum(counts.values()) for n, weight in counts.items()}
        return shares | ({longest: shares.get(longest, 0.0) + long} if long else {})

    def trains_on(self, split: Split) -> list[Shot]:
        """The shots that supply the view and have a window's frames. Raises `UserError` if there are none."""
        return self._able(self.kind, max(self.region_frame_counts()), split.train, self.name)

    def _able(self, kind: str, num_frames: int, shots: Sequence[Shot], name: str) -> list[Shot]:
        span = (num_frames - 1) * max(self.config.data.frame_strides) + 1
        able = [shot for shot in shots if kind in shot.views and shot.num_frames >= span]
        if not able:
            supplying = [shot.num_frames for shot in shots if kind in shot.views]
            raise UserError(
                f"nothing to train {name} on: of {len(shots)} training shots in {self.config.data.manifest}, "
                f"{len(supplying)} supply this view, none with {span} frames (longest: {max(supplying, default=0)})"
            )
        return able

    def dataset(self, split: Split, seed: int, batch_size: int) -> Dataset:
        """What the network is trained on. Raises `UserError` if there is nothing to draw from."""
        data, listing = self.config.data, self.config.run_dir

        def draw(own: Sequence[Shot], counts: Mapping[int, float], seed: int) -> ViewDataset:
            return ViewDataset(own, counts, seed, batch_size, data, LentMasks(split.train, SetAside(listing)))

        own = draw(self.trains_on(split), self.region_frame_counts(), seed)
        if self.full_length is None:
            return own
        length, scale = self.config.video.num_frames, self.full_length.scale
        long = self._able("low_res", length, split.train, "clip.full_length")
        return ClipsAndLongVideos(own, draw(long, {length: 1.0}, seed + scale), scale, self.full_length.share)

    def check(self, split: Split) -> None:
        """Raise `UserError` for what would stop the stage."""
        super().check(split)
        self.dataset(split, seed=0, batch_size=1)

    def network(self) -> Preconditioned:
        """The network before training."""
        return view_network(self.config, self.view)

    def example_inputs(self, shape: Sequence[int]) -> NetworkInputs:
        """All of the video is observed, and nothing is without noise."""
        return NetworkInputs(observed_mask=torch.ones(shape[0], 1, *shape[2:], dtype=torch.bool))

    def cost(self, num_frames: int) -> Cost:
        """What a training step takes at this frame count."""
        return network_cost(self, self.config, num_frames, self.scale)

    def training(self, split: Split) -> NetworkTraining:
        """The training of the network. Raises `UserError` if there is nothing to draw from."""
        torch.manual_seed(self.seed)
        return NetworkTraining(
            name=self.name,
            network=self.network().to(device()),
            optimization=self.optimization,
            dataset=self.dataset(split, self.seed, self.optimization.batch_size),
            scale=self.scale,
            noise=self.noise,
            loss=view_loss(self.config.noise.sigma_data),
            evaluate=self.held_out_error(split.validation),
            sample=self._sample(split.train[0].fps),
        )

    def run(self, split: Split) -> None:
        """Train the network to its end; all processes call it."""
        if rank() == 0:
            save_settings(self.settings_path, self.settings())
        network = train_network(self.training(split), self.folder, self.config)
        if rank() == 0:
            save_weights(self.folder, network)
            logger.info("%s: finished", self.name)

    def held_out_error(self, shots: Sequence[Shot]) -> Callable[[Preconditioned], dict[str, float]]:
        """Held-out error of the network, in its natural range at σ/r for each σ of the config; all processes share.

        Without a held-out shot that supplies the view nothing is measured.
        """
        longest, sigmas = max(self.region_frame_counts()), self.config.evaluation.sigmas
        own = [shot for shot in shots if self.kind in shot.views and shot.num_frames >= longest]
        if not own:
            logger.info("no shot of the '%s' view with %d frames is held out to measure it on", self.kind, longest)
            return lambda network: {}
        videos, masks = held_out_windows(own, longest, self.scale, self.config.evaluation.num_videos)
        share = range(rank(), len(videos), world_size())

        def evaluate(network: Preconditioned) -> dict[str, float]:
            levels = [sigma / self.scale for sigma in sigmas]
            errors = denoising_errors(network, videos, levels, masks, share, device())
            means = sum_over_ranks(errors.to(device())).mean(1).tolist()
            return {f"error@{sigma:g}": e for sigma, e in zip(sigmas, means, strict=True)}

        return evaluate

    def _sample(self, fps: float) -> Callable[[Preconditioned, Path], None]:
        video = self.config.video
        size = (max(self.region_frame_counts()), video.height // self.scale, video.width // self.scale)
        sigmas = self.noise.karras_sigmas(self.config.log.sample_steps)
        return lambda network, path: write_sample(network, path, size, sigmas, self.config.seed, fps)
