"""The settings of a stage, kept in its folder: it goes on with the same ones only."""

import json
from pathlib import Path
from typing import Any

from vidboot.config import ClipConfig, LowResConfig, RunConfig
from vidboot.data.files import write_atomic
from vidboot.errors import UserError
from vidboot.model.run_folder import read_json, weights_hash

SETTINGS_FILE = "settings.json"
WITHOUT_EFFECT = ("manifest", "num_workers", "memory_gb", "max_full_videos")
"""Settings of the data that change no view network: `split.json` says which shots there are, and only the residual has
a largest number of full videos."""


def training_settings(config: RunConfig) -> dict[str, Any]:
    """The settings that every trained network depends on."""
    values = config.model_dump(mode="json")
    data = {key: value for key, value in values["data"].items() if key not in WITHOUT_EFFECT}
    shared = {key: values[key] for key in ("seed", "video", "noise")}
    return shared | {"data": data, "deepspeed": {"precision": values["deepspeed"]["precision"]}}


def view_settings(view: ClipConfig | LowResConfig) -> dict[str, Any]:
    """A view's settings. What it starts from is among them only if it does, as `start.json` is in its folder."""
    values: dict[str, Any] = view.model_dump(mode="json")
    return {key: value for key, value in values.items() if key != "start_from" or value is not None}


def view_weights(config: RunConfig) -> dict[str, str]:
    """Hashes of the views' networks, for stages that build on them."""
    return {name: weights_hash(config.run_dir / name) for name in config.views}


def save_settings(path: Path, settings: dict[str, Any]) -> None:
    """Write a stage's settings."""
    write_atomic(path, json.dumps(settings, indent=2).encode())


def stored_settings(path: Path) -> dict[str, Any] | None:
    """The settings that a stage was run with; None if it hasn't begun."""
    if not path.exists():
        return None
    return read_json(path, f"restore it from a copy, or delete {path.parent} to train the stage anew", dict)


def check_same_settings(path: Path, settings: dict[str, Any]) -> None:
    """Raise `UserError` if a stage has begun (or finished) with other settings than these."""
    stored = stored_settings(path)
    if stored is None:
        return
    before, now = _flat(stored), _flat(settings)
    changed = [
        f"  {key}: {before.get(key, 'absent')} there, {now.get(key, 'absent')} now"
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key)
    ]
    if changed:
        listed = "\n".join(changed)
        raise UserError(
            f"{path.parent} was trained with other settings:\n{listed}\nUse another run_dir, or delete that folder"
        )


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Nested settings by their dotted names."""
    if not isinstance(tree, dict):
        return {prefix.rstrip("."): tree}
    return {key: value for name, inner in tree.items() for key, value in _flat(inner, f"{prefix}{name}.").items()}
