"""Starting a view's network from another run's: which of its layers fit, and what may make them worth less here.

Only safetensors files are opened, which hold numbers and text: reading one can't run a program, as a pickle can.
"""

import hashlib
import json
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from vidboot.data.files import write_atomic
from vidboot.errors import UserError
from vidboot.model.made_for import differences, read_made_for
from vidboot.model.run_folder import WEIGHTS_FILE, read_json, shape_text

logger = logging.getLogger(__name__)
START_FILE = "start.json"
LISTED = 4
"""How many layers a line of the log names; the others are in the stage's folder."""
CLASSES = "data.classes"
LABELS = "network.embed_label"
"""The layer with a row for each class, which fits only the same classes."""


@dataclass(frozen=True)
class Start:
    """What a network takes from a file, and what not. Layers go whole: a bias is worth nothing without its weights."""

    source: str
    """As the settings name it."""
    file: str
    sha256: str
    """Of the file."""
    parameters: int
    """Of the network."""
    taken: int
    """Of these, how many are the file's."""
    unfit: Sequence[str]
    """What has another shape there, with both shapes, or stands for other classes."""
    absent: Sequence[str]
    """Layers that aren't there, or not whole."""
    without_place: Sequence[str]
    """Layers that are there only."""
    differs: Sequence[str] | None
    """What the two networks were made for, where it differs; None if the file doesn't say it."""
    weights: Mapping[str, Tensor] = field(repr=False)

    def apply(self, network: nn.Module) -> None:
        """Put the weights into the network."""
        network.load_state_dict(dict(self.weights), strict=False)

    def record(self) -> dict[str, Any]:
        """All but the weights, as plain values."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "weights"}

    def save(self, folder: Path) -> None:
        """Write the record into the stage's folder."""
        write_atomic(folder / START_FILE, json.dumps(self.record(), indent=2, ensure_ascii=False).encode())

    def sentences(self) -> list[str]:
        """What a user should know of it."""
        said = [f"starts from {self.source}: {summary(self.record())}"]
        for names, what in ((self.unfit, "doesn't fit, so it isn't taken"), (self.absent, "not in that file")):
            said += [f"{what}: {_some(names)}"] if names else []
        if self.differs is None:
            said.append("that file doesn't say what it was made for: noise, size, frame rate and classes may differ")
        elif self.differs:
            said.append(f"it was made for something else, and may be worth less here: {'; '.join(self.differs)}")
        return said

    def log(self, name: str) -> None:
        """Log the sentences; `name` is the stage's."""
        for sentence in self.sentences():
            logger.info("%s: %s", name, sentence)


def read_start(source: str, view: str, network: nn.Module, made_for: Mapping[str, Any]) -> Start:
    """What `network`, made for `made_for`, can take from a run folder, a safetensors file or a hub repository.

    Of a folder it is the network of the same view. Raises `UserError` if it is none of these, if it is damaged, or if
    no layer fits.
    """
    path = weights_file(source, view)
    stored, metadata, sha256 = _read(path)
    there, own = read_made_for(metadata), network.state_dict()
    layers = _layers(own)
    unfit = [texts[0] for names in layers.values() if (texts := _other_shapes(names, stored, own))]
    fitting = _fitting(layers, stored, own)
    if LABELS in layers and there is not None and there.get(CLASSES) != made_for[CLASSES]:
        fitting, unfit = fitting - {LABELS}, [*unfit, f"{LABELS} of other classes"]
    weights = {name: stored[name] for layer in layers if layer in fitting for name in layers[layer]}
    if not weights:
        raise UserError(
            f"no layer of {path} fits the network {view} ({next(iter(unfit), 'all names differ')}): give it the same "
            "channels, or leave start_from out"
        )
    if not all(tensor.isfinite().all() for tensor in weights.values()):
        raise UserError(f"{path} has weights that are not finite, as of a training that failed: start from another one")
    return Start(
        source=source,
        file=str(path),
        sha256=sha256,
        parameters=sum(tensor.numel() for tensor in own.values()),
        taken=sum(tensor.numel() for tensor in weights.values()),
        unfit=unfit,
        absent=[layer for layer, names in layers.items() if not stored.keys() >= set(names)],
        without_place=sorted(_layers(stored).keys() - layers.keys()),
        differs=None if there is None else differences(there, made_for),
        weights=weights,
    )


def weights_file(source: str, view: str) -> Path:
    """The file with the weights of a view: `source` itself, or that of a run folder or hub repository.

    Raises `UserError` if there is none.
    """
    from vidboot.model.hub import fetched  # it takes a second to import, and most runs start from nothing

    if Path(source).is_file():
        return Path(source)
    folder = Path(source) if Path(source).is_dir() else fetched(source)
    path = folder / view / WEIGHTS_FILE
    if not path.is_file():
        finished = sorted(other.parent.name for other in folder.glob(f"*/{WEIGHTS_FILE}"))
        raise UserError(
            f"{source} has no finished network {view} to start from ({view}/{WEIGHTS_FILE}); it has: "
            f"{', '.join(finished) or 'none'}. Give the run folder of a finished training, or the .safetensors file of "
            "one network"
        )
    return path


def started_from(folder: Path) -> str | None:
    """What the network of a stage's folder started from, in words; None if from nothing."""
    path = folder / START_FILE
    if not path.exists():
        return None
    return read_json(path, "delete it", lambda stored: f"started from {stored['source']}: {summary(stored)}")


def summary(record: Mapping[str, Any]) -> str:
    """How much was taken."""
    return f"{record['taken']:,} of {record['parameters']:,} parameters, from {record['file']}"


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str], str]:
    """Weights in float32, metadata, and the file's SHA-256. Raises `UserError` for a file of another kind."""
    try:
        # First, because of a file that may not be read safetensors says that there is none.
        with path.open("rb") as content:
            sha256 = hashlib.file_digest(content, "sha256").hexdigest()
        with safe_open(path, framework="pt") as stored:
            tensors = {name: stored.get_tensor(name).to(torch.float32) for name in stored.keys()}  # noqa: SIM118
            return tensors, stored.metadata() or {}, sha256
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{path} is no safetensors file, or damaged ({error}), and no other kind is opened, because .pt and .bin "
            f"files can run programs: give a run folder or a {WEIGHTS_FILE}"
        ) from None


def _layers(tensors: Mapping[str, Tensor]) -> dict[str, list[str]]:
    """The names of each layer's tensors."""
    layers: dict[str, list[str]] = defaultdict(list)
    for name in tensors:
        layers[name.rpartition(".")[0]].append(name)
    return layers


def _fitting(layers: Mapping[str, list[str]], stored: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> set[str]:
    """The layers that fit with all that is inside them: attention's rates are worth nothing without its weights."""
    wrong = [name for name, tensor in own.items() if name not in stored or stored[name].shape != tensor.shape]
    return {layer for layer in layers if not any(name.startswith(f"{layer}.") for name in wrong)}


def _other_shapes(names: Sequence[str], stored: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> list[str]:
    """The tensors that have another shape there, with both shapes."""
    return [
        f"{name} {shape_text(stored[name])} there, {shape_text(own[name])} here"
        for name in names
        if name in stored and stored[name].shape != own[name].shape
    ]


def _some(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f", and {more} more (all in {START_FILE})" if more > 0 else "")
