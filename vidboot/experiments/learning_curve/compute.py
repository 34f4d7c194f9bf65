"""Equal training compute: how many steps each method may take, in floating-point operations, forward and backward."""

import math
from dataclasses import dataclass

import torch

from vidboot.config import RunConfig
from vidboot.model.video_model import DATA_CHANNELS
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
    return Compute(
        views=sum(view.train.steps * _view_step(config, name) for name, view in config.views.items()),
        residual=_calibration(config) + _residual_training(config),
        full_step=_step(config, "clip", config.residual.train.batch_size, config.video.num_frames),
        clip_step=_view_step(config, "clip"),
    )


def _calibration(config: RunConfig) -> float:
    """The views' predictions of the videos that the base is calibrated on, each noised at each level."""
    settings = config.calibration
    noised = max(settings.num_videos, settings.num_draws) * len(settings.sigmas)
    return noised * base_flops(config, 1, config.video.num_frames)


def _residual_training(config: RunConfig) -> float:
    """The residual's steps, and the base's predictions that they learn from: `draws` of them, used again and again."""
    settings = config.residual
    batch, shares = settings.train.batch_size, residual_frame_counts(config)
    predicted = min(settings.train.steps, (settings.draws or math.inf) // batch)
    return sum(
        share * (settings.train.steps * _step(config, "residual", batch, n) + predicted * base_flops(config, batch, n))
        for n, share in shares.items()
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
