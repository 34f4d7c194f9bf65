"""What a stage was trained with, kept in its folder: it goes on with the same settings only."""

import json
from pathlib import Path
from typing import Any

from vidboot.config import RunConfig
from vidboot.data.files import write_atomic
from vidboot.errors import UserError
from vidboot.model.run_folder import CALIBRATION_FILE, weights_hash

SETTINGS_FILE = "settings.json"
NO_MATTER = ("manifest", "num_workers", "memory_gb", "max_full_videos")
"""Settings of the data that change no stage: which shots there are says `split.json`. (The last is the residual's.)"""
LATER = ("data.", "deepspeed.", "evaluation.", "weights.")
"""Runs of before have not written all of these; what they lack is not compared, so that they go on."""


def stage_settings(config: RunConfig, name: str) -> dict[str, Any]:
    """The settings that a trained stage's result depends on, and for the residual the weights that it stands on."""
    values = config.model_dump(mode="json")
    shared = {key: values[key] for key in ("seed", "video", "noise")}
    shared["data"] = {key: value for key, value in values["data"].items() if key not in NO_MATTER}
    shared["deepspeed"] = {"precision": values["deepspeed"]["precision"]}
    # Wherever the long videos' factor is set, it is the same stage: the band says it.
    views = {view: config.views[view].model_dump(mode="json", exclude={"long_scale"}) for view in config.views}
    if name in views:
        return shared | {
            name: views[name] | ({"band": config.long_scale} if name == "clip" and config.long_scale else {})
        }
    shared["data"]["max_full_videos"] = values["data"]["max_full_videos"]
    full = {key: values[key] for key in ("calibration", "residual", "evaluation")}
    return shared | views | full | {"weights": _weights(config)}


def _weights(config: RunConfig) -> dict[str, str]:
    return {name: weights_hash(config.run_dir / name) for name in config.views}


def save_settings(config: RunConfig, name: str) -> None:
    """Write a stage's settings into its folder."""
    settings = _calibration_settings(config) if name == "calibration" else stage_settings(config, name)
    write_atomic(_path(config, name), json.dumps(settings, indent=2).encode())


def _path(config: RunConfig, name: str) -> Path:
    return config.run_dir / name / SETTINGS_FILE


def _calibration_settings(config: RunConfig) -> dict[str, Any]:
    values = config.model_dump(mode="json")
    settings = {key: values[key] for key in ("seed", "video", "calibration")}
    return settings | {"overlap": config.clip.overlap, "weights": _weights(config)}


def is_calibrated(config: RunConfig) -> bool:
    """Whether the stored calibration is that of these settings and of the views' present weights.

    One without settings, of a run of before, is taken as it is.
    """
    path = _path(config, "calibration")
    fits = not path.exists() or json.loads(path.read_text()) == _calibration_settings(config)
    return fits and (config.run_dir / CALIBRATION_FILE).exists()


def check_same_settings(config: RunConfig, name: str) -> None:
    """Raise `UserError` if the run folder has this trained stage, begun or finished, from other settings."""
    path = _path(config, name)
    if name == "calibration" or not path.exists():  # a calibration is fitted again
        return
    before, now = _flat(json.loads(path.read_text())), _flat(stage_settings(config, name))
    before = {key: value for key, value in before.items() if key != "data.manifest"}
    changed = [
        f"  {key}: {before.get(key, 'absent')} there, {now.get(key, 'absent')} now"
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key) and not (key not in before and key.startswith(LATER))
    ]
    if changed:
        listed = "\n".join(changed)
        raise UserError(
            f"{path.parent} was trained with other settings:\n{listed}\nUse another run_dir, or delete that folder"
        )


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(tree, dict):
        return {prefix.rstrip("."): tree}
    return {key: value for name, inner in tree.items() for key, value in _flat(inner, f"{prefix}{name}.").items()}
