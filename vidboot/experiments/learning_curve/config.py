"""Settings of a learning curve: `configs/learning_curve.yaml`."""

import itertools
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from vidboot.config import CalibrationConfig, FullLengthConfig, ResidualConfig, RunConfig
from vidboot.experiments.digits import DIGIT_SIZE
from vidboot.settings import Folder, Share, Strict


class DigitsConfig(Strict):
    """Moving digits, made on the spot (see `vidboot.experiments.digits`): how much partial data there is."""

    clips: PositiveInt
    """Clips, of `run.clip.num_frames` frames."""
    low_res: PositiveInt
    """Low-resolution videos, of all frames."""
    subtitled: Share = 0.0
    """Share of the clips and of the low-res videos that has burnt-in subtitles, masked."""
    seed: NonNegativeInt = 0
    """Seed of the digits and their motion."""


class CurveConfig(Strict):
    """Which numbers of full videos, how often, and the run whose views, base and residual are measured."""

    output: Folder
    """Folder for results, table and plot; the same folder again goes on from what is done."""
    digits: DigitsConfig | None = None
    """Make this data beside `run.data.manifest`, each set of settings in its own folders (None: `run.data.manifest`
    itself is used)."""
    counts: Annotated[list[PositiveInt], Field(min_length=1)]
    """Numbers of full videos, rising."""
    seeds: list[PositiveInt]
    """Independent choices of that many full videos, for each count."""
    rates: Annotated[list[PositiveFloat], Field(min_length=1)]
    """Learning rates of fine-tuning and of the residual; the best is chosen on the validation videos."""
    stopping_points: PositiveInt = 30
    """How often each training is measured on the validation videos, of which `run.evaluation.num_videos` are used."""
    protocol: Literal["equal_operations", "best_stopping_point"] = "equal_operations"
    """How long methods train on full videos: all with the same operations, or each until its own held-out error has
    not fallen for as many operations, at most with 8 times as many. (Views are trained as long in both.)"""
    special_cases: bool = False
    """Measure base + residual in each of its forms too, beside the one that it chooses; each has all operations."""
    rivals: list[Literal["ambient", "diffusion_forcing", "msm"]] = ["ambient", "diffusion_forcing", "msm"]
    """Published methods that are measured beside the other rows. `ambient` and `diffusion_forcing` each train a network
    on all partial data, with the operations of the views, and train it on for each choice of full videos; `msm` trains
    nothing."""
    test_videos: PositiveInt
    """At most this many held-out videos are reported on."""
    samples: NonNegativeInt = 0
    """Videos that each of the composed methods generates, for the first choice of full videos; their correlation over
    time is compared with that of real ones (0: none)."""
    run: RunConfig
    """`run.clip.train` also trains from nothing on full videos, `run.residual.train` gives fine-tuning's batches."""
    quick: list[str] = []
    """Settings as `key=value` that `--quick` changes."""

    # A run may have none of these, a learning curve has them all: `_fits` refuses settings without.

    @property
    def calibration(self) -> CalibrationConfig:
        """Settings of the base's calibration."""
        assert self.run.calibration is not None
        return self.run.calibration

    @property
    def residual(self) -> ResidualConfig:
        """Settings of the residual."""
        assert self.run.residual is not None
        return self.run.residual

    @property
    def full_length(self) -> FullLengthConfig:
        """How the clip network learns from long low-resolution videos."""
        assert self.run.clip.full_length is not None
        return self.run.clip.full_length

    @property
    def longer(self) -> int:
        """How many times the operations of the settings a training on full videos may take."""
        return 8 if self.protocol == "best_stopping_point" else 1

    @model_validator(mode="after")
    def _fits(self) -> "CurveConfig":
        if len(self.seeds) != len(self.counts):
            raise ValueError(f"counts and seeds go together, got {len(self.counts)} and {len(self.seeds)} of them")
        if any(a >= b for a, b in itertools.pairwise(self.counts)):
            raise ValueError(f"counts must rise, got {self.counts}")
        run = self.run
        if run.residual is None or run.calibration is None:
            raise ValueError("a learning curve needs run.calibration and run.residual")
        if run.clip.full_length is None:
            raise ValueError("a learning curve needs run.clip.full_length: one of its rivals learns from all data so")
        if run.data.classes or len(run.data.frame_strides) > 1:
            raise ValueError("learning curves know neither run.data.classes nor several run.data.frame_strides")
        if any(view.start_from is not None for view in run.views.values()):
            raise ValueError("learning curves compare networks that start from nothing: leave start_from out")
        if self.digits is not None and run.video.height != run.video.width:
            raise ValueError("digits are square: run.video.height and run.video.width must be equal")
        if self.digits is not None and run.video.height < DIGIT_SIZE:
            raise ValueError(f"digits take {DIGIT_SIZE} pixels, got run.video.height = {run.video.height}")
        return self
