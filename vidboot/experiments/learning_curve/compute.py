"""Equal training compute: how many steps each method may take, in floating-point operations, forward and backward."""

import math
from dataclasses import dataclass

from vidboot.config import RunConfig
from vidboot.training.estimate import TrainedStage, base_flops, training_pass, video_shape
from vidboot.training.residual_stage import ResidualStage
from vidboot.training.view_stage import ViewStage


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
    views = [ViewStage(config, view) for view in config.views.values()]
    clip = views[0]
    return Compute(
        views=sum(view.optimization.steps * _view_step(view) for view in views),
        residual=_calibration(config) + _residual_training(config),
        full_step=_step(clip, config, config.residual.train.batch_size, config.video.num_frames),
        clip_step=_view_step(clip),
    )


def _calibration(config: RunConfig) -> float:
    """The views' predictions of the videos that the base is calibrated on, each noised at each level."""
    settings = config.calibration
    noised = max(settings.num_videos, settings.num_draws) * len(settings.sigmas)
    return noised * base_flops(config, 1, config.video.num_frames)


def _residual_training(config: RunConfig) -> float:
    """The residual's steps, and the base's predictions that they learn from: `draws` of them, used again and again."""
    stage, settings = ResidualStage(config), config.residual
    batch = settings.train.batch_size
    predicted = min(settings.train.steps, (settings.draws or math.inf) // batch)
    return sum(
        share * (settings.train.steps * _step(stage, config, batch, n) + predicted * base_flops(config, batch, n))
        for n, share in stage.frame_counts().items()
    )


def _view_step(view: ViewStage) -> float:
    batch = view.optimization.batch_size
    return sum(share * _step(view, view.config, batch, n, view.scale) for n, share in view.frame_counts().items())


def _step(stage: TrainedStage, config: RunConfig, batch: int, num_frames: int, scale: int = 1) -> float:
    return training_pass(stage, (batch, *video_shape(config, num_frames, scale)))[1]
