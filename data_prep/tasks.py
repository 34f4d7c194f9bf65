"""What a worker process runs for one video, as functions of plain values."""

import base64
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from data_prep.analysis import analyse, mean_maps
from data_prep.analysis_types import Analysis, unpack
from data_prep.jobs import Analysed, AnalyseJob, HashJob, StoredVideo, StoreJob
from data_prep.masking import Coverage, mostly_left, shot_mask, verdict, views
from data_prep.measure.quality import Quality
from data_prep.overlays.pooling import packed_maps
from data_prep.report.page import VideoPage, tile, video_block
from data_prep.report.regions import Shots, masked_regions
from data_prep.report.shown_frames import drawable, sheet_numbers, wanted_numbers
from data_prep.video.decode import pictures, probe, scale
from data_prep.video.resampling import shot_resampling
from data_prep.video.store import StoredShot, centre_crop, store_shots
from data_prep.work.hashes import Stamped, stamped_hash
from data_prep.work.remote import fetched
from data_prep.work.stopwatch import Stopwatch
from data_prep.work.store import unpacked
from data_prep.work.workers import NO_ROOM, reason_of
from vidboot.data.container import LIST_OF_FILES, UnreadableError, VideoError, is_list
from vidboot.data.masks import MaskTrack
from vidboot.errors import UserError


def hash_file(job: HashJob) -> Stamped | VideoError:
    """Size, time and hash of a file, or why the file can't be read or is no video by itself."""
    try:
        with fetched(job.path, job.output) as path:
            return VideoError(str(job.path), LIST_OF_FILES) if is_list(path) else stamped_hash(path)
    except UnreadableError as error:
        return error
    except OSError as error:
        if error.errno in NO_ROOM:  # for the copy of a remote file
            raise
        return VideoError(str(job.path), f"can't be read ({error.strerror})")


def analyse_video(job: AnalyseJob) -> Analysed | UnreadableError:
    """Analyse one video; returns an error for one that can't be read now, so that a later run tries again."""
    try:
        with fetched(job.path, job.output) as path:
            about = probe(path, job.settings.deinterlace)
            found, sums = analyse(path, about, job.settings)
            encoded, shown = _at_once(job, path, found)
    except UnreadableError as error:
        return error
    except VideoError as error:
        return Analysed(reason_of(error))
    return Analysed(found, packed_maps(mean_maps(sums)), encoded, shown)


def _at_once(job: AnalyseJob, path: Path, analysis: Analysis) -> tuple[dict[str, Any] | None, dict[str, str] | None]:
    """What storing and drawing need of a video's pictures, as `_encoded` gives it; None for what was not asked for."""
    if not (job.stores or job.drawn):
        return None, None
    # Masks don't change them: neither the user's own nor those that the videos of a folder share.
    settings = job.settings.model_copy(update={"masks": []})
    here = StoreJob(path, job.key, job.key, job.output, settings, None, None, drawn=job.drawn)
    try:
        shots, _, _ = plan_shots(here, analysis)
        if job.stores:
            encoded, frames = _encoded(here, analysis, shots)
            return encoded, frames if job.drawn else None
        return None, {str(number): _text(image) for number, image in _shown(here, analysis, shots).items()}
    except VideoError:  # storing says it
        return None, None


def store_video(job: StoreJob) -> StoredVideo | UnreadableError:
    """Write the shots of an analysed video, and make its masks; returns an error like `analyse_video`."""
    watch = Stopwatch()
    try:
        analysis = _analysis_of(job)
        shots, set_aside, masks = plan_shots(job, analysis)
        encoded, frames = _encoded(job, analysis, shots)
        for shot, fps in zip(shots, encoded["fps"], strict=True):
            shot["fps"] = fps
        packed_masks = {s["mask"]: mask.packed() for s, mask in zip(shots, masks, strict=True) if mask.events}
        page = None
        if shots and job.drawn:
            images = {int(number): _image(text) for number, text in frames.items()}
            page = video_block(_page(job, analysis, shots, images))
        watch.lap("storing")
    except UnreadableError as error:
        return error
    except UserError as error:
        return StoredVideo({"refused": reason_of(error)}, {}, {})
    # With the time of encoding, even if an earlier run did it: the report shows the shares of the whole work.
    seconds = {"storing": max(watch.seconds["storing"], encoded["seconds"])}
    record = {"refused": None, "shots": shots, "set_aside": set_aside, "seconds": seconds}
    is_new, are_new = job.encoded is None, job.drawn and job.pictures is None
    new = encoded if is_new else None, frames if are_new else None
    return StoredVideo(record, encoded["files"], packed_masks, *new, page)


def _encoded(job: StoreJob, analysis: Analysis, shots: list[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, str]]:
    """The record of the encoded shots (`fps` of each, `files`, `seconds`), and the report's frames by number.

    Shots are encoded if they are missing. They do not depend on the masks: a video is not encoded again when its masks
    change, because more videos of its folder are known or the user gave a mask.
    """
    kept = (job.pictures or {}) if job.drawn else {}
    images: dict[int, np.ndarray] = {}
    numbers = wanted_numbers(analysis, job.path, job.settings, _spans(shots)) if job.drawn and not kept else []
    if (record := job.encoded) is None:
        watch = Stopwatch()
        wanted = [_stored(job, analysis, shot) for shot in shots]
        shown = dict.fromkeys(numbers, analysis.size)
        with fetched(job.path, job.output) as path:
            fps, images = store_shots(path, analysis.probe, wanted, job.settings, shown)
        watch.lap("storing")
        sizes = _sizes(job.output, [shot["path"] for shot in shots])
        record = {"fps": fps, "files": sizes, "seconds": watch.seconds["storing"]}
    elif numbers and shots:
        images = _frames(job, analysis, numbers)
    return record, kept or {str(number): _text(image) for number, image in images.items()}


def _frames(job: StoreJob, analysis: Analysis, numbers: list[int]) -> dict[int, np.ndarray]:
    """Frames of the video by number, at the size of the analysis."""
    shown = {}
    with fetched(job.path, job.output) as path:
        for picture in pictures(path, analysis.probe):
            if picture.number in numbers:
                shown[picture.number] = scale(picture.image, *analysis.size)
            if picture.number >= max(numbers):
                break
    return shown


def _shown(job: StoreJob, analysis: Analysis, shots: list[dict[str, Any]]) -> dict[int, np.ndarray]:
    """The frames that the report shows by number: those that the job has, or else decoded."""
    numbers = wanted_numbers(analysis, job.path, job.settings, _spans(shots))
    kept = job.pictures or {}
    if all(str(number) in kept for number in numbers):
        return {number: _image(kept[str(number)]) for number in numbers}
    return _frames(job, analysis, numbers)


def _stored(job: StoreJob, analysis: Analysis, shot: dict[str, Any]) -> StoredShot:
    """The frames of a shot that are stored, where, and their rate if it is not their own."""
    start, end, crop, path = shot["start"], shot["end"], tuple(shot["crop"]), job.output / shot["path"]
    if shot["timing"] != "dropped":
        return StoredShot(start, end, crop, path)
    timing = shot_resampling(analysis.times, analysis.probe.fps, start, end, job.settings.fps)
    left_out = frozenset(range(start, end)) - frozenset((timing.kept + start).tolist())
    return StoredShot(start, end, crop, path, left_out, job.settings.fps)


def _sizes(output: Path, names: list[str]) -> dict[str, int]:
    return {name: (output / name).stat().st_size for name in names}


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
        return video_block(_page(job, analysis, shots, _shown(job, analysis, shots)))
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
        left = masked and mostly_left(coverage, (start, end))
        said, reason = verdict(analysis, pooled is not None, (start, end), masked, left)
        shots.append(
            {
                "start": start, "end": end, "num_frames": len(timing.kept), "timing": timing.timing,
                "crop": list(crop), "picture": list(span.picture),
                "path": f"shots/{job.analysis[:2]}/{job.analysis[:20]}/{name}.mp4",
                "mask": f"masks/{job.key[:20]}/{name}.npz" if masked else None, "views": supplied,
                "verdict": said, "reason": reason, **asdict(quality),
            }
        )  # fmt: skip
    return shots, set_aside, masks


def _analysis_of(job: StoreJob) -> Analysis:
    record = unpacked(job.found)
    analysis = None if record is None else Analysis.from_json(record)
    if analysis is None:
        raise UnreadableError(str(job.path), "its analysis is missing; run the same command again")
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
