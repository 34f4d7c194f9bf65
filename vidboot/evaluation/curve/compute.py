"""Equal training compute: how many steps each method may take, in floating-point operations, forward and backward."""

import math
from dataclasses import dataclass

import torch

from vidboot.config import RunConfig
from vidboot.model import DATA_CHANNELS
from vidboot.training.estimate import base_flops, forward_backward, network_of
from vidboot.training.residual_stage import residual_frame_counts
from vidboot.training.view_stage import mean_frame_counts, scale_of


@dataclass(frozen=True)
class Compute:
    """Operations that the run's stages take, and what a step of each rival takes."""

    views: float
    """Training all views."""
    residual: float
    """Calibrating the base and training the residual network, on its frame counts' shares; the frozen base's
    predictions included, as if it used every estimate."""
    full_step: float
    """A step of the clip network on full videos of all frames, as many as a step of the residual has."""
    clip_step: float
    """A step of the clip network's training as a view, on average: on clips, or long low-res videos at full size."""

    @property
    def direct_steps(self) -> int:
        """Training from nothing on full videos: what views and residual take together."""
        return max(1, round((self.views + self.residual) / self.full_step))

    @property
    def fine_tuning_steps(self) -> int:
        """Fine-tuning on full videos: what the residual takes."""
        return max(1, round(self.residual / self.full_step))

    @property
    def joint_steps(self) -> int:
        """Training one network on all partial data: what the views take."""
        return max(1, round(self.views / self.clip_step))


def count_operations(config: RunConfig) -> Compute:
    """Work it all out on `meta` tensors, where nothing is computed."""
    settings = config.residual
    batch, shares = settings.train.batch_size, residual_frame_counts(config)
    predicted = min(settings.train.steps, (settings.draws or math.inf) // batch)
    calibration = config.calibration
    noised = max(calibration.num_videos, calibration.num_draws) * len(calibration.sigmas)
    return Compute(
        views=sum(view.train.steps * _view_step(config, name) for name, view in config.views.items()),
        residual=noised * base_flops(config, 1, config.video.num_frames)
        + settings.train.steps * sum(p * _step(config, "residual", batch, n) for n, p in shares.items())
        + predicted * sum(p * base_flops(config, batch, n) for n, p in shares.items()),
        full_step=_step(config, "clip", batch, config.video.num_frames),
        clip_step=_view_step(config, "clip"),
    )


def _view_step(config: RunConfig, name: str) -> float:
    batch = config.views[name].train.batch_size
    return sum(share * _step(config, name, batch, n) for n, share in mean_frame_counts(config, name).items())


def _step(config: RunConfig, name: str, batch: int, num_frames: int) -> float:
    scale = 1 if name == "residual" else scale_of(config, name)
    with torch.device("meta"):
        network = network_of(config, name)
        x = torch.empty(batch, DATA_CHANNELS, num_frames, config.video.height // scale, config.video.width // scale)
        return forward_backward(network, x, {"base": x} if name == "residual" else {})[1]
