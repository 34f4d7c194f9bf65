"""A run folder: configuration, split, weights, calibration, gate, form. Reading checks that all of it fits together."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vidboot.config import RunConfig
from vidboot.data.files import atomic_path, write_atomic
from vidboot.data.remote import folder_at_hand
from vidboot.errors import UserError
from vidboot.method.calibration import Calibration
from vidboot.method.edm import Preconditioned
from vidboot.method.gate import Gate
from vidboot.model.form import FORM_FILE, Form, base_weights, form_from, save_form
from vidboot.model.made_for import MADE_FOR, made_for
from vidboot.model.video_model import ContextFit, VideoModel, residual_network, view_network

CONFIG_FILE, SPLIT_FILE, CALIBRATION_FILE = "config.json", "split.json", "calibration.json"
WEIGHTS_FILE, GATE_FILE = "model.safetensors", "gate.json"
NAMES = (CONFIG_FILE, SPLIT_FILE, CALIBRATION_FILE, WEIGHTS_FILE, GATE_FILE, FORM_FILE)
"""What a model is read from: of a run folder at a URL, these files are fetched."""
Made = TypeVar("Made")


def save_weights(folder: Path, network: nn.Module, made_for: Mapping[str, Any] | None = None) -> None:
    """Write a network's weights as safetensors, atomically; the file also says what they were `made_for`."""
    metadata = None if made_for is None else {MADE_FOR: json.dumps(made_for)}
    with atomic_path(folder / WEIGHTS_FILE) as partial:
        save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, partial, metadata)


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
            return f"{name} is {shape_text(stored[name])}, not {shape_text(tensor)}"
    extra = [name for name in stored if name not in expected]
    return f"{extra[0]} has no place" if extra else ""


def shape_text(tensor: Tensor) -> str:
    """A tensor's shape in words."""
    return "×".join(map(str, tensor.shape)) or "a number"


def save_config(run_dir: Path, config: RunConfig) -> None:
    """Write the resolved configuration into the run folder."""
    write_atomic(run_dir / CONFIG_FILE, (config.model_dump_json(indent=2) + "\n").encode())


def load_config(run_dir: Path) -> RunConfig:
    """Read a run's configuration; raises `UserError` if this is no run folder."""
    path = folder_at_hand(run_dir, NAMES) / CONFIG_FILE
    if not path.is_file():
        raise UserError(f"{run_dir} is not a run folder (no {CONFIG_FILE}); give the run_dir that tools/train.py wrote")
    try:
        return RunConfig.model_validate_json(path.read_text())
    except (ValueError, OSError) as error:
        first = next(iter(error.errors()), None) if isinstance(error, ValidationError) else None
        what = error if first is None else f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise UserError(f"{path} is damaged or from another version of vidboot ({what}); train again") from None


def load(run_dir: str | Path, device: torch.device | str = "cpu") -> VideoModel:
    """The trained model of a run folder, or of one at a URL.

    Raises `UserError` if a network is missing, damaged or of another shape.
    """
    folder = folder_at_hand(Path(run_dir), NAMES)
    return load_parts(load_config(folder), folder).to(device)


def load_parts(config: RunConfig, run_dir: Path, calibration: bool = True, residual: bool = True) -> VideoModel:
    """The model of a run whose view networks are trained, with its calibration and residual unless switched off."""
    views = {name: load_weights(run_dir / name, view_network(config, view)) for name, view in config.views.items()}
    weights, context = None, None
    if calibration and config.calibration is not None:
        weights, context = load_calibration(run_dir, config)
    fps = read_json(run_dir / SPLIT_FILE, "run tools/train.py", lambda stored: float(stored["fps"]))
    if not residual or config.residual is None:
        fit = None if context is None else ContextFit(context)
        return VideoModel(config, views, calibration=weights, fps=fps, context_fit=fit)
    form = load_form(run_dir)
    network = load_weights(run_dir / "residual", residual_network(config, form.network))
    gate, context_gate = load_gate(run_dir / "residual")
    composed = weights or Calibration.counting(config.plan)
    with_context = base_weights(form.base_with_context, context or composed)
    both = ContextFit(with_context, context_gate or gate)
    return VideoModel(config, views, network, gate, base_weights(form.base, composed), fps, both)


def load_form(run_dir: Path) -> Form:
    """The form of a run's residual. Raises `UserError` if it can't be read."""
    return read_json(run_dir / "residual" / FORM_FILE, "run tools/train.py --stage residual", form_from)


def save(model: VideoModel, folder: Path) -> None:
    """Write what `load` reads into a folder. Raises `UserError` for the run folder of a training, which has a split."""
    if (folder / SPLIT_FILE).exists() and read_json(folder / SPLIT_FILE, "delete it", lambda stored: "train" in stored):
        raise UserError(
            f"{folder} is the run folder of a training, whose split would be lost; save into another folder"
        )
    save_config(folder, model.config)
    write_atomic(folder / SPLIT_FILE, json.dumps({"fps": model.fps}).encode())
    for name, network in model.views.items():
        save_weights(folder / name, network, made_for(model.config, model.config.views[name], model.fps))
    if model.config.calibration is not None:
        save_calibration(folder, model.calibration, model.context_fit.calibration)
    if model.residual is not None:
        save_weights(folder / "residual", model.residual)
        save_gate(folder / "residual", model.gate, model.context_fit.gate)
        assert isinstance(model.residual, Preconditioned)  # as `load` made it
        save_form(folder / "residual", Form.of(model.residual, model.calibration, model.context_fit.calibration), [])


def weights_hash(run_dir: str | Path) -> str:
    """A hash of all files that determine what a run generates: weights, gate, form, calibration and configuration."""
    digest, run_dir = hashlib.sha256(), folder_at_hand(Path(run_dir), NAMES)
    for name in (WEIGHTS_FILE, GATE_FILE, FORM_FILE, CALIBRATION_FILE, CONFIG_FILE):
        for path in sorted(Path(run_dir).rglob(name)):
            digest.update(path.relative_to(run_dir).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def save_calibration(run_dir: Path, calibration: Calibration, with_context: Calibration | None = None) -> None:
    """Write the calibration into the run folder, and the one for videos with context."""
    stored = calibration.to_dict() | {"with_context": with_context and with_context.to_dict()}
    write_atomic(run_dir / CALIBRATION_FILE, json.dumps(stored, indent=2).encode())


def load_calibration(run_dir: Path, config: RunConfig) -> tuple[Calibration, Calibration | None]:
    """Read what `save_calibration` wrote. Raises `UserError` if it can't be read or has other views than the run."""

    def calibration(stored: Any) -> Calibration:
        """The stored values as a calibration of the run's views."""
        found = Calibration.from_dict(stored)
        if found.plan != config.plan:
            raise ValueError("it was fitted for other views")
        return found

    return _read_both(run_dir / CALIBRATION_FILE, "run tools/train.py --stage calibration", calibration)


def save_gate(folder: Path, gate: Gate, with_context: Gate | None = None) -> None:
    """Write the gate beside the residual network's weights, and the one for videos with context."""
    stored = asdict(gate) | {"with_context": with_context and asdict(with_context)}
    write_atomic(folder / GATE_FILE, json.dumps(stored).encode())


def load_gate(folder: Path) -> tuple[Gate, Gate | None]:
    """Read what `save_gate` wrote. Raises `UserError` if it can't be read."""

    def gate(stored: Any) -> Gate:
        """The stored values as a gate."""
        return Gate(tuple(stored["sigmas"]), tuple(stored["values"]))

    return _read_both(folder / GATE_FILE, "run tools/train.py --stage residual", gate)


def _read_both(path: Path, remedy: str, make: Callable[[Any], Made]) -> tuple[Made, Made | None]:
    """The fit without context, and the fit with context if there is one."""

    def both(stored: Any) -> tuple[Made, Made | None]:
        with_context = stored["with_context"]
        return make(stored), None if with_context is None else make(with_context)

    return read_json(path, remedy, both)


def read_json(path: Path, remedy: str, make: Callable[[Any], Made]) -> Made:
    """`make` applied to the values of a JSON file. Raises `UserError`, with the remedy, if that can't be done."""
    try:
        return make(json.loads(path.read_text()))
    except OSError as error:
        raise UserError(f"{path} can't be read ({error.strerror}); {remedy}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"{type(error).__name__}: {error}"
        raise UserError(f"{path} is damaged or from another version of vidboot ({what}); {remedy}") from None
