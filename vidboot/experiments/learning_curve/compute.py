"""Equal training compute: how many steps each method may take, in floating-point operations, forward and backward."""

from dataclasses import dataclass

from vidboot.experiments.learning_curve.config import CurveConfig
from vidboot.training.candidate import Candidate
from vidboot.training.estimate import base_flops, training_pass
from vidboot.training.stage import NetworkStage
from vidboot.training.view_stage import view_stages


@dataclass(frozen=True)
class Compute:
    """Operations that the run's stages take, and those of one step of each rival."""

    views: float
    """Training all views."""
    residual: float
    """Calibrating the base, and the residual's budget, of which the choice of its form takes its part too. The frozen
    base's predictions are included, as if it used every estimate."""
    full_step: float
    """A step of the clip network on full videos of all frames, as many as a step of the residual has."""
    clip_step: float
    """A mean step of the clip network's training as a view: on clips, or on long low-res videos at full size."""

    @property
    def direct_steps(self) -> int:
        """Steps of training from nothing on full videos, for the operations of views and residual together."""
        return max(1, round((self.views + self.residual) / self.full_step))

    @property
    def fine_tuning_steps(self) -> int:
        """Steps of fine-tuning on full videos, for the operations of the residual."""
        return max(1, round(self.residual / self.full_step))

    @property
    def joint_steps(self) -> int:
        """Steps of training one network on all partial data, for the operations of the views."""
        return max(1, round(self.views / self.clip_step))


def count_operations(config: CurveConfig) -> Compute:
    """Count the operations on `meta` tensors, where nothing is computed."""
    views = view_stages(config.run)
    clip, residual = views[0], Candidate(config.run, config.residual, "reads_base")
    return Compute(
        views=sum(view.optimization.steps * mean_step(view) for view in views),
        residual=_calibration(config) + residual.operations(config.residual.train.steps),
        full_step=training_pass(clip, config.residual.train.batch_size, config.run.video.num_frames)[1],
        clip_step=mean_step(clip),
    )


def _calibration(config: CurveConfig) -> float:
    """The views' predictions of the videos that the base is calibrated on, each noised at each level."""
    settings = config.calibration
    noised = max(settings.num_videos, settings.num_draws) * len(settings.sigmas)
    return noised * base_flops(config.run, 1, config.run.video.num_frames)


def mean_step(stage: NetworkStage) -> float:
    """Operations of a step, averaged over the stage's frame counts."""
    batch = stage.optimization.batch_size
    return sum(share * training_pass(stage, batch, n)[1] for n, share in stage.frame_counts().items())
