"""The configuration of a training run: everything that `tools/train.py` reads from its YAML file."""

import math
from typing import Annotated, Any, Literal

import torch
from jaxtyping import Float
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from vidboot.data.config import DataConfig
from vidboot.method.edm import karras_sigmas, sample_sigma
from vidboot.method.regions import ViewPlan
from vidboot.networks.config import NetworkConfig
from vidboot.seeds import MOST_SEED
from vidboot.settings import Folder, Sigmas, Source, Strict


class NoiseConfig(Strict):
    """Noise levels σ of training and sampling, for data in [-1, 1] (EDM, arXiv 2206.00364)."""

    sigma_min: PositiveFloat = 0.02
    """Lowest noise level of training and sampling."""
    sigma_max: PositiveFloat = 80.0
    """Highest noise level of training, where sampling starts."""
    sigma_data: PositiveFloat = 0.5
    """Standard deviation of the data, for the preconditioning of the networks."""
    p_mean: float = -0.6
    """Mean of ln σ in training."""
    p_std: PositiveFloat = 1.6
    """Standard deviation of ln σ in training."""

    @model_validator(mode="after")
    def _rises(self) -> "NoiseConfig":
        if self.sigma_min >= self.sigma_max:
            raise ValueError(f"sigma_min must be below sigma_max = {self.sigma_max}, got {self.sigma_min}")
        return self

    def sample(self, generator: torch.Generator) -> float:
        """One noise level for training."""
        return sample_sigma(generator, self.p_mean, self.p_std, self.sigma_min, self.sigma_max)

    def karras_sigmas(self, num_steps: int) -> Float[torch.Tensor, "{num_steps}+1"]:
        """Falling noise levels for sampling, then 0."""
        return karras_sigmas(num_steps, self.sigma_min, self.sigma_max)


def _overlap_below_frames(config: Any) -> Any:
    if config.overlap >= config.num_frames:
        raise ValueError(f"overlap must be below num_frames = {config.num_frames}, got {config.overlap}")
    return config


class VideoConfig(Strict):
    """The full video, of which each view covers a part."""

    num_frames: PositiveInt
    """Frames T of a full video: the training length of the residual network."""
    height: PositiveInt
    """Height in pixels, as preprocessing stored the videos."""
    width: PositiveInt
    """Width in pixels, as preprocessing stored the videos."""
    overlap: PositiveInt
    """Frames shared by neighbouring windows of T frames, where a longer video is generated. More overlap, up to T/2, is
    smoother and slower; a stream uses at most T/4."""

    _overlap_fits = model_validator(mode="after")(_overlap_below_frames)


class OptimizationConfig(Strict):
    """How one network is trained."""

    steps: PositiveInt
    """Optimiser steps."""
    batch_size: PositiveInt
    """Videos per step, over all processes."""
    micro_batch_size: PositiveInt | None = None
    """Videos of the view's length in memory at once per process, of others as many frames (None: all of its share)."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """muon: matrices of weights take steps of Muon, at AdamW's learning rates (see `vidboot.training.muon`); it needs
    ZeRO stage 0, which keeps them whole."""
    learning_rate: PositiveFloat = 1e-3
    """Learning rate after the warm-up; from there it falls to 0 along half a cosine."""
    warmup_steps: NonNegativeInt = 100
    """Steps over which the learning rate rises from 0."""
    weight_decay: NonNegativeFloat = 0.0
    """AdamW's weight decay."""
    gradient_clipping: PositiveFloat = 1.0
    """Gradients are scaled down to this norm where theirs is larger."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Decay per step of the moving average of the weights, which is what is saved and used; it is lower in the first
    steps."""
    activation_checkpointing: bool = False
    """Compute activations again in the backward pass instead of keeping them: less memory, about a third more time."""
    max_bad_steps: PositiveInt = 20
    """Stop after this many steps in a row whose loss or gradient was not finite (each of them is skipped)."""


class FullLengthConfig(Strict):
    """How the clip network learns from long low-resolution videos (see `vidboot.training.low_res_loss`)."""

    share: Annotated[float, Field(gt=0, lt=1)]
    """Share of the steps that train on low-resolution videos of all frames, enlarged to full size; such a step costs as
    much as one on full videos."""
    scale: Annotated[int, Field(ge=2)]
    """Low-resolution factor of those videos. The clip network learns both views, so `low_res` may stay empty."""


class ClipConfig(Strict):
    """The clip view: short windows at full resolution."""

    num_frames: PositiveInt
    """Frames of a window."""
    overlap: NonNegativeInt
    """Frames shared by neighbouring windows."""
    network: NetworkConfig
    train: OptimizationConfig
    start_from: Source | None = None
    """A run folder, a network's .safetensors file or a hub name. Layers of the same name and shape start with those
    weights, others at random (None: all)."""
    full_length: FullLengthConfig | None = None
    """Train the clip network on low-resolution videos of all frames too. None: on clips only."""

    _overlap_fits = model_validator(mode="after")(_overlap_below_frames)


class LowResConfig(Strict):
    """A low-resolution view: all frames, at height and width over `scale`."""

    scale: Annotated[int, Field(ge=2)]
    """Factor by which height and width are smaller."""
    network: NetworkConfig
    train: OptimizationConfig
    start_from: Source | None = None
    """A run folder, a network's .safetensors file or a hub name. Layers of the same name and shape start with those
    weights, others at random (None: all)."""


ResidualForm = Literal["clip", "long_range", "reads_base"]
"""What the residual network is, cheapest first (see `vidboot.training.candidate`)."""


class ResidualConfig(Strict):
    """The residual network; it starts as the clip network, and its regularisation is the method."""

    train: OptimizationConfig
    """`steps` are those of the form `reads_base`, and give the budget: other forms, and the choice among all, take as
    many operations, the base's predictions included."""
    form: Literal["auto", ResidualForm] = "auto"
    """What the network is: `clip` (the clip network at full length), `long_range` (layers that reach over all frames
    beside), `reads_base` (an input for the base's prediction beside). `auto`: the first and the last are begun, and
    held-out error says which goes on, and whether the composed base is worth its cost."""
    p_mean: float = 1.4
    """Mean of ln σ in its training. It is high, because only at high noise does a network need all frames to recognise
    what a video shows; at lower noise the views are better, and the gate stays closed."""
    p_std: PositiveFloat = 0.8
    """Standard deviation of ln σ in its training."""
    pull: NonNegativeFloat = 0.01
    """Weight of ‖θ − θ_start‖² in the loss, which pulls the weights towards those of the clip network that they start
    from."""
    penalty: NonNegativeFloat = 0.05
    """Weight of ‖D_θ − D_base‖² in the loss, beside ‖D_θ − x0‖², where the network reads the base."""
    draws: PositiveInt | None = None
    """Train on this many noisy full videos again and again, so that the base has to denoise each only once; its
    predictions stay in memory, 4 bytes per value (None: fresh noise in each step, of which the base then takes about
    half the time). Forms that don't read the base always get fresh noise."""

    @model_validator(mode="after")
    def _whole_batches(self) -> "ResidualConfig":
        if self.draws is not None and self.draws % self.train.batch_size:
            raise ValueError(f"draws must be a multiple of batch_size {self.train.batch_size}, got {self.draws}")
        return self


class CalibrationConfig(Strict):
    """Weights of the base score, fitted on a few full videos."""

    num_videos: PositiveInt = 16
    """At most this many held-out full videos."""
    num_draws: PositiveInt = 64
    """At least this many noisy videos at each noise level: where there are fewer videos, each is noised several
    times."""
    sigmas: Sigmas = [0.1, 0.3, 1.0, 3.0, 10.0]
    """Noise levels at which weights are fitted; in between they are interpolated."""

    def draws(self, num_videos: int) -> int:
        """How many times each of `num_videos` videos is noised."""
        return math.ceil(self.num_draws / max(1, num_videos))


class EvaluationConfig(Strict):
    """Held-out denoising error."""

    sigmas: Sigmas = [0.1, 0.25, 0.5, 1.0, 2.0, 5.0]
    """Noise levels σ of the full video; a low-resolution view, being averaged, has σ over its factor."""
    num_videos: PositiveInt = 16
    """At most this many held-out videos for each view."""


class LogConfig(Strict):
    """What a stage logs, measures and saves, and every how many steps."""

    log_every: PositiveInt = 10
    """Steps from one line of the log (loss, learning rate, speed) to the next."""
    evaluate_every: PositiveInt = 500
    """Steps from one measurement of the held-out error to the next."""
    sample_every: PositiveInt = 1000
    """Steps from one set of sample videos to the next."""
    sample_steps: PositiveInt = 12
    """Sampler steps of the sample videos."""
    checkpoint_every: PositiveInt = 250
    """Steps from one checkpoint to the next."""
    keep_checkpoints: PositiveInt = 2
    """How many of the latest checkpoints are kept."""


class DeepSpeedConfig(Strict):
    """Settings of DeepSpeed."""

    precision: Literal["fp32", "bf16"] = "fp32"
    """Precision that networks compute in, in bf16 beside weights in fp32; where a device has no bf16, it is fp32."""
    zero_optimization: dict[str, object] = {"stage": 0}
    """DeepSpeed's own `zero_optimization` group, handed over as it is; at stage 0 DeepSpeed is not used."""


class RunConfig(Strict):
    """A training run: the views, then the calibration of their base, then the residual."""

    run_dir: Folder
    """Folder for everything that the run writes; the same folder again goes on with it."""
    seed: Annotated[int, Field(ge=0, le=MOST_SEED)] = 0
    """Seed of initial weights, data order and noise."""
    video: VideoConfig
    data: DataConfig
    noise: NoiseConfig = NoiseConfig()
    clip: ClipConfig
    low_res: list[LowResConfig] = []
    """Low-resolution views, finest first."""
    calibration: CalibrationConfig | None = CalibrationConfig()
    residual: ResidualConfig | None
    """None: without full videos there is no residual, and the base alone generates."""
    max_batch_frames: PositiveInt = 512
    """Frames that a network denoises at once where views are composed: fewer need less memory."""
    evaluation: EvaluationConfig = EvaluationConfig()
    log: LogConfig = LogConfig()
    compile: Literal["auto", "off"] = "auto"
    """auto: on a GPU networks are trained as graphs of torch.compile, where the steps to come gain time by it."""
    deepspeed: DeepSpeedConfig = DeepSpeedConfig()

    @property
    def plan(self) -> ViewPlan:
        """The views of the run, from which regions follow for any number of frames."""
        return ViewPlan(self.clip.num_frames, self.clip.overlap, tuple(view.scale for view in self.low_res))

    @property
    def views(self) -> dict[str, ClipConfig | LowResConfig]:
        """The views by the name of their stage and folder: `clip`, `low_res_2`, …"""
        return {"clip": self.clip} | {f"low_res_{view.scale}": view for view in self.low_res}

    @model_validator(mode="after")
    def _sizes_fit(self) -> "RunConfig":
        if self.clip.num_frames > self.video.num_frames:
            raise ValueError(f"clip.num_frames must be at most video.num_frames = {self.video.num_frames}")
        try:
            _ = self.plan
        except ValueError as error:
            raise ValueError(f"low_res: {error}") from None
        if self.clip.full_length is not None:
            self._size_fits("clip.full_length", self.clip.full_length.scale)
        used = {region.view.scale for region in self.plan.regions(self.video.num_frames)}
        if idle := [view.scale for view in self.low_res if view.scale not in used]:
            raise ValueError(
                f"low_res: factor {idle[0]} adds nothing to factor {self.low_res[0].scale}, which has the same frames "
                "in more detail; keep one of them"
            )
        for name, view in self.views.items():
            self._size_fits(name, getattr(view, "scale", 1), view.network)
        return self

    @model_validator(mode="after")
    def _matrices_are_whole(self) -> "RunConfig":
        trained = [*self.views.values(), *([] if self.residual is None else [self.residual])]
        if any(one.train.optimizer == "muon" for one in trained) and self.deepspeed.zero_optimization.get("stage", 0):
            raise ValueError("optimizer=muon needs whole matrices: set deepspeed.zero_optimization.stage=0, or adamw")
        return self

    def _size_fits(self, name: str, scale: int, network: NetworkConfig | None = None) -> None:
        factor = scale * (network.down_factor if network else 1)
        of_network = f", {len(network.multipliers)} network levels, patches of {network.patch}" if network else ""
        for side, size in (("height", self.video.height), ("width", self.video.width)):
            if size % factor:
                lower = size // factor * factor
                near = " or ".join(str(s) for s in (lower, lower + factor) if s)
                raise ValueError(
                    f"video.{side} {size} must be a multiple of {factor} for {name} (scale {scale}{of_network}): "
                    f"use {near}{', or fewer multipliers' if network else ''}"
                )
