"""A training run: the views in order, the calibration, the residual; what is finished is skipped."""

import json
import logging
import statistics
from typing import Any

from vidboot.config import RunConfig, optimization_of
from vidboot.data.datasets import Split, split_shots
from vidboot.data.files import write_atomic
from vidboot.data.manifest import load_manifest
from vidboot.errors import UserError
from vidboot.evaluation.results import report_results
from vidboot.model import (
    CALIBRATION_FILE,
    SPLIT_FILE,
    WEIGHTS_FILE,
    load_parts,
    save_config,
    save_gate,
    save_weights,
)
from vidboot.training.distributed import barrier, device, init_distributed, rank
from vidboot.training.engine import batch_per_process
from vidboot.training.log import set_up_logging
from vidboot.training.loop import train_stage
from vidboot.training.residual_stage import HeldOut, calibrate, full_shots, residual_stage
from vidboot.training.view_stage import check_size, view_dataset, view_stage

logger = logging.getLogger(__name__)
SETTINGS_FILE = "settings.json"


def stage_names(config: RunConfig) -> list[str]:
    """The stages of a run, in order."""
    calibration = ["calibration"] if config.calibration is not None else []
    return [*config.views, *calibration, *(["residual"] if config.residual is not None else [])]


def train(config: RunConfig, only: str | None = None) -> None:
    """Run the stages that are not finished (or only the one named), then report held-out errors."""
    names = stage_names(config)
    if only is not None and only not in names:
        raise UserError(f"there is no stage '{only}' in this config; stages: {', '.join(names)}")
    split = split_shots(load_manifest(config.data.manifest), config.data.holdout)
    check_run(config, split, only)
    init_distributed()
    set_up_logging()
    if rank() == 0:
        save_config(config.run_dir, config)
        write_atomic(config.run_dir / SPLIT_FILE, json.dumps(_split_record(split), indent=2).encode())
    barrier()
    for name in names if only is None else [only]:
        if is_finished(config, name):
            logger.info("%s: finished before, skipped", name)
        else:
            _run_stage(config, name, split)
        barrier()
    if rank() == 0 and all(is_finished(config, name) for name in names):
        report_results(load_parts(config, config.run_dir).to(device()), split, config.run_dir)
    barrier()


def check_run(config: RunConfig, split: Split, only: str | None = None) -> None:
    """Raise `UserError` for what would stop any stage of the run (or the one named), before the first one starts."""
    check_size(config, [*split.train, *split.validation, *split.test])
    for name in stage_names(config) if only is None else [only]:
        check_same_settings(config, name)
        if name in config.views:
            view_dataset(config, name, split.train, seed=0, batch_size=1)
        if name == "residual":
            full_shots(config, split.train)
        if name != "calibration":
            batch_per_process(optimization_of(config, name))


def _split_record(split: Split) -> dict[str, Any]:
    """Which shots are held out, and the training videos' frame rate, for the run folder."""
    parts = {part: [shot.id for shot in getattr(split, part)] for part in ("train", "validation", "test")}
    return {"fps": statistics.median(shot.fps for shot in split.train)} | parts


def is_finished(config: RunConfig, name: str) -> bool:
    """Whether a stage has run to its end."""
    if name == "calibration":
        return (config.run_dir / CALIBRATION_FILE).exists()
    return (config.run_dir / name / WEIGHTS_FILE).exists()


def _run_stage(config: RunConfig, name: str, split: Split) -> None:
    folder = config.run_dir / name
    if name == "calibration":
        logger.info("calibration: fitting the base's weights on held-out full videos")
        calibrate(config, load_parts(config, config.run_dir, calibration=False, residual=False).to(device()), split)
        return
    if rank() == 0:
        write_atomic(folder / SETTINGS_FILE, json.dumps(stage_settings(config, name), indent=2).encode())
    if name in config.views:
        network = train_stage(view_stage(config, name, split), folder, config)
    else:
        model = load_parts(config, config.run_dir, residual=False).to(device())
        held_out = HeldOut(config, model.base, split.validation)
        network = train_stage(residual_stage(config, model, split, held_out), folder, config)
        gate = held_out.gate(network)
        logger.info(
            "gate γ(σ): %s", "  ".join(f"{s:g}: {g:.2f}" for s, g in zip(gate.sigmas, gate.values, strict=True))
        )
        if rank() == 0:
            save_gate(folder, gate)
    if rank() == 0:
        save_weights(folder, network)
        logger.info("%s: finished", name)


def stage_settings(config: RunConfig, name: str) -> dict[str, Any]:
    """The settings that a stage's result depends on."""
    values = config.model_dump(mode="json")
    shared = {key: values[key] for key in ("seed", "video", "noise")}
    shared["data"] = {key: values["data"][key] for key in ("manifest", "holdout", "extra_masks", "context")}
    # Wherever the long videos' factor is set, it is the same stage: the band says it.
    views = {view: config.views[view].model_dump(mode="json", exclude={"long_scale"}) for view in config.views}
    if name in views:
        return shared | {
            name: views[name] | ({"band": config.long_scale} if name == "clip" and config.long_scale else {})
        }
    shared["data"]["max_full_videos"] = values["data"]["max_full_videos"]
    return shared | views | {"calibration": values["calibration"], "residual": values["residual"]}


def check_same_settings(config: RunConfig, name: str) -> None:
    """Raise `UserError` if the run folder has this stage, begun or finished, from other settings."""
    path = config.run_dir / name / SETTINGS_FILE
    if not path.exists():
        return
    before, now = _flat(json.loads(path.read_text())), _flat(stage_settings(config, name))
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
    if not isinstance(tree, dict):
        return {prefix.rstrip("."): tree}
    return {key: value for name, inner in tree.items() for key, value in _flat(inner, f"{prefix}{name}.").items()}
