"""A clip that a user drops: what preprocessing finds burnt into it, with the user's changes."""

import hashlib
import shutil
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from data_prep.analysis_types import Analysis
from data_prep.config import MaskSettings, Preprocess, StoreSettings, ViewSettings
from data_prep.manifest_rows import row_of
from data_prep.masking import Coverage
from data_prep.report.edits import pattern_of
from data_prep.report.regions import Region, masked_regions, source_box
from data_prep.tasks import AnalyseJob, StoreJob, analyse_video, plan_shots, store_video
from data_prep.video.cropping import Crop
from data_prep.video.decode import pictures, scale
from data_prep.work.engine import LocalEngine
from data_prep.work.scan import Source
from data_prep.work.store import packed
from data_prep.work.workers import reason_of
from vidboot.app.request import AppRequest
from vidboot.app.uploads import check_upload
from vidboot.config import RunConfig
from vidboot.data.files import write_atomic
from vidboot.data.manifest import Manifest, load_manifest, write_manifest
from vidboot.errors import UserError

# The only video of its folder: names of its records.
_KEY = "clip"
# Share of red in what is masked, and colours (RGB) of it and of the border of what is stored.
_TINT, _RED, _WHITE = 0.55, (230, 40, 40), (255, 255, 255)


@dataclass(frozen=True)
class Clip:
    """A clip in a folder of its own, and what was found in it."""

    path: Path
    settings: Preprocess
    """Without masks of the user's own."""
    analysis: Analysis
    shots: tuple[tuple[int, int, Crop], ...]
    """First frame, frame after the last and stored region of each shot, source pixels."""
    regions: tuple[Region, ...]
    """What is masked, ordered by time."""

    def with_changes(self, kept: Collection[int], boxes: Sequence[MaskSettings]) -> Preprocess:
        """The settings that mask only the regions with the numbers `kept`, and the boxes."""
        gone = [region for number, region in enumerate(self.regions) if number not in kept]
        return self.settings.model_copy(update={"masks": [*map(self._taken_away, gone), *boxes]})

    def _taken_away(self, region: Region) -> MaskSettings:
        box = source_box(region.box, self.analysis)
        return MaskSettings(source=pattern_of(self.path), box=box, start=region.start, end=region.end, remove=True)

    def box(self, one: tuple[int, int], other: tuple[int, int], start: int, end: int) -> MaskSettings:
        """A mask between two corners (x, y) in the shown picture, from frame `start` up to, not including, `end`.

        Raises `UserError` if it covers nothing.
        """
        (x0, x1), (y0, y1) = sorted((one[0], other[0])), sorted((one[1], other[1]))
        if x0 == x1 or y0 == y1 or not 0 <= start < min(end, self.analysis.frames):
            raise UserError("the box covers nothing: click on two corners, and give a first frame before the last")
        box = source_box((y0, x0, y1, x1), self.analysis)
        return MaskSettings(source=pattern_of(self.path), box=box, start=start, end=end)

    def masked(self, number: int, settings: Preprocess) -> Bool[np.ndarray, "h w"]:
        """What is masked in the frame with this number, analysed size."""
        covered = np.zeros(self.analysis.size, bool)
        for _, _, area in Coverage(self.analysis, None, self.path, settings).of(range(number, number + 1)):
            covered |= area
        return covered

    def overlay(self, number: int, settings: Preprocess) -> UInt8[np.ndarray, "h w C"]:
        """The frame with this number, what is masked in red, and a white border around what the run can hold."""
        number = min(max(number, 0), self.analysis.frames - 1)
        size = self.analysis.size
        image = next(p.image for p in pictures(self.path, self.analysis.probe) if p.number >= number)
        drawn = scale(image, *size).copy()
        covered = self.masked(number, settings)
        drawn[covered] = (1 - _TINT) * drawn[covered] + _TINT * np.array(_RED)
        for start, end, (top, left, rows, columns) in self.shots:
            if start <= number < end:
                tall, wide = size[0] / self.analysis.probe.height, size[1] / self.analysis.probe.width
                first = round(left * wide), round(top * tall)
                last = round((left + columns) * wide) - 1, round((top + rows) * tall) - 1
                cv2.rectangle(drawn, first, last, _WHITE, 1)
        return drawn

    def store(self, settings: Preprocess, request: AppRequest) -> Manifest:
        """Store the shots, with their masks, beside the clip. Raises `UserError` if that fails or there is no shot."""
        folder = self.path.parent
        masks = hashlib.sha256("".join(mask.digest() for mask in settings.masks).encode()).hexdigest()
        stored = _run(store_video, _job(self.path, masks, settings, self.analysis), request)
        record = stored.record
        for name, content in stored.masks.items():
            write_atomic(folder / name, content)
        if record["refused"] is not None:
            raise UserError(f"the clip can't be used: {record['refused']}")
        if not record["shots"]:
            raise UserError(f"no frame of the clip can be used: {record['set_aside'][0][-1]}")
        write_manifest(folder, [row_of(Source(self.path, None), _KEY, shot, settings) for shot in record["shots"]])
        return load_manifest(folder)


def open_clip(upload: Path, folder: Path, config: RunConfig, request: AppRequest) -> Clip:
    """Copy a dropped clip into `folder` and find what is burnt into it, at the size of the run.

    Raises `UserError` for a file that is refused.
    """
    check_upload(upload, request)
    settings, path = _settings(config), folder / f"clip{upload.suffix}"
    shutil.copyfile(upload, path)
    found = _run(analyse_video, AnalyseJob(path, _KEY, settings, folder), request).found
    if not isinstance(found, Analysis):
        raise UserError(f"{upload.name} can't be used: {found}")
    plan, set_aside, _ = plan_shots(_job(path, _KEY, settings, found), found)
    if not plan:
        raise UserError(f"no frame of {upload.name} can be used: {set_aside[0][-1]}")
    shots = tuple((shot["start"], shot["end"], tuple(shot["crop"])) for shot in plan)
    regions = masked_regions(found, None, path, settings, shots).shown
    return Clip(path, settings, found, shots, tuple(regions))


def _settings(config: RunConfig) -> Preprocess:
    """Settings that keep every shot: it is to be painted out, not to be learnt from."""
    every = ViewSettings(clip_frames=1, full_frames=1, low_res_factor=10**6, min_brightness=0.0)
    store = StoreSettings(lossless=True)
    return Preprocess(height=config.video.height, width=config.video.width, workers=1, views=every, store=store)


def _job(path: Path, masks: str, settings: Preprocess, found: Analysis) -> StoreJob:
    """The clip as a video to be stored, under a key that depends on its masks."""
    return StoreJob(path, _KEY, masks, path.parent, settings, None, packed(found.to_json()))


def _run(task: Callable[[Any], Any], job: AnalyseJob | StoreJob, request: AppRequest) -> Any:
    """The result of a task in a process of its own: a clip that crashes a decoder does not end the app.

    Raises `UserError` if it fails or takes too long.
    """
    with LocalEngine(1, request.max_minutes * 60) as engine:
        ((_, result),) = [one for batch in engine.run(task, [job]) for one in batch]
    if isinstance(result, UserError):
        raise UserError(f"the clip can't be used: {reason_of(result)}")
    return result
