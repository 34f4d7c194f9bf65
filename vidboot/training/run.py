"""A training run: its stages in order; those that are finished are skipped."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from vidboot.config import RunConfig
from vidboot.data.files import make_folder, write_atomic
from vidboot.data.manifest import check_classes, check_size, load_manifest
from vidboot.data.split import Split, split_like, split_shots
from vidboot.distributed import barrier, device, init_distributed, rank, sum_over_ranks
from vidboot.errors import UserError
from vidboot.launch import end_with_launcher, set_rank_under_slurm
from vidboot.model.run_folder import SPLIT_FILE, load_parts, read_json, save_config
from vidboot.training.final_table import report_results
from vidboot.training.log import set_up_logging
from vidboot.training.stage import Stage
from vidboot.training.stage_settings import SETTINGS_FILE
from vidboot.training.stages import stages_of

logger = logging.getLogger(__name__)


def train(config: RunConfig, only: str | None = None) -> None:
    """Run the stages that are not finished (or only the one named `only`); at the end of all, report held-out errors.

    Raises `UserError` before the first stage starts, if settings or data don't fit.
    """
    set_rank_under_slurm()
    stages = stages_of(config, only)
    split = run_split(config)
    check_run(config, split, only)
    with _at_work(config.run_dir):
        _run(config, stages, split)


def _run(config: RunConfig, stages: list[Stage], split: Split) -> None:
    init_distributed()
    end_with_launcher()
    set_up_logging()
    if rank() == 0:
        save_config(config.run_dir, config)
        write_atomic(config.run_dir / SPLIT_FILE, json.dumps(_split_record(config, split), indent=2).encode())
    barrier()
    for stage in stages:
        if stage.is_finished():
            logger.info("%s: finished before, skipped", stage.name)
        else:
            stage.run(split)
            logger.info("%s: finished", stage.name)
        barrier()
    # The first process decides: on a shared disk the others may see its files later.
    finished = float(rank() == 0 and all(stage.is_finished() for stage in stages_of(config)))
    if sum_over_ranks(torch.tensor(finished, device=device())):
        report_results(load_parts(config, config.run_dir).to(device()), split, config.run_dir)
    barrier()


@contextmanager
def _at_work(run_dir: Path) -> Iterator[None]:
    """Lock the run folder against other trainings, in the first process."""
    if rank() != 0:
        yield
        return
    make_folder(run_dir)
    try:
        with FileLock(run_dir / ".lock", timeout=0):
            yield
    except Timeout:
        raise UserError(
            f"another training is at work on {run_dir}: wait for it, or use another run_dir. The processes of one "
            "training are started by deepspeed, torchrun or srun, which tell them of each other (docs/training.md)"
        ) from None


def run_split(config: RunConfig) -> Split:
    """The split of the shots into training, validation and test.

    Once a stage has begun no shot changes its part, and new shots are trained on. Raises `UserError` if too few of the
    run's videos are there.
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
    """Raise `UserError` for anything that would stop a stage of the run (or the one named `only`)."""
    shots = [*split.train, *split.validation, *split.test]
    check_size(shots, config.video.height, config.video.width, config.data.manifest)
    check_classes([*shots, *split.left_out], config.data.classes)
    for stage in stages_of(config, only):
        stage.check(split)


def _split_before(config: RunConfig) -> dict[str, Any] | None:
    """The stored split of a run of which a stage has begun."""
    path = config.run_dir / SPLIT_FILE
    begun = path.exists() and any(config.run_dir.glob(f"*/{SETTINGS_FILE}"))
    # If it is lost, shots that networks have learnt from might be reported on.
    return read_json(path, "restore it from a copy, or use another run_dir", dict) if begun else None


def _split_record(config: RunConfig, split: Split) -> dict[str, Any]:
    """What the run folder keeps of the split: the shots of each part, the sources of those in use, and the frame rate.

    Shots that the manifest has no longer stay in it, because the networks have been trained or chosen on them.
    """
    before = _split_before(config) or {}
    parts = {part: list(dict.fromkeys([*before.get(part, ()), *ids])) for part, ids in split.ids().items()}
    sources = {*before.get("sources", ()), *(shot.source for shot in (*split.train, *split.validation))}
    return {"fps": split.fps, "sources": sorted(sources)} | parts
