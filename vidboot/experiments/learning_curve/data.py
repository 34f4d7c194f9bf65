"""The data of a learning curve: partial videos, full ones to draw from, held-out ones to choose by and report on."""

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
from vidboot.experiments.learning_curve.config import CurveConfig, DigitsConfig
from vidboot.experiments.learning_curve.tasks import keyed_name
from vidboot.training.residual_stage import ResidualStage

Shots = tuple[Shot, ...]
HELD_OUT_FULL = 8
"""Full videos beside the digits' partial data, for the views' held-out error: no view trains on them (data.holdout)."""


@dataclass(frozen=True)
class CurveData:
    """Shots by what they are for; full videos for training, validation and test are disjoint."""

    partial: Shots
    full: Shots
    validation: Shots
    test: Shots
    manifest: Path | None = None
    """Folder of the digits' partial data (None: that of `run.data.manifest`)."""

    def draw(self, count: int, seed: int) -> Shots:
        """Draw `count` full videos; with the same seed a larger count contains the videos of a smaller one."""
        order = np.random.default_rng([seed, 7]).permutation(len(self.full))
        return tuple(self.full[i] for i in order[:count])

    def identity(self, *kinds: str) -> dict[str, list[str]]:
        """The shots for these purposes (names of fields), by content."""
        return {kind: ids(getattr(self, kind)) for kind in kinds}


def ids(shots: Sequence[Shot]) -> list[str]:
    """The shots by content: their ids."""
    return [shot.id for shot in shots]


def load_data(config: CurveConfig) -> CurveData:
    """Load the videos, or make the digits if they aren't there. Raises `UserError` if there are too few full videos."""
    data = _from_manifest(config) if config.digits is None else _from_digits(config, config.digits)
    if len(data.full) < (most := max(config.counts)):
        raise UserError(
            f"counts go up to {most} full videos, but only {len(data.full)} are there to train on: "
            "lower counts and seeds"
        )
    return data


def _from_manifest(config: CurveConfig) -> CurveData:
    """The videos of `run.data.manifest`, in the split of a training run."""
    run = config.run
    manifest = load_manifest(run.data.manifest)
    check_size(manifest, run.video.height, run.video.width, run.data.manifest)
    split = split_shots(manifest, run.data.holdout)
    # The full videos are part of the partial data too, because they also supply clips and low-res videos.
    of_residual = ResidualStage(run, config.residual).trains_on(split)
    kinds = (of_residual, split.validation, split.test)
    full, validation, test = (_with_clean_window(run, shots) for shots in kinds)
    return CurveData(split.train, full, validation, test)


def _from_digits(config: CurveConfig, digits: DigitsConfig) -> CurveData:
    """Moving digits: partial data and full videos of one set of handwriting, held-out videos of another."""
    run, folders = config.run, _make_digits(config, digits)
    manifests = {name: load_manifest(folder) for name, folder in folders.items()}
    partial = split_shots(manifests["partial"], run.data.holdout).train
    held_out, chosen_by = manifests["held_out"].supplying("full"), run.evaluation.num_videos
    full = manifests["full"].supplying("full")
    return CurveData(partial, full, held_out[:chosen_by], held_out[chosen_by:], folders["partial"])


def _with_clean_window(run: RunConfig, shots: Sequence[Shot]) -> Shots:
    """The shots that have a window of full length without a masked pixel. Raises `UserError` if there is none."""
    clean = {shot.id for shot, _ in held_out_spans(shots, run.video.num_frames, clean=True)}
    return tuple(shot for shot in shots if shot.id in clean)


def _make_digits(config: CurveConfig, digits: DigitsConfig) -> dict[str, Path]:
    """Folders of partial, full and held-out digits. Each is made once: its name has a hash of its settings."""
    run = config.run
    shape: dict[str, Any] = {
        "num_frames": run.video.num_frames,
        "clip_frames": run.clip.num_frames,
        "scale": config.full_length.scale,
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
            settings: dict[str, Any] = content | shape | {"seed": 3 * digits.seed + number}
            folders[name] = stock / keyed_name(run.data.manifest.name if name == "partial" else name, settings, {})
            if not (folders[name] / FILE_NAME).exists():
                write_digits(folders[name], **settings)
    return folders
