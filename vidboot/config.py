"""The configuration of a training run: everything that `tools/train.py` reads from its YAML file."""

import math
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from vidboot.method.edm import Noise
from vidboot.method.regions import ViewPlan
from vidboot.settings import Strict

Folder = Annotated[Path, Field(strict=False)]
Share = Annotated[float, Field(ge=0, le=1)]


def _each_once(sigmas: list[float]) -> list[float]:
    if len(set(sigmas)) < len(sigmas):
        raise ValueError(f"each noise level once, got {sigmas}")
    return sigmas


NoiseLevels = Annotated[list[PositiveFloat], Field(min_length=1), AfterValidator(_each_once)]


class VideoConfig(Strict):
    """The full video: what the views are views of."""

    num_frames: PositiveInt
    """Frames T of a full video: the training length of the residual network."""
    height: PositiveInt
    width: PositiveInt
    overlap: PositiveInt
    """Frames shared by neighbouring windows of T frames, when a longer video is generated. Up to T/2, the more the
    smoother, and the slower; a stream takes no more than T/4."""

    @model_validator(mode="after")
    def _overlap_fits(self) -> "VideoConfig":
        if self.overlap >= self.num_frames:
            raise ValueError(f"overlap must be below num_frames = {self.num_frames}, got {self.overlap}")
        return self


class DataConfig(Strict):
    """Where the shots come from."""

    manifest: Folder
    """Folder that `tools/preprocess.py` wrote."""
    holdout: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of the full videos that no network trains on: half choose gate and stopping point, half are reported."""
    max_full_videos: PositiveInt | None = None
    """Train the residual on at most this many full videos (None: on all)."""
    horizontal_flip: bool = False
    """Mirror half of the training samples."""
    frame_strides: Annotated[list[PositiveInt], Field(min_length=1)] = [1]
    """Train on every k-th frame, for each of these k equally often; the networks are told k. 1 is one of them: videos
    are generated at the full rate."""
    extra_masks: Share = 0.1
    """Share of the clean samples that get the mask of a masked shot, and are asked for what it hides: so networks are
    right with and without holes, and learn what may lie under one."""
    context: Share = 0.2
    """Share of the samples in which the first frames, or all but what a masked shot's mask would hide, come without
    noise: so networks learn to go on from given frames, and to paint out (0: they are only ever told by gradients)."""
    classes: list[str] = []
    """Class labels, as in the manifest (the folder names); other shots count as without a class."""
    label_dropout: Share = 0.1
    """Share of the labelled samples that are trained on without their label, for guidance."""
    num_workers: NonNegativeInt = 1
    """Processes that decode, for each training process."""
    memory_gb: NonNegativeFloat = 1.0
    """Decoded shots that each decoding process keeps in memory: what fits is decoded once."""

    @field_validator("frame_strides")
    @classmethod
    def _full_rate_too(cls, strides: list[int]) -> list[int]:
        if 1 not in strides:
            raise ValueError(f"1 must be among them, because videos are generated at the full rate; got {strides}")
        return strides


class NetworkConfig(Strict):
    """Size of a spatiotemporal U-Net (see `vidboot.networks.unet.UNet`)."""

    channels: PositiveInt = 32
    multipliers: Annotated[list[PositiveInt], Field(min_length=1)] = [1, 2, 4]
    blocks: PositiveInt = 1
    attention_levels: NonNegativeInt = 1


class OptimizationConfig(Strict):
    """How one network is trained."""

    steps: PositiveInt
    batch_size: PositiveInt
    """Videos per step, over all processes."""
    micro_batch_size: PositiveInt | None = None
    """Videos per process that are in memory at once; the rest accumulates (None: no accumulation)."""
    learning_rate: PositiveFloat = 1e-3
    warmup_steps: NonNegativeInt = 100
    weight_decay: NonNegativeFloat = 0.0
    gradient_clipping: PositiveFloat = 1.0
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.999
    activation_checkpointing: bool = False
    """Compute activations again in the backward pass instead of keeping them: less memory, about a third more time."""
    max_bad_steps: PositiveInt = 20
    """Stop after this many steps in a row whose loss or gradient was not finite (each of them is skipped)."""


class ClipConfig(Strict):
    """The clip view: short windows at full resolution."""

    num_frames: PositiveInt
    """Frames of a window."""
    overlap: NonNegativeInt
    """Frames shared by neighbouring windows."""
    network: NetworkConfig
    train: OptimizationConfig
    long_share: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the steps on low-resolution videos of all frames, at full size (see `vidboot.training.low_res_loss`); each
    costs as much as a step on full videos."""
    long_scale: Annotated[int, Field(ge=2)] | None = None
    """Low-res factor of those videos (None: that of the finest low-res view). With it a run needs no low-res network:
    the clip network learns both views."""

    @model_validator(mode="after")
    def _overlap_fits(self) -> "ClipConfig":
        if self.overlap >= self.num_frames:
            raise ValueError(f"overlap must be below num_frames = {self.num_frames}, got {self.overlap}")
        return self


class LowResConfig(Strict):
    """A low-resolution view: all frames, at height and width over `scale`."""

    scale: Annotated[int, Field(ge=2)]
    network: NetworkConfig
    train: OptimizationConfig


class ResidualConfig(Strict):
    """The residual network; it starts as the clip network, and its regularisation is the method."""

    train: OptimizationConfig
    p_mean: float = 1.4
    """Mean of ln σ in its training: high, as that is where it takes all frames to tell what a video shows. Where there
    is less noise the views know best, and the gate stays closed."""
    p_std: PositiveFloat = 0.8
    """Standard deviation of ln σ in its training."""
    pull: NonNegativeFloat = 0.01
    """Weight of ‖θ − θ_start‖² in the loss: the pull towards the warm start."""
    penalty: NonNegativeFloat = 0.05
    """Weight of ‖D_θ − D_base‖² in the loss, next to ‖D_θ − x0‖²."""
    draws: PositiveInt | None = None
    """Train on this many noisy full videos again and again, so that the base predicts each only once; the predictions
    stay in memory, 4 bytes a value (None: fresh noise in each step, with about half of the step for the base)."""

    @model_validator(mode="after")
    def _whole_batches(self) -> "ResidualConfig":
        if self.draws is not None and self.draws % self.train.batch_size:
            raise ValueError(f"draws must be a multiple of batch_size {self.train.batch_size}, got {self.draws}")
        return self


class CalibrationConfig(Strict):
    """Weights of the base score, fitted on a few full videos."""

    num_videos: PositiveInt = 16
    num_draws: PositiveInt = 64
    """Noisy videos at each noise level, at least: fewer videos are each noised several times."""
    sigmas: NoiseLevels = [0.1, 0.3, 1.0, 3.0, 10.0]

    def draws(self, num_videos: int) -> int:
        """How often each of so many videos is noised."""
        return math.ceil(self.num_draws / max(1, num_videos))


class EvaluationConfig(Strict):
    """Held-out denoising error."""

    sigmas: NoiseLevels = [0.1, 0.25, 0.5, 1.0, 2.0, 5.0]
    """Noise levels of the full video."""
    num_videos: PositiveInt = 16
    """At most this many held-out videos of each kind."""


class LogConfig(Strict):
    """How often a stage says, saves and shows something, in steps."""

    log_every: PositiveInt = 10
    evaluate_every: PositiveInt = 500
    sample_every: PositiveInt = 1000
    sample_steps: PositiveInt = 12
    """Sampler steps of the sample videos made during training."""
    checkpoint_every: PositiveInt = 250
    keep_checkpoints: PositiveInt = 2


class DeepSpeedConfig(Strict):
    """What is handed to DeepSpeed as it is."""

    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16 falls back to fp32 where the device has none."""
    zero_optimization: dict[str, object] = {"stage": 0}
    """DeepSpeed's own `zero_optimization` settings."""


class RunConfig(Strict):
    """A training run: the views in order, then the residual."""

    run_dir: Folder
    seed: NonNegativeInt = 0
    video: VideoConfig
    data: DataConfig
    noise: Noise = Noise()
    clip: ClipConfig
    low_res: list[LowResConfig] = []
    """Low-resolution views, finest first."""
    calibration: CalibrationConfig | None = CalibrationConfig()
    residual: ResidualConfig | None
    """None: no full videos, generate from the base alone."""
    max_batch_frames: PositiveInt = 512
    """Frames that a network denoises at once in composed evaluations."""
    evaluation: EvaluationConfig = EvaluationConfig()
    log: LogConfig = LogConfig()
    deepspeed: DeepSpeedConfig = DeepSpeedConfig()

    @property
    def plan(self) -> ViewPlan:
        """The views that the run trains, for videos of any number of frames."""
        return ViewPlan(self.clip.num_frames, self.clip.overlap, tuple(view.scale for view in self.low_res))

    @property
    def views(self) -> dict[str, ClipConfig | LowResConfig]:
        """The views by the name of their stage and folder: `clip`, `low_res_2`, …"""
        return {"clip": self.clip} | {f"low_res_{view.scale}": view for view in self.low_res}

    @property
    def long_scale(self) -> int | None:
        """Low-res factor of the long videos that the clip network learns from; None if it learns from none."""
        if not self.clip.long_share:
            return None
        return self.clip.long_scale or (self.low_res[0].scale if self.low_res else None)

    @model_validator(mode="after")
    def _sizes_fit(self) -> "RunConfig":
        if self.clip.num_frames > self.video.num_frames:
            raise ValueError(f"clip.num_frames must be at most video.num_frames = {self.video.num_frames}")
        try:
            _ = self.plan
        except ValueError as error:
            raise ValueError(f"low_res: {error}") from None
        if self.clip.long_share and self.long_scale is None:
            raise ValueError(
                "clip.long_share is a share of low-resolution videos: name such a view in low_res, or say how low with "
                "clip.long_scale"
            )
        if self.clip.long_scale is not None and not self.clip.long_share:
            raise ValueError("clip.long_scale is that of the videos in clip.long_share, which is 0")
        if self.long_scale is not None:
            self._size_fits("clip.long_scale", self.long_scale, 1)
        used = {region.view.scale for region in self.plan.regions(self.video.num_frames)}
        if idle := [view.scale for view in self.low_res if view.scale not in used]:
            raise ValueError(
                f"low_res: factor {idle[0]} adds nothing to factor {self.low_res[0].scale}, which sees the same frames "
                "in more detail; keep one of them"
            )
        for name, view in self.views.items():
            self._size_fits(name, getattr(view, "scale", 1), len(view.network.multipliers))
        return self

    def _size_fits(self, name: str, scale: int, levels: int) -> None:
        factor = scale * 2 ** (levels - 1)
        for side, size in (("height", self.video.height), ("width", self.video.width)):
            if size % factor:
                lower = size // factor * factor
                near = " or ".join(str(s) for s in (lower, lower + factor) if s)
                raise ValueError(
                    f"video.{side} {size} must be a multiple of {factor} for {name} (scale {scale}, {levels} network "
                    f"levels): use {near}, or fewer multipliers"
                )


def optimization_of(config: RunConfig, name: str) -> OptimizationConfig:
    """How the stage `name` of a run is trained."""
    return config.views[name].train if name in config.views else config.residual.train
