"""What the page *paint out* does with a clip: the pixels under its masks are generated."""

import json
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.config import Preprocess
from vidboot.app.clip import Clip
from vidboot.app.generating import Studio
from vidboot.app.progress import Report, Update, followed
from vidboot.data.files import write_atomic
from vidboot.data.manifest import Manifest, Shot
from vidboot.data.video import VideoWriter, iter_frames
from vidboot.errors import UserError
from vidboot.generation.render import render
from vidboot.generation.request import GenerateRequest


@dataclass(frozen=True)
class Painted:
    """The files that painting out makes."""

    original: Path
    """The clip at the run's size."""
    result: Path
    record: Path
    """For each shot, the record that `tools/generate.py` writes; null for a shot in which nothing is masked."""


def paint_out(studio: Studio, clip: Clip, settings: Preprocess, folder: Path) -> Generator[Update, None, Painted]:
    """Yield progress; all files are written to `folder`. Raises `UserError` if nothing is masked, and as `render`."""
    return followed(lambda report: _paint(studio, clip, settings, folder, report))


def _paint(studio: Studio, clip: Clip, settings: Preprocess, folder: Path, report: Report) -> Painted:
    report(Update("storing the shots with their masks"))
    manifest = clip.store(settings, studio.request)
    if all(shot.mask_path is None for shot in manifest):
        raise UserError("nothing is masked, so there is nothing to paint out: add a box over what is burnt in")
    repaired, records = _repair(studio, manifest, folder, report)
    record, fps = folder / "painted_out.json", manifest[0].fps
    write_atomic(record, (json.dumps(records, indent=2) + "\n").encode())
    stored = [shot.root / shot.path for shot in manifest]
    original, result = folder / "original.mp4", folder / "painted_out.mp4"
    _joined(stored, original, fps)
    _joined(repaired, result, fps)
    return Painted(original, result, record)


def _repair(
    studio: Studio, manifest: Manifest, folder: Path, report: Report
) -> tuple[list[Path], list[dict[str, Any] | None]]:
    """The shots' files, repaired where something is masked, and their records."""
    files: list[Path] = []
    records: list[dict[str, Any] | None] = []
    for number, shot in enumerate(manifest):
        if shot.mask_path is None:
            files.append(shot.root / shot.path)
            records.append(None)
        else:
            files.append(folder / f"shot_{number}.mp4")
            records.append(_repair_shot(studio, shot, files[-1], f"shot {number + 1} of {len(manifest)}", report))
    return files, records


def _repair_shot(studio: Studio, shot: Shot, output: Path, name: str, report: Report) -> dict[str, Any]:
    source = (shot.root / shot.path).resolve()
    # Exactly, because it is encoded once more when the shots are joined.
    request = GenerateRequest(run=studio.request.run, output=output, repair=source, lossless=True)

    def on_progress(done: int, total: int, unit: str) -> None:
        """Report."""
        report(Update(f"{name}: {done} of {total} {unit}"))

    return render(request, studio.model, on_progress)


def _joined(files: list[Path], path: Path, fps: float) -> None:
    """One video that every browser plays, of several."""
    with VideoWriter(path, fps) as writer:
        for frame in _frames(files):
            writer.write(frame)


def _frames(files: list[Path]) -> Iterator[np.ndarray]:
    for file in files:
        yield from iter_frames(file)
