"""A trained run as one denoiser: view networks → base → residual → any length.

D_base(x; σ) = Σ_R c_R A_Rᵀ D_R(A_R x; σ)                                    (vidboot.score, vidboot.calibration)
D(x; σ)      = D_base + γ(σ) (D_θ(x, D_base; σ) − D_base)                      (vidboot.score.ResidualDenoiser)
beyond T     = windows of T minus their overlaps: D is itself a view of the longer video, and the same rule applies
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from jaxtyping import Bool, Float
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vidboot.calibration import CalibratedDenoiser, Calibration
from vidboot.conditioning import Known
from vidboot.config import RunConfig
from vidboot.data.files import atomic_path, write_atomic
from vidboot.display import Video, as_video
from vidboot.edm import Preconditioned
from vidboot.errors import UserError
from vidboot.gate import OPEN, Gate
from vidboot.long_video import LongDenoiser
from vidboot.networks.residual import ResidualUNet
from vidboot.networks.unet import UNet
from vidboot.score import Denoiser, ResidualDenoiser, by_scale
from vidboot.views import View, pool, take_frames, whole_blocks

DATA_CHANNELS = 3
CONFIG_FILE, SPLIT_FILE, CALIBRATION_FILE = "config.json", "split.json", "calibration.json"
WEIGHTS_FILE, GATE_FILE = "model.safetensors", "gate.json"
Made = TypeVar("Made")


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


def save_weights(folder: Path, network: nn.Module) -> None:
    """Write a network's weights as safetensors, atomically."""
    with atomic_path(folder / WEIGHTS_FILE) as partial:
        save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, partial)


def load_weights(folder: Path, network: Preconditioned) -> Preconditioned:
    """Load what `save_weights` wrote; raises `UserError` if it is missing, damaged or of another shape."""
    path = folder / WEIGHTS_FILE
    if not path.is_file():
        raise UserError(f"{folder} has no finished network ({WEIGHTS_FILE}); run tools/train.py to the end first")
    try:
        weights = load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is damaged ({error}); delete it and run tools/train.py again") from None
    if misfit := _misfit(weights, network.state_dict()):
        raise UserError(
            f"{path} does not fit the run's {CONFIG_FILE} ({misfit}): it is another run's, or another version of "
            "vidboot wrote it; train again"
        )
    network.load_state_dict(weights)
    return network.eval().requires_grad_(False)


def _misfit(stored: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    """The first difference between two sets of weights, in words; empty if there is none."""
    for name, tensor in expected.items():
        if name not in stored:
            return f"{name} is missing"
        if stored[name].shape != tensor.shape:
            return f"{name} is {_shape(stored[name])}, not {_shape(tensor)}"
    extra = [name for name in stored if name not in expected]
    return f"{extra[0]} has no place" if extra else ""


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "a number"


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
    ) -> None:
        self.config, self.views, self.residual, self.gate, self.fps = config, views, residual, gate, fps
        self.max_batch_frames = config.max_batch_frames
        """Frames that a network denoises at once; change it to fit the memory at hand."""
        self.calibration = calibration or Calibration.counting(config.plan)
        self.denoiser_of = by_scale(dict(zip(config.plan.scales, views.values(), strict=True)))

    def given(self, **conditions: int) -> "VideoModel":
        """The same model under a class `label` (its number in `data.classes`) or a frame `stride`."""
        views = {name: Given(network, conditions) for name, network in self.views.items()}
        residual = None if self.residual is None else Given(self.residual, conditions)
        model = VideoModel(self.config, views, residual, self.gate, self.calibration, self.fps)
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

    def denoise(self, x: Float[Tensor, "B C T H W"], sigma: Float[Tensor, "B"]) -> Float[Tensor, "B C T H W"]:
        """D at any length: beyond T frames, windows of T minus their overlaps, each denoised by `full`."""
        return self._at_any_length(lambda window: self.full)(x, sigma)

    def _at_any_length(self, denoiser_of: Callable[[View], Denoiser]) -> LongDenoiser:
        video = self.config.video
        return LongDenoiser(denoiser_of, video.num_frames, video.overlap, self.max_batch_frames)

    def generate(self, num_frames: int, seed: int = 0, **options: Any) -> Video:
        """Sample a video of any number of frames: C T H W in [-1, 1], shown as a player in a notebook.

        `options` are those of `vidboot.generation.generate`: `num_steps`, `sampler`, `known` and so on.
        """
        from vidboot.generation import generate

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


def save_config(run_dir: Path, config: RunConfig) -> None:
    """Write the resolved configuration into the run folder."""
    write_atomic(run_dir / CONFIG_FILE, (config.model_dump_json(indent=2) + "\n").encode())


def load_config(run_dir: Path) -> RunConfig:
    """Read a run's configuration; raises `UserError` if this is no run folder."""
    path = run_dir / CONFIG_FILE
    if not path.is_file():
        raise UserError(f"{run_dir} is not a run folder (no {CONFIG_FILE}); give the run_dir that tools/train.py wrote")
    try:
        return RunConfig.model_validate_json(path.read_text())
    except (ValueError, OSError) as error:
        first = next(iter(error.errors()), None) if isinstance(error, ValidationError) else None
        what = error if first is None else f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise UserError(f"{path} is damaged or from another version of vidboot ({what}); train again") from None


def load(run_dir: str | Path, device: torch.device | str = "cpu") -> VideoModel:
    """The trained model of a run folder. Raises `UserError` if a network is missing, damaged or of another shape."""
    return load_parts(load_config(Path(run_dir)), Path(run_dir)).to(device)


def load_parts(config: RunConfig, run_dir: Path, calibration: bool = True, residual: bool = True) -> VideoModel:
    """The model of a run that has come as far as its views, and its calibration and residual where asked for."""
    views = {name: load_weights(run_dir / name, view_network(config, name)) for name in config.views}
    weights = load_calibration(run_dir) if calibration and config.calibration is not None else None
    fps = _read_json(run_dir / SPLIT_FILE, "run tools/train.py", lambda stored: float(stored["fps"]))
    if not residual or config.residual is None:
        return VideoModel(config, views, calibration=weights, fps=fps)
    network = load_weights(run_dir / "residual", residual_network(config))
    return VideoModel(config, views, network, load_gate(run_dir / "residual"), weights, fps)


def save(model: VideoModel, folder: Path) -> None:
    """Write what `load` reads into a folder."""
    save_config(folder, model.config)
    write_atomic(folder / SPLIT_FILE, json.dumps({"fps": model.fps}).encode())
    for name, network in model.views.items():
        save_weights(folder / name, network)
    if model.config.calibration is not None:
        save_calibration(folder, model.calibration)
    if model.residual is not None:
        save_weights(folder / "residual", model.residual)
        save_gate(folder / "residual", model.gate)


def weights_hash(run_dir: str | Path) -> str:
    """A hash of all that decides what a finished run generates: weights, gate, calibration and configuration."""
    digest = hashlib.sha256()
    for name in (WEIGHTS_FILE, GATE_FILE, CALIBRATION_FILE, CONFIG_FILE):
        for path in sorted(Path(run_dir).rglob(name)):
            digest.update(path.relative_to(run_dir).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def save_calibration(run_dir: Path, calibration: Calibration) -> None:
    """Write the base's weights into the run folder."""
    write_atomic(run_dir / CALIBRATION_FILE, json.dumps(calibration.to_dict(), indent=2).encode())


def load_calibration(run_dir: Path) -> Calibration:
    """Read what `save_calibration` wrote; raises `UserError` if it can't be read."""
    return _read_json(run_dir / CALIBRATION_FILE, "run tools/train.py --stage calibration", Calibration.from_dict)


def save_gate(folder: Path, gate: Gate) -> None:
    """Write the gate beside the residual network's weights."""
    write_atomic(folder / GATE_FILE, json.dumps({"sigmas": gate.sigmas, "values": gate.values}).encode())


def load_gate(folder: Path) -> Gate:
    """Read what `save_gate` wrote; raises `UserError` if it can't be read."""

    def gate(stored: Any) -> Gate:
        return Gate(tuple(stored["sigmas"]), tuple(stored["values"]))

    return _read_json(folder / GATE_FILE, "run tools/train.py --stage residual", gate)


def _read_json(path: Path, remedy: str, make: Callable[[Any], Made]) -> Made:
    """What `make` makes of the file's values; raises `UserError` with the remedy if it can't."""
    try:
        return make(json.loads(path.read_text()))
    except OSError as error:
        raise UserError(f"{path} can't be read ({error.strerror}); {remedy}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"{type(error).__name__}: {error}"
        raise UserError(f"{path} is damaged or from another version of vidboot ({what}); {remedy}") from None
