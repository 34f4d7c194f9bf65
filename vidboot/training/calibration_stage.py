"""The stage that calibrates the base: its weights, fitted on a few held-out full videos. Nothing is trained."""

import logging
from typing import Any

import torch

from vidboot.data.datasets import held_out_spans, held_out_windows
from vidboot.data.split import Split
from vidboot.distributed import device, rank
from vidboot.method.calibration_fit import fit_calibration
from vidboot.model.run_folder import CALIBRATION_FILE, load_parts, save_calibration
from vidboot.training.context_fit import calibrate_with_context
from vidboot.training.stage import Stage
from vidboot.training.stage_settings import save_settings, stored_settings, view_weights

logger = logging.getLogger(__name__)


class CalibrationStage(Stage):
    """Fitting the base's weights."""

    name = "calibration"

    def settings(self) -> dict[str, Any]:
        """What the weights depend on: the views' networks too."""
        values = self.config.model_dump(mode="json")
        settings = {key: values[key] for key in ("seed", "video", "calibration")}
        return settings | {"overlap": self.config.clip.overlap, "weights": view_weights(self.config)}

    def frame_counts(self) -> dict[int, float]:
        """Full videos only."""
        return {self.config.video.num_frames: 1.0}

    def check(self, split: Split) -> None:
        """Raise `UserError` if no full video is held out; reads masks, but no video."""
        held_out_spans(split.validation, self.config.video.num_frames, clean=True)

    def is_finished(self) -> bool:
        """Whether the stored weights are those of these settings and of the views' present networks."""
        made = (self.config.run_dir / CALIBRATION_FILE).exists()
        return made and stored_settings(self.settings_path) == self.settings()

    def run(self, split: Split) -> None:
        """Fit the weights and store them in the run folder."""
        logger.info("calibration: fitting the base's weights on held-out full videos")
        config, settings = self.config, self.config.calibration
        model = load_parts(config, config.run_dir, calibration=False, residual=False).to(device())
        videos, _ = held_out_windows(split.validation, config.video.num_frames, 1, settings.num_videos, clean=True)
        calibration = fit_calibration(
            config.plan,
            model.denoiser_of,
            [video[None].to(device()) for video in videos],
            settings.sigmas,
            torch.Generator().manual_seed(config.seed),
            config.max_batch_frames,
            progress=rank() == 0,
            draws=settings.draws(len(videos)),
        )
        with_context = calibrate_with_context(config, model, videos, split.train) if config.data.context else None
        if rank() == 0:
            save_calibration(config.run_dir, calibration, with_context)
            save_settings(self.settings_path, self.settings())
