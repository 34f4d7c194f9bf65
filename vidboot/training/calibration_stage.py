"""The stage that calibrates the base: fits its weights on a few held-out full videos, without training a network."""

import logging
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vidboot.config import CalibrationConfig, RunConfig
from vidboot.data.datasets import held_out_spans, held_out_windows
from vidboot.data.split import Split
from vidboot.distributed import device, rank
from vidboot.method.calibration import Calibration
from vidboot.method.calibration_fit import ErrorCovariance, fit_weights, measure
from vidboot.model.run_folder import CALIBRATION_FILE, load_parts, save_calibration
from vidboot.model.video_model import VideoModel
from vidboot.seeds import torch_seed
from vidboot.training.context_fit import calibrate_with_context
from vidboot.training.covariances import over_videos
from vidboot.training.estimate import weight_bytes
from vidboot.training.gpu_estimate import Peak, base_peak
from vidboot.training.stage import Outline, Stage
from vidboot.training.stage_settings import stored_settings, view_weights

logger = logging.getLogger(__name__)


class CalibrationStage(Stage):
    """Fitting the base's weights."""

    name = "calibration"

    def __init__(self, config: RunConfig, calibration: CalibrationConfig) -> None:
        super().__init__(config)
        self.calibration = calibration

    def settings(self) -> dict[str, Any]:
        """All that the weights depend on: settings, and the views' networks."""
        values = self.config.model_dump(mode="json")
        settings = {key: values[key] for key in ("seed", "video", "calibration")}
        return settings | {"overlap": self.config.clip.overlap, "weights": view_weights(self.config)}

    def frame_counts(self) -> dict[int, float]:
        """Only that of full videos."""
        return {self.config.video.num_frames: 1.0}

    def gpu_peak(self) -> Peak:
        """Peak memory of a process on a GPU, simulated; nothing is trained."""
        return Peak(0, weight_bytes(self.config) + base_peak(self.config, self.config.video.num_frames))

    def outline(self, split: Split | None) -> Outline:
        """No network and no steps."""
        return Outline(data=f"at most {self.calibration.num_videos} held-out full videos")

    def check(self, split: Split) -> None:
        """Raise `UserError` if no full video is held out; reads masks, but no video."""
        held_out_spans(split.validation, self.config.video.num_frames, clean=True, most=1)

    def is_finished(self) -> bool:
        """Whether the stored weights were fitted with these settings, and for the views' present networks."""
        made = (self.config.run_dir / CALIBRATION_FILE).exists()
        return made and stored_settings(self.settings_path) == self.settings()

    def run(self, split: Split) -> None:
        """Fit the weights and store them in the run folder; all processes call it."""
        logger.info("calibration: fitting the base's weights on held-out full videos")
        config, settings = self.config, self.calibration
        model = load_parts(config, config.run_dir, calibration=False, residual=False).to(device()).frozen()
        videos, _ = held_out_windows(split.validation, config.video.num_frames, 1, settings.num_videos, clean=True)
        calibration = fit_base(model, settings, videos, config.seed)
        with_context = calibrate_with_context(model, settings, videos, split.train) if config.data.context else None
        if rank() == 0:
            save_calibration(config.run_dir, calibration, with_context)
        self.save_settings()


def fit_base(
    model: VideoModel,
    settings: CalibrationConfig,
    videos: Float[Tensor, "N C T H W"],
    seed: int,
    progress: bool = True,
) -> Calibration:
    """The base's weights for a model's views, fitted on full videos that these were not trained on.

    All processes call it and share the videos.
    """
    config, sigmas, draws = model.config, sorted(settings.sigmas), settings.draws(len(videos))
    generator = torch.Generator().manual_seed(torch_seed(seed))

    def of_video(n: int) -> list[list[ErrorCovariance]]:
        """The covariances for one video."""
        x0, limit = videos[n : n + 1].to(device()), config.max_batch_frames
        return measure(config.plan, model.denoiser_of, [x0], sigmas, generator, limit, draws)

    return fit_weights(config.plan, sigmas, over_videos(of_video, videos, draws, generator, progress))
