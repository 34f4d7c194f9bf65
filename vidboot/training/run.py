"""A training run: the views in order, the calibration, the residual; what is finished is skipped."""

import json
import logging
import statistics
from typing import Any

from vidboot.config import RunConfig, optimization_of
from vidboot.data.files import write_atomic
from vidboot.data.manifest import load_manifest
from vidboot.data.split import Split, split_like, split_shots
from vidboot.distributed import barrier, device, init_distributed, rank
from vidboot.errors import UserError
from vidboot.model.run_folder import SPLIT_FILE, WEIGHTS_FILE, load_parts, save_config, save_gate, save_weights
from vidboot.training.context_fit import told_gate
from vidboot.training.engine import batch_per_process
from vidboot.training.final_table import report_results
from vidboot.training.log import set_up_logging
from vidboot.training.loop import train_stage
from vidboot.training.residual_stage import HeldOut, calibrate, check_held_out, full_shots, residual_stage
from vidboot.training.stage_settings import SETTINGS_FILE, check_same_settings, is_calibrated, save_settings
from vidboot.training.view_stage import check_size, view_dataset, view_stage

logger = logging.getLogger(__name__)


def stage_names(config: RunConfig) -> list[str]:
    """The stages of a run, in order."""
    calibration = ["calibration"] if config.calibration is not None else []
    return [*config.views, *calibration, *(["residual"] if config.residual is not None else [])]


def train(config: RunConfig, only: str | None = None) -> None:
    """Run the stages that are not finished (or only the one named), then report held-out errors."""
    names = stage_names(config)
    if only is not None and only not in names:
        raise UserError(f"there is no stage '{only}' in this config; stages: {', '.join(names)}")
    split = run_split(config)
    check_run(config, split, only)
    init_distributed()
    set_up_logging()
    if rank() == 0:
        save_config(config.run_dir, config)
        write_atomic(config.run_dir / SPLIT_FILE, json.dumps(_split_record(config, split), indent=2).encode())
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


def run_split(config: RunConfig) -> Split:
    """Which shots are for what; once a stage has begun it stays so, and new shots are trained on.

    Raises `UserError` if too few of the run's videos are there.
    """
    manifest, before = load_manifest(config.data.manifest), _split_before(config)
    if before is None:
        return split_shots(manifest, config.data.holdout)
    split = split_like(manifest, before)
    if missing := [part for part in ("train", "validation", "test") if not getattr(split, part)]:
        raise UserError(
            f"{config.run_dir} was trained on other videos: {config.data.manifest} has none of those that its "
            f"{SPLIT_FILE} names for {' and '.join(missing)}. Use another run_dir"
        )
    return split


def check_run(config: RunConfig, split: Split, only: str | None = None) -> None:
    """Raise `UserError` for what would stop any stage of the run (or the one named), before the first one starts."""
    check_size(config, [*split.train, *split.validation, *split.test], config.data.manifest)
    for name in stage_names(config) if only is None else [only]:
        check_same_settings(config, name)
        if name in config.views:
            view_dataset(config, name, split.train, seed=0, batch_size=1)
        else:
            check_held_out(config, split.validation)
        if name == "residual":
            full_shots(config, split.train)
        if name != "calibration":
            batch_per_process(optimization_of(config, name))


def _split_before(config: RunConfig) -> dict[str, Any] | None:
    path = config.run_dir / SPLIT_FILE
    begun = path.exists() and any(config.run_dir.glob(f"*/{SETTINGS_FILE}"))
    return json.loads(path.read_text()) if begun else None


def _split_record(config: RunConfig, split: Split) -> dict[str, Any]:
    """Which shots are held out, what files the others are from, and the frame rate, for the run folder.

    Shots that are no longer there stay in it: they have been trained on, or chosen by.
    """
    before = _split_before(config) or {}
    parts = {part: list(dict.fromkeys([*before.get(part, ()), *ids])) for part, ids in split.ids().items()}
    sources = {*before.get("sources", ()), *(shot.source for shot in (*split.train, *split.validation))}
    return {"fps": statistics.median(shot.fps for shot in split.train), "sources": sorted(sources)} | parts


def is_finished(config: RunConfig, name: str) -> bool:
    """Whether a stage has run to its end."""
    if name == "calibration":
        return is_calibrated(config)
    return (config.run_dir / name / WEIGHTS_FILE).exists()


def _run_stage(config: RunConfig, name: str, split: Split) -> None:
    folder = config.run_dir / name
    if name == "calibration":
        logger.info("calibration: fitting the base's weights on held-out full videos")
        calibrate(config, load_parts(config, config.run_dir, calibration=False, residual=False).to(device()), split)
    if rank() == 0:
        save_settings(config, name)
    if name == "calibration":
        return
    if name in config.views:
        network = train_stage(view_stage(config, name, split), folder, config)
    else:
        model = load_parts(config, config.run_dir, residual=False).to(device())
        held_out = HeldOut(config, model.base, split.validation)
        network = train_stage(residual_stage(config, model, split, held_out), folder, config)
        gate = held_out.gate(network)
        logger.info("gate γ(σ): %s", gate)
        told = told_gate(config, model, network, held_out.videos, split.train) if config.data.context else None
        if told is not None:
            logger.info("gate γ(σ) where pixels are told: %s", told)
        if rank() == 0:
            save_gate(folder, gate, told)
    if rank() == 0:
        save_weights(folder, network)
        logger.info("%s: finished", name)
