"""The work on one video, as plain functions of plain values: what a worker process runs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.analysis import analyse, mean_maps, unpack
from data_prep.config import Preprocess
from data_prep.decode import Probe, probe
from data_prep.hashes import content_hash
from data_prep.masking import shot_mask, source_spans, verdict, views
from data_prep.records import Records
from data_prep.store import centre_crop, store_shots
from vidboot.data.files import atomic_path
from vidboot.data.video import VideoError
from vidboot.errors import UserError


@dataclass(frozen=True)
class HashJob:
    """A file whose content hash is wanted."""

    path: Path


@dataclass(frozen=True)
class AnalyseJob:
    """A video to be analysed; `key` names its record in `output`/analysis."""

    path: Path
    key: str
    output: Path
    settings: Preprocess


@dataclass(frozen=True)
class StoreJob:
    """A video to be stored; `analysis` and `key` name its records, `pooled` is what its source's videos share."""

    path: Path
    analysis: str
    key: str
    output: Path
    settings: Preprocess
    pooled: str | None


def hash_file(job: HashJob) -> str | VideoError:
    """The content hash of a file, or why it can't be read."""
    try:
        return content_hash(job.path)
    except OSError as error:
        return VideoError(job.path, f"can't be read ({error.strerror})")


def analyse_video(job: AnalyseJob) -> None:
    """Analyse one video and leave its record; a video that can't be used leaves the reason."""
    folder = job.output / "analysis"
    try:
        about = probe(job.path)
        found, sums = analyse(job.path, about, job.settings)
        with atomic_path(folder / f"{job.key}.npz") as partial, partial.open("wb") as file:
            np.savez_compressed(file, **mean_maps(sums))
        record = {"refused": None, **found}
    except VideoError as error:
        record = {"refused": error.reason}
    Records(folder).put(job.key, record)


def store_video(job: StoreJob) -> None:
    """Store the shots and masks of an analysed video and leave its record."""
    try:
        found = Records(job.output / "analysis").get(job.analysis)
        if found is None:
            raise VideoError(job.path, "its analysis has gone; run the same command again")
        record = _store(job, found)
    except VideoError as error:
        record = {"refused": error.reason}
    except UserError as error:
        record = {"refused": str(error)}
    Records(job.output / "records").put(job.key, record)


def _store(job: StoreJob, found: dict[str, Any]) -> dict[str, Any]:
    settings = job.settings
    about = Probe(**{**found["probe"], "notes": tuple(found["probe"]["notes"])})
    pooled = None if job.pooled is None else unpack(job.pooled, *found["size"])
    crop = centre_crop(about, tuple(found["picture"]), settings.height, settings.width)
    spans = source_spans(found, pooled, job.path, settings)
    shots, set_aside = [], []
    for start, end in found["spans"]:
        if end - start < settings.views.clip_frames:
            set_aside.append([start, end, f"too short (a clip needs {settings.views.clip_frames} frames)"])
            continue
        quality = _quality(found, start, end)
        supplied, why = views(end - start, crop, quality, settings)
        if not supplied:
            set_aside.append([start, end, why])
            continue
        mask = shot_mask(spans, (start, end), crop, found, settings)
        name = f"{job.key[:20]}/{start:07d}-{end:07d}"
        if mask.events:
            mask.save(job.output / "masks" / f"{name}.npz")
        said, reason = verdict(found, pooled is not None, (start, end), bool(mask.events))
        shots.append(
            {
                "start": start, "end": end, "crop": list(crop), "picture": found["picture"],
                "path": f"shots/{name}.mp4", "mask": f"masks/{name}.npz" if mask.events else None,
                "views": supplied, "verdict": said, "reason": reason, **quality,
            }
        )  # fmt: skip
    kept = [(shot["start"], shot["end"]) for shot in shots]
    names = {span: job.output / shot["path"] for span, shot in zip(kept, shots, strict=True)}
    rates = store_shots(job.path, about, kept, crop, settings, lambda start, end: names[start, end])
    for shot, fps in zip(shots, rates, strict=True):
        shot["fps"] = fps
    return {"refused": None, "shots": shots, "set_aside": set_aside, "notes": list(about.notes)}


def _quality(found: dict[str, Any], start: int, end: int) -> dict[str, float]:
    """The quality of the segment that the shot lies in: the one that it shares most frames with."""
    best = max(found["segments"], key=lambda s: min(end, s["end"]) - max(start, s["start"]))
    return best["quality"]
