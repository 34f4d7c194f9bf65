"""What a worker process runs for one video, as functions of plain values."""

import base64
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from data_prep.analysis import analyse, mean_maps
from data_prep.analysis_types import Analysis, AnalysisRecords, unpack
from data_prep.config import Preprocess
from data_prep.masking import Coverage, shot_mask, verdict, views
from data_prep.measure.quality import Quality
from data_prep.report.page import VideoPage, tile, video_block
from data_prep.report.regions import Shots, masked_regions
from data_prep.report.shown_frames import drawable, sheet_numbers, wanted_numbers
from data_prep.video.decode import pictures, probe, scale
from data_prep.video.resampling import shot_resampling
from data_prep.video.store import StoredShot, centre_crop, store_shots
from data_prep.work.hashes import stamped_hash
from data_prep.work.records import Records
from data_prep.work.stopwatch import Stopwatch
from data_prep.work.workers import reason_of
from vidboot.data.container import LIST_OF_FILES, UnreadableError, VideoError, is_list
from vidboot.data.files import atomic_path
from vidboot.data.masks import MaskTrack
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
    """A video to be stored. `analysis` and `key` name its records; `pooled`: overlays shared by its source's videos."""

    path: Path
    analysis: str
    key: str
    output: Path
    settings: Preprocess
    pooled: str | None


def hash_file(job: HashJob) -> list | VideoError:
    """The entry of a file in `HashCache`, or why the file can't be read or is no video by itself."""
    try:
        if is_list(job.path):
            return VideoError(job.path, LIST_OF_FILES)
        return stamped_hash(job.path)
    except OSError as error:
        return VideoError(job.path, f"can't be read ({error.strerror})")


def analyse_video(job: AnalyseJob) -> UnreadableError | None:
    """Analyse one video and write its record; for a video that can't be used, the record holds the reason.

    For a video that can't be read now there is no record, so that a later run tries again; the error is returned.
    """
    records = AnalysisRecords(job.output)
    found: Analysis | str
    try:
        about = probe(job.path, job.settings.deinterlace)
        found, sums = analyse(job.path, about, job.settings)
        with atomic_path(records.maps_file(job.key)) as partial, partial.open("wb") as file:
            maps = mean_maps(sums)
            np.savez_compressed(file, dx=maps["dx"], dy=maps["dy"], grey=maps["grey"])
    except UnreadableError as error:
        return error
    except VideoError as error:
        found = reason_of(error)
    records.put(job.key, found)
    return None


def store_video(job: StoreJob) -> UnreadableError | None:
    """Write the shots and masks of an analysed video, its part of the report, and its record.

    Returns an error for a video that can't be read now, like `analyse_video`.
    """
    watch = Stopwatch()
    try:
        analysis = _analysis_of(job)
        shots, set_aside, masks = plan_shots(job, analysis)
        encoded = _encoded(job, analysis, shots)
        for shot, mask, fps in zip(shots, masks, encoded["fps"], strict=True):
            shot["fps"] = fps
            if mask.events:
                mask.save(job.output / shot["mask"])
        if shots:
            pictures = {int(number): _image(text) for number, text in encoded["pictures"].items()}
            Records(job.output / "pages").put(job.key, video_block(_page(job, analysis, shots, pictures)))
        watch.lap("storing")
        sizes = {**encoded["files"], **_sizes(job.output, [shot["mask"] for shot in shots])}
        record: dict[str, Any] = {"refused": None, "shots": shots, "set_aside": set_aside, "files": sizes}
        # With the time of encoding, even if an earlier run did it: the report shows the shares of the whole work.
        record["seconds"] = {"storing": max(watch.seconds["storing"], encoded["seconds"])}
    except UnreadableError as error:
        return error
    except UserError as error:
        record = {"refused": reason_of(error)}
    Records(job.output / "records").put(job.key, record)
    return None


def _encoded(job: StoreJob, analysis: Analysis, shots: list[dict[str, Any]]) -> dict[str, Any]:
    """The record of the encoded shots, which are encoded if they are missing: `fps` of each, `files`, `pictures`.

    It does not depend on the masks: a video is not encoded again when its masks change, because more videos of its
    folder are known or the user gave a mask.
    """
    records = Records(job.output / "encoded")
    if not records.has_whole(job.analysis, job.output):
        watch = Stopwatch()
        wanted = [_stored(job, analysis, shot) for shot in shots]
        shown = dict.fromkeys(wanted_numbers(analysis, job.path, job.settings, _spans(shots)), analysis.size)
        fps, images = store_shots(job.path, analysis.probe, wanted, job.settings, shown)
        pictures = {number: _text(image) for number, image in images.items()}
        watch.lap("storing")
        sizes = _sizes(job.output, [shot["path"] for shot in shots])
        seconds = watch.seconds["storing"]
        records.put(job.analysis, {"fps": fps, "files": sizes, "pictures": pictures, "seconds": seconds})
    record = records.get(job.analysis)
    if record is None:
        raise UnreadableError(job.path, "the record of its shots is missing; run the same command again")
    return record


def _stored(job: StoreJob, analysis: Analysis, shot: dict[str, Any]) -> StoredShot:
    """The frames of a shot that are stored, where, and their rate if it is not their own."""
    start, end, crop, path = shot["start"], shot["end"], tuple(shot["crop"]), job.output / shot["path"]
    if shot["timing"] != "dropped":
        return StoredShot(start, end, crop, path)
    timing = shot_resampling(analysis.times, analysis.probe.fps, start, end, job.settings.fps)
    left_out = frozenset(range(start, end)) - frozenset((timing.kept + start).tolist())
    return StoredShot(start, end, crop, path, left_out, job.settings.fps)


def _sizes(output: Path, names: list[str | None]) -> dict[str, int]:
    return {name: (output / name).stat().st_size for name in names if name is not None}


def _text(image: np.ndarray) -> str:
    _, jpeg = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
    return base64.b64encode(jpeg.tobytes()).decode()


def _image(text: str) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(base64.b64decode(text), np.uint8), cv2.IMREAD_COLOR)
    assert image is not None, "a picture that `_text` wrote can be read"
    return image[..., ::-1]


def preview_video(job: StoreJob) -> dict[str, Any] | VideoError:
    """The report's part about an analysed video; writes nothing."""
    try:
        analysis = _analysis_of(job)
        shots, _, _ = plan_shots(job, analysis)
        numbers = wanted_numbers(analysis, job.path, job.settings, _spans(shots))
        shown = {}
        for picture in pictures(job.path, analysis.probe):
            if picture.number in numbers:
                shown[picture.number] = scale(picture.image, *analysis.size)
            if picture.number >= max(numbers):
                break
        return video_block(_page(job, analysis, shots, shown))
    except VideoError as error:
        return error


def plan_shots(job: StoreJob, analysis: Analysis) -> tuple[list[dict[str, Any]], list[list], list[MaskTrack]]:
    """The rows of the shots to store, what is set aside (first frame, frame after the last, reason), and the masks."""
    settings, pooled = job.settings, _pooled_of(job, analysis)
    coverage = Coverage(analysis, pooled, job.path, settings)
    shots, masks = [], []
    set_aside = [] if analysis.spans else [[0, analysis.frames, "every frame is black"]]
    for span in analysis.spans:
        start, end = span.start, span.end
        crop = centre_crop(analysis.probe, span.picture, settings.height, settings.width)
        quality = _quality(analysis, start, end)
        timing = shot_resampling(analysis.times, analysis.probe.fps, start, end, settings.fps)
        supplied, why = views(len(timing.kept), crop, quality, settings)
        if settings.fps is not None and timing.timing == "slower" and settings.slower == "refuse":
            supplied, why = [], f"has {timing.own_fps:.3g} frames a second, fewer than fps={settings.fps:g} asks for"
        if not supplied:
            set_aside.append([start, end, why])
            continue
        mask = shot_mask(coverage.of(range(start, end)), (start, end), crop, analysis, settings)
        masks.append(mask.of_frames(timing.kept.tolist()))
        masked = bool(masks[-1].events)
        name = f"{start:07d}-{end:07d}"
        said, reason = verdict(analysis, pooled is not None, (start, end), masked)
        shots.append(
            {
                "start": start, "end": end, "num_frames": len(timing.kept), "timing": timing.timing,
                "crop": list(crop), "picture": list(span.picture),
                "path": f"shots/{job.analysis[:20]}/{name}.mp4",
                "mask": f"masks/{job.key[:20]}/{name}.npz" if masked else None, "views": supplied,
                "verdict": said, "reason": reason, **asdict(quality),
            }
        )  # fmt: skip
    return shots, set_aside, masks


def _analysis_of(job: StoreJob) -> Analysis:
    analysis = AnalysisRecords(job.output).usable(job.analysis)
    if analysis is None:
        raise UnreadableError(job.path, "its analysis is missing; run the same command again")
    return analysis


def _pooled_of(job: StoreJob, analysis: Analysis) -> np.ndarray | None:
    return None if job.pooled is None else unpack(job.pooled, *analysis.size)


def _spans(shots: list[dict[str, Any]]) -> Shots:
    return [(shot["start"], shot["end"], tuple(shot["crop"])) for shot in shots]


def _page(job: StoreJob, analysis: Analysis, shots: list[dict[str, Any]], shown: dict[int, np.ndarray]) -> VideoPage:
    pooled, stored = _pooled_of(job, analysis), _spans(shots)
    tiles = [(number, tile(shown[number])) for number in sheet_numbers(analysis, stored)]
    coverage = Coverage(analysis, pooled, job.path, job.settings)
    return VideoPage(
        name=job.path.name,
        analysis=analysis,
        width=analysis.probe.width,
        tiles=tiles,
        pictures=shown,
        drawable=drawable(stored),
        regions=masked_regions(analysis, pooled, job.path, job.settings, stored),
        shots=stored,
        spans=[span for number, _ in tiles for span in coverage.of(range(number, number + 1))],
        verdicts=[(shot["start"], shot["end"], shot["verdict"], shot["reason"]) for shot in shots],
    )


def _quality(analysis: Analysis, start: int, end: int) -> Quality:
    """The quality of the segment that shares most frames with the shot."""
    return max(analysis.segments, key=lambda s: min(end, s.end) - max(start, s.start)).quality
