"""Equal training compute: how many steps each method may take, in floating-point operations, forward and backward."""

import math
from dataclasses import dataclass

import torch

from vidboot.config import RunConfig
from vidboot.model import DATA_CHANNELS
from vidboot.training.estimate import base_flops, forward_backward, network_of
from vidboot.training.view_stage import frame_counts, scale_of
from vidboot.training.warm_start import long_share


@dataclass(frozen=True)
class Compute:
    """Operations that the run's stages take, and what a step of each rival takes."""

    views: float
    """Training all views, and the residual's warm start on them."""
    residual: float
    """Training the residual network; the frozen base's predictions included, as if it used every estimate."""
    full_step: float
    """A step of the clip network on full videos, as many as a step of the residual has."""
    mixed_step: float
    """A step on clips or low-res videos at full size, on average; see `long_share`."""

    @property
    def direct_steps(self) -> int:
        """Training from nothing on full videos: what views and residual take together."""
        return max(1, round((self.views + self.residual) / self.full_step))

    @property
    def fine_tuning_steps(self) -> int:
        """Fine-tuning on full videos: what the residual takes."""
        return max(1, round(self.residual / self.full_step))

    @property
    def mixed_steps(self) -> int:
        """Training on all partial data: what the views take."""
        return max(1, round(self.views / self.mixed_step))


def count_operations(config: RunConfig) -> Compute:
    """Work it all out on `meta` tensors, where nothing is computed."""
    settings, num_frames = config.residual, config.video.num_frames
    batch = settings.train.batch_size
    predicted = min(settings.train.steps, (settings.draws or math.inf) // batch)
    start = settings.warm_start
    warm_start = 0.0 if start is None else start.steps * _mixed_step(config, start.batch_size)
    return Compute(
        views=sum(_view(config, name) for name in config.views) + warm_start,
        residual=settings.train.steps * _step(config, "residual", batch, num_frames)
        + predicted * base_flops(config, batch),
        full_step=_step(config, "clip", batch, num_frames),
        mixed_step=_mixed_step(config, config.clip.train.batch_size),
    )


def _mixed_step(config: RunConfig, batch: int) -> float:
    share = long_share(config)
    clip, long = (_step(config, "clip", batch, n) for n in (config.clip.num_frames, config.video.num_frames))
    return (1 - share) * clip + share * long


def _view(config: RunConfig, name: str) -> float:
    optimization, counts = config.views[name].train, frame_counts(config, name)
    mean = sum(w * _step(config, name, optimization.batch_size, n) for n, w in counts.items()) / sum(counts.values())
    return optimization.steps * mean


def _step(config: RunConfig, name: str, batch: int, num_frames: int) -> float:
    scale = 1 if name == "residual" else scale_of(config, name)
    with torch.device("meta"):
        network = network_of(config, name)
        x = torch.empty(batch, DATA_CHANNELS, num_frames, config.video.height // scale, config.video.width // scale)
        return forward_backward(network, x, {"base": x} if name == "residual" else {})[1]
