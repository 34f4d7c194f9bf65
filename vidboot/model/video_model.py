"""A trained run as one denoiser: view networks → base → residual → any length.

D_base(x; σ) = Σ_R c_R A_Rᵀ D_R(A_R x; σ)                                    (vidboot.method.composition, vidboot.method.calibration)
D(x; σ)      = D_base + γ(σ) (D_θ(x, D_base; σ) − D_base)                      (vidboot.method.composition.ResidualDenoiser)
beyond T     = windows of T minus their overlaps, tapered: D is itself a view of the longer video  (vidboot.method.long_video)
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vidboot.config import RunConfig
from vidboot.data.display import Video, as_video
from vidboot.method.calibration import CalibratedDenoiser, Calibration
from vidboot.method.composition import Denoiser, ResidualDenoiser, by_scale
from vidboot.method.conditioning import Known
from vidboot.method.edm import Preconditioned
from vidboot.method.gate import OPEN, Gate
from vidboot.method.long_video import LongDenoiser
from vidboot.method.views import View, pool, take_frames, whole_blocks
from vidboot.networks.residual import ResidualUNet
from vidboot.networks.unet import UNet

DATA_CHANNELS = 3


def view_network(config: RunConfig, name: str) -> Preconditioned:
    """The untrained network of the view `name`."""
    size = config.views[name].network.model_dump() | _conditions(config)
    return Preconditioned(UNet(DATA_CHANNELS, **size), config.noise.sigma_data)


def _conditions(config: RunConfig) -> dict[str, Any]:
    """What the run's networks are told besides the noise level."""
    return {"num_classes": len(config.data.classes), "frame_strides": len(config.data.frame_strides) > 1}


def residual_network(config: RunConfig) -> Preconditioned:
    """The residual network before its warm start."""
    size = config.clip.network.model_dump() | _conditions(config)
    return Preconditioned(ResidualUNet(config.video.num_frames, DATA_CHANNELS, **size), config.noise.sigma_data)


class Given(nn.Module):
    """A network with its class label or frame stride set: a denoiser of x and σ alone, for any batch."""

    def __init__(self, network: nn.Module, conditions: Mapping[str, int]) -> None:
        super().__init__()
        self.network, self.conditions = network, conditions

    def forward(self, x: Float[Tensor, "B C T H W"], sigma: Float[Tensor, "B"], **inputs: Tensor) -> Tensor:
        """Denoise `x` under the conditions; `inputs` are the network's others."""
        conditions = {name: torch.full((len(x),), value, device=x.device) for name, value in self.conditions.items()}
        return self.network(x, sigma, **inputs, **conditions)


class Told(NamedTuple):
    """Calibration and gate where known pixels are told: fitted apart, since other estimates are the best there."""

    calibration: Calibration
    gate: Gate = OPEN


class VideoModel:
    """The trained networks of a run, and the denoisers that they compose to."""

    def __init__(
        self,
        config: RunConfig,
        views: Mapping[str, nn.Module],
        residual: nn.Module | None = None,
        gate: Gate = OPEN,
        calibration: Calibration | None = None,
        fps: float = 24.0,
        told: Told | None = None,
    ) -> None:
        self.config, self.views, self.residual, self.gate, self.fps = config, views, residual, gate, fps
        self.max_batch_frames = config.max_batch_frames
        """Frames that a network denoises at once; change it to fit the memory at hand."""
        self.calibration = calibration or Calibration.counting(config.plan)
        self.told = told or Told(self.calibration, gate)
        self.denoiser_of = by_scale(dict(zip(config.plan.scales, views.values(), strict=True)))

    def given(self, **conditions: int) -> "VideoModel":
        """The same model under a class `label` (its number in `data.classes`) or a frame `stride`."""
        views = {name: Given(network, conditions) for name, network in self.views.items()}
        residual = None if self.residual is None else Given(self.residual, conditions)
        model = VideoModel(self.config, views, residual, self.gate, self.calibration, self.fps, self.told)
        model.max_batch_frames = self.max_batch_frames
        return model

    def observing(self, mask: Bool[Tensor, "1 1 T H W"], known: Known | None = None) -> "VideoModel":
        """The same model, told that only the pixels where `mask` is true are seen, and which are `known` without noise.

        For one video; what is under the mask is not looked at. A low-res pixel is seen, or known, only if all its
        pixels are: so known pixels are expected in `x` too, noisy like all others. Conditions come before this.
        """

        def told(denoise: Callable[..., Tensor], view: View) -> Callable[..., Tensor]:
            """`denoise`, told what is seen and what is known of a view."""

            def part(whole: Bool[Tensor, "1 1 T H W"]) -> Bool[Tensor, "1 1 t h w"]:
                return whole_blocks(take_frames(whole, view.frames), view.scale)

            seen = part(mask)
            inputs = {} if seen.all() else {"mask": seen}
            if known is None or not (context := part(known.pixels)).any():
                # Regions of which there is nothing to tell keep their denoiser, and share a batch.
                return partial(denoise, **inputs) if inputs else denoise
            values, inputs = pool(take_frames(known.values, view.frames), view.scale), inputs | {"context": context}
            return lambda x, sigma, **more: denoise(torch.where(context, values, x), sigma, **inputs, **more)

        model = self.given()
        if known is not None and known.pixels.any():
            model.calibration, model.gate = self.told
        model.denoiser_of = lambda view: told(self.denoiser_of(view), view)
        if self.residual is not None:
            model.residual = told(self.residual, View(range(mask.shape[2])))
        return model

    def knowing(self, known: Known) -> Denoiser:
        """D at any length, told which pixels are `known`: E[x0 | x, known], if the networks have learnt it.

        The result has the known values. `x` is noisy everywhere, known pixels included.
        """

        def denoiser_of(window: View) -> Denoiser:
            here = known.frames(window.frames[0], window.frames[-1] + 1)
            return self.observing(torch.ones_like(here.pixels), here).full if here.pixels.any() else self.full

        def denoise(x: Float[Tensor, "B C T H W"], sigma: Float[Tensor, "B"]) -> Float[Tensor, "B C T H W"]:
            """Denoise `x`."""
            # In blocks that are known in part the bands of the base don't quite add up to what is known.
            return torch.where(known.pixels, known.values, self._at_any_length(denoiser_of)(x, sigma))

        return denoise

    def base(self, x: Float[Tensor, "B C T H W"], sigma: Float[Tensor, "B"]) -> Float[Tensor, "B C T H W"]:
        """D_base: the (calibrated) composed score of the views, for any number of frames."""
        return CalibratedDenoiser(self.calibration, self.denoiser_of, self.max_batch_frames)(x, sigma)

    def full(self, x: Float[Tensor, "B C T H W"], sigma: Float[Tensor, "B"]) -> Float[Tensor, "B C T H W"]:
        """D: base plus gated residual (the base alone in a run without one), up to about the training length."""
        denoise = self.base if self.residual is None else ResidualDenoiser(self.base, self.residual, self.gate)
        return denoise(x, sigma)

    @property
    def denoise(self) -> LongDenoiser:
        """D at any length: beyond T frames, windows of T and their overlaps, each denoised by `full`."""
        return self._at_any_length(lambda window: self.full)

    def _at_any_length(self, denoiser_of: Callable[[View], Denoiser]) -> LongDenoiser:
        video = self.config.video
        return LongDenoiser(denoiser_of, video.num_frames, video.overlap, self.max_batch_frames)

    def generate(self, num_frames: int, seed: int = 0, **options: Any) -> Video:
        """Sample a video of any number of frames: C T H W in [-1, 1], shown as a player in a notebook.

        `options` are those of `vidboot.generation.sampling.generate`: `num_steps`, `sampler`, `known` and so on.
        """
        from vidboot.generation.sampling import generate

        return as_video(generate(self, num_frames, [seed], **options)[0].cpu(), self.fps)

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return next(self.views["clip"].parameters()).device

    def to(self, device: torch.device | str) -> "VideoModel":
        """Move all networks."""
        for network in (*self.views.values(), *([self.residual] if self.residual else [])):
            network.to(device)
        return self
