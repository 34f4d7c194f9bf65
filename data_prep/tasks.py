"""The work on one video, as plain functions of plain values: what a worker process runs."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from data_prep.config import Preprocess
from data_prep.decode import Probe, pictures, probe, scale
from data_prep.hashes import content_hash
from data_prep.records import Records
from data_prep.shots import ShotFinder
from data_prep.store import centre_crop, store_shots
from vidboot.data.video import VideoError

# Longest side of the pictures that are analysed, in pixels.
ANALYSIS_SIDE = 640


@dataclass(frozen=True)
class HashJob:
    """A file whose content hash is wanted."""

    path: Path


@dataclass(frozen=True)
class VideoJob:
    """A video to be analysed and stored under `output`; `key` names its record and its folder."""

    path: Path
    key: str
    output: Path
    settings: Preprocess


def hash_file(job: HashJob) -> str | VideoError:
    """The content hash of a file, or why it can't be read."""
    try:
        return content_hash(job.path)
    except OSError as error:
        return VideoError(job.path, f"can't be read ({error.strerror})")


def process_video(job: VideoJob) -> None:
    """Analyse and store one video and leave its record; a video that can't be used leaves the reason."""
    try:
        record = _process(job)
    except VideoError as error:
        record = {"refused": error.reason}
    Records(job.output / "records").put(job.key, record)


def _process(job: VideoJob) -> dict[str, Any]:
    about = probe(job.path)
    settings = job.settings
    spans = _analyse(job.path, about, settings)
    kept = [(start, end) for start, end in spans if end - start >= settings.views.clip_frames]
    too_short = [[start, end] for start, end in spans if end - start < settings.views.clip_frames]
    crop = centre_crop(about, (0, 0, about.height, about.width), settings.height, settings.width)

    def name(start: int, end: int) -> Path:
        return Path("shots") / job.key[:20] / f"{start:07d}-{end:07d}.mp4"

    rates = store_shots(job.path, about, kept, crop, settings, lambda start, end: job.output / name(start, end))
    shots = [
        {"start": start, "end": end, "fps": fps, "crop": list(crop), "path": name(start, end).as_posix()}
        for (start, end), fps in zip(kept, rates, strict=True)
    ]
    return {"refused": None, "probe": asdict(about), "shots": shots, "too_short": too_short}


def _analyse(path: Path, about: Probe, settings: Preprocess) -> list[tuple[int, int]]:
    shrink = min(1.0, ANALYSIS_SIDE / max(about.height, about.width))
    size = max(1, round(about.height * shrink)), max(1, round(about.width * shrink))
    shots = ShotFinder(settings.shots, about.fps)
    for picture in pictures(path, about, pixels="bgr24"):
        shots.feed(picture.number, scale(picture.image, *size))
    return shots.spans()
