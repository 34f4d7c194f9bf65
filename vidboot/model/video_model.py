"""A trained run as one denoiser: view networks → base → residual → any length.

D_base(x; σ) = Σ_R c_R A_Rᵀ D_R(A_R x; σ)                  `vidboot.method.composition` and `calibration`
D(x; σ)      = D_base + γ(σ) (D_θ(x, D_base; σ) − D_base)    `vidboot.method.composition.ResidualDenoiser`
beyond T     = windows of T minus their overlaps, tapered: D is itself a view of the longer video, `method.long_video`
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vidboot.config import ClipConfig, LowResConfig, ResidualForm, RunConfig
from vidboot.distributed import has_bf16
from vidboot.method.calibration import CalibratedDenoiser, Calibration
from vidboot.method.composition import Denoiser, Network, ResidualDenoiser, by_scale
from vidboot.method.conditioning import Observation
from vidboot.method.edm import Preconditioned
from vidboot.method.gate import OPEN, Gate
from vidboot.method.long_video import LongDenoiser
from vidboot.method.network_inputs import NO_INPUTS, NetworkInputs
from vidboot.method.views import View, pool, take_frames, whole_blocks
from vidboot.networks.compiled import Backend, CompiledNetwork
from vidboot.networks.precision import in_bf16
from vidboot.networks.residual import ResidualUNet
from vidboot.networks.unet import Conditions, UNet

DATA_CHANNELS = 3
N = TypeVar("N", bound=nn.Module)


def view_network(config: RunConfig, view: ClipConfig | LowResConfig) -> Preconditioned:
    """The untrained network of one of the run's views."""
    network = UNet(DATA_CHANNELS, **view.network.model_dump(), conditions=_conditions(config))
    return Preconditioned(network, config.noise.sigma_data)


def residual_network(config: RunConfig, form: ResidualForm = "reads_base") -> Preconditioned:
    """The residual network of a form, before its warm start."""
    if form == "clip":
        return view_network(config, config.clip)
    size = config.clip.network.model_dump() | {"conditions": _conditions(config)}
    network = ResidualUNet(config.video.num_frames, DATA_CHANNELS, reads_base=form == "reads_base", **size)
    return Preconditioned(network, config.noise.sigma_data)


def _conditions(config: RunConfig) -> Conditions:
    """The conditions that the run's networks take."""
    return Conditions(len(config.data.classes), len(config.data.frame_strides) > 1)


def frozen(network: N, config: RunConfig) -> N:
    """The network as it computes where nothing is learnt: in bf16 on a GPU that has it, if the run trains in bf16."""
    on_gpu = next(network.parameters()).device.type == "cuda"
    return in_bf16(network) if on_gpu and config.deepspeed.precision == "bf16" and has_bf16() else network


class ConditionedNetwork(nn.Module):
    """A network with a fixed class label or frame stride, for batches of any size."""

    def __init__(self, network: nn.Module, conditions: Mapping[str, int]) -> None:
        super().__init__()
        self.network, self.conditions = network, conditions

    def forward(
        self, x: Float[Tensor, "B C T H W"], sigma: Float[Tensor, "B"], inputs: NetworkInputs = NO_INPUTS
    ) -> Float[Tensor, "B C T H W"]:
        """Denoise `x` under the conditions; `inputs` are the other inputs of the network."""
        conditions = {name: torch.full((len(x),), value, device=x.device) for name, value in self.conditions.items()}
        return self.network(x, sigma, inputs=inputs.updated(NetworkInputs(**conditions)))


class ObservingNetwork(nn.Module):
    """A network with the observed mask and the context of its view as inputs, for one video or copies of it.

    A low-res pixel is observed, or context, only if all pixels of its block are.
    """

    def __init__(
        self, network: Network, view: View, observed_mask: Bool[Tensor, "1 1 T H W"], observation: Observation | None
    ) -> None:
        super().__init__()
        self.network = network
        observed, context, values = self._part(observed_mask, view), None, None
        if observation is not None and (pixels := self._part(observation.pixels, view)).any():
            context, values = pixels, pool(take_frames(observation.values, view.frames), view.scale)
        self.context, self.values = context, values
        self.inputs = NetworkInputs(observed_mask=None if observed.all() else observed, context_mask=context)

    @staticmethod
    def _part(mask: Bool[Tensor, "1 1 T H W"], view: View) -> Bool[Tensor, "1 1 t h w"]:
        return whole_blocks(take_frames(mask, view.frames), view.scale)

    def forward(
        self, x: Float[Tensor, "B C t h w"], sigma: Float[Tensor, "B"], inputs: NetworkInputs = NO_INPUTS
    ) -> Float[Tensor, "B C t h w"]:
        """Denoise `x`, which has noise in the context too; `inputs` are the other inputs of the network."""
        if self.context is not None and self.values is not None:
            x = torch.where(self.context, self.values, x)
        denoised: Tensor = self.network(x, sigma, inputs=self.inputs.updated(inputs))
        return denoised


class ContextFit(NamedTuple):
    """Calibration and gate for videos with a context, where other estimates are the best; fitted on such videos."""

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
        context_fit: ContextFit | None = None,
    ) -> None:
        self.config, self.views, self.residual, self.gate, self.fps = config, views, residual, gate, fps
        self.max_batch_frames = config.max_batch_frames
        """Frames that a network denoises at once; may be changed to fit the memory of a machine."""
        self.calibration = calibration or Calibration.counting(config.plan)
        self.context_fit = context_fit or ContextFit(self.calibration, gate)
        self.denoiser_of = by_scale(dict(zip(config.plan.scales, views.values(), strict=True)))

    def with_conditions(self, **conditions: int) -> "VideoModel":
        """The same model under a class `label` (its number in `data.classes`) or a frame `stride`."""
        return self._with_networks(lambda network: ConditionedNetwork(network, conditions))

    def observing(
        self, observed_mask: Bool[Tensor, "1 1 T H W"], observation: Observation | None = None
    ) -> "VideoModel":
        """The same model for a video with unobserved pixels, and with the pixels of an `observation` as its context.

        For one video or copies of it. The values of unobserved pixels have no effect. `x` has noise everywhere, at the
        pixels of the observation too. Call `with_conditions` before this, not after.
        """

        def network_of(network: Network, view: View) -> Network:
            """`network` with the masks of a view; regions without any keep their network, and so share a batch."""
            observing = ObservingNetwork(network, view, observed_mask, observation)
            return network if observing.inputs.empty else observing

        model = self.with_conditions()
        if observation is not None and observation.pixels.any():
            model.calibration, model.gate = self.context_fit
        model.denoiser_of = lambda view: network_of(self.denoiser_of(view), view)
        if self.residual is not None:
            view = View(range(observed_mask.shape[2]))
            observing = ObservingNetwork(self.residual, view, observed_mask, observation)
            model.residual = self.residual if observing.inputs.empty else observing
        return model

    def conditioned_on(self, observation: Observation) -> Denoiser:
        """D at any length, given the pixels of an observation: E[x0 | x, pixels], if the networks were trained for it.

        The result has the observed values. `x` has noise everywhere, at observed pixels too.
        """

        def denoiser_of(window: View) -> Denoiser:
            here = observation.frames(window.frames[0], window.frames[-1] + 1)
            return self.observing(torch.ones_like(here.pixels), here).full if here.pixels.any() else self.full

        def denoise(x: Float[Tensor, "B C T H W"], sigma: Float[Tensor, "B"]) -> Float[Tensor, "B C T H W"]:
            """Denoise `x`."""
            # In blocks that are observed in part, the bands of the base don't quite add up to the observed values.
            return torch.where(observation.pixels, observation.values, self._at_any_length(denoiser_of)(x, sigma))

        return denoise

    def base(self, x: Float[Tensor, "B C T H W"], sigma: Float[Tensor, "B"]) -> Float[Tensor, "B C T H W"]:
        """D_base: the (calibrated) composed score of the views, for any number of frames."""
        return CalibratedDenoiser(self.calibration, self.denoiser_of, self.max_batch_frames)(x, sigma)

    def full(self, x: Float[Tensor, "B C T H W"], sigma: Float[Tensor, "B"]) -> Float[Tensor, "B C T H W"]:
        """D: base plus gated residual (the base alone in a run without one), for about the training length or less."""
        denoise = self.base if self.residual is None else ResidualDenoiser(self.base, self.residual, self.gate)
        return denoise(x, sigma)

    @property
    def denoise(self) -> LongDenoiser:
        """D at any length: beyond T frames, windows of T and their overlaps, each denoised by `full`."""
        return self._at_any_length(lambda window: self.full)

    def _at_any_length(self, denoiser_of: Callable[[View], Denoiser]) -> LongDenoiser:
        video = self.config.video
        return LongDenoiser(denoiser_of, video.num_frames, video.overlap, self.max_batch_frames)

    @property
    def device(self) -> torch.device:
        """The device of the networks."""
        return next(self.views["clip"].parameters()).device

    def frozen(self) -> "VideoModel":
        """The same model to denoise with, and not to learn: its networks may compute in bf16 (see `frozen`)."""
        return self._with_networks(lambda network: frozen(network, self.config))

    def compiled(self, backend: Backend = "inductor") -> "VideoModel":
        """The same model, whose networks run as graphs of torch.compile (see `CompiledNetwork`).

        Their first calls take minutes. Call `frozen` before this, not after.
        """
        return self._with_networks(lambda network: CompiledNetwork(network, backend))

    def _with_networks(self, changed: Callable[[nn.Module], nn.Module]) -> "VideoModel":
        """The same model with each network changed."""
        views = {name: changed(network) for name, network in self.views.items()}
        residual = None if self.residual is None else changed(self.residual)
        model = VideoModel(self.config, views, residual, self.gate, self.calibration, self.fps, self.context_fit)
        model.max_batch_frames = self.max_batch_frames
        return model

    def to(self, device: torch.device | str) -> "VideoModel":
        """Move all networks to a device."""
        for network in (*self.views.values(), *([self.residual] if self.residual else [])):
            network.to(device)
        return self
