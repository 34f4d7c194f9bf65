"""The data of a learning curve: partial videos, a stock of full ones, and videos to choose by and to report on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from vidboot.config import RunConfig
from vidboot.data.datasets import held_out_spans
from vidboot.data.manifest import FILE_NAME, Shot, check_size, load_manifest
from vidboot.data.split import split_shots
from vidboot.errors import UserError
from vidboot.experiments.digits import write_digits
from vidboot.experiments.learning_curve.config import CurveConfig
from vidboot.experiments.learning_curve.tasks import keyed_name
from vidboot.training.residual_stage import ResidualStage

Shots = tuple[Shot, ...]
HELD_OUT_FULL = 8
"""Full videos beside the digits' partial data: the views are watched on them, and train on none (data.holdout)."""


@dataclass(frozen=True)
class CurveData:
    """Shots by what they are for; the three kinds of full videos are disjoint."""

    partial: Shots
    full: Shots
    validation: Shots
    test: Shots
    manifest: Path | None = None
    """Folder of the partial data, if it was made (None: `run.data.manifest`)."""

    def draw(self, count: int, seed: int) -> Shots:
        """`count` full videos; for the same seed a larger count holds the smaller one's."""
        order = np.random.default_rng([seed, 7]).permutation(len(self.full))
        return tuple(self.full[i] for i in order[:count])

    def identity(self, *kinds: str) -> dict[str, list[str]]:
        """What the shots of these kinds are, by content."""
        return {kind: ids(getattr(self, kind)) for kind in kinds}


def ids(shots: Sequence[Shot]) -> list[str]:
    """The shots by content."""
    return [shot.id for shot in shots]


def load_data(config: CurveConfig) -> CurveData:
    """Make the digits, if they are asked for and not there; raises `UserError` if there are too few full videos."""
    run, most, manifest = config.run, max(config.counts), None
    if config.digits is None:
        manifest_here = load_manifest(run.data.manifest)
        check_size(manifest_here, run.video.height, run.video.width, run.data.manifest)
        split = split_shots(manifest_here, run.data.holdout)
        # The views see the full videos too, as the clips and low-res videos that they also are.
        partial, full = split.train, _with_clean_window(run, ResidualStage(run).trains_on(split))
        validation, test = (_with_clean_window(run, shots) for shots in (split.validation, split.test))
    else:
        folders = _make_digits(config)
        manifests, manifest = {name: load_manifest(folder) for name, folder in folders.items()}, folders["partial"]
        partial = split_shots(manifests["partial"], run.data.holdout).train
        full = manifests["full"].supplying("full")
        held_out = manifests["held_out"].supplying("full")
        validation, test = held_out[: run.evaluation.num_videos], held_out[run.evaluation.num_videos :]
    if len(full) < most:
        raise UserError(
            f"counts go up to {most} full videos, but only {len(full)} are there to train on: lower counts and seeds"
        )
    return CurveData(partial, tuple(full), tuple(validation), tuple(test), manifest)


def _with_clean_window(run: RunConfig, shots: Sequence[Shot]) -> Shots:
    """The shots with a window of the full length without a masked pixel; raises `UserError` if there is none."""
    clean = {shot.id for shot, _ in held_out_spans(shots, run.video.num_frames, clean=True)}
    return tuple(shot for shot in shots if shot.id in clean)


def _make_digits(config: CurveConfig) -> dict[str, Path]:
    """Partial data and full videos of the digits for training, held-out ones of others.

    Each folder is made once: its name has a hash of the settings that it is made from.
    """
    digits, run = config.digits, config.run
    shape: dict[str, Any] = {
        "num_frames": run.video.num_frames,
        "clip_frames": run.clip.num_frames,
        "scale": run.clip.full_length.scale,
        "size": run.video.height,
    }
    held_out = run.evaluation.num_videos + config.test_videos
    contents: dict[str, dict[str, Any]] = {
        "partial": {"full": HELD_OUT_FULL, **digits.model_dump(exclude={"seed"})},
        "full": {"full": max(config.counts), "clips": 0, "low_res": 0},
        "held_out": {"full": held_out, "clips": 0, "low_res": 0, "split": "test"},
    }
    stock, folders = run.data.manifest.parent, {}
    stock.mkdir(parents=True, exist_ok=True)
    with FileLock(stock / ".lock"):
        for number, (name, content) in enumerate(contents.items()):
            settings = content | shape | {"seed": 3 * digits.seed + number}
            folders[name] = stock / keyed_name(run.data.manifest.name if name == "partial" else name, settings, {})
            if not (folders[name] / FILE_NAME).exists():
                write_digits(folders[name], **settings)
    return folders
