"""From what was found in a video to the mask, the verdict and the views of each of its shots."""

from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from data_prep.analysis import covered_area, shrink_to, unpack
from data_prep.config import MaskSettings, Preprocess
from vidboot.data.masks import Event, MaskTrack
from vidboot.data.video import VideoError

Found = dict[str, Any]
"""An analysis as `analysis.analyse` gives it."""

Spans = Iterable[tuple[int, int, np.ndarray]]
"""First frame, frame after the last, and covered pixels (bool `H W`, analysed size) of what covers the picture."""


# The whole video's sums tell of a shot that is under this share of its frames, and that changes by more than this (grey
# levels from one frame to the next). They tell what most shots share: each of many short shots has too few samples of
# its own, and a logo would stand in all of them. But of a long shot that stands still, or of a still picture, they show
# nothing that lies in it alone.
_SHORT, _STILL = 0.25, 0.5
_UNTOLD = "too little motion or time to tell an overlay from the scene"


def covered_spans(found: Found, pooled: np.ndarray | None, frames: range | None = None) -> Spans:
    """Everything that is burnt in, or as much of it as touches `frames`."""
    height, width = found["size"]
    frames = range(found["frames"]) if frames is None else frames
    together: dict[tuple[int, int], np.ndarray] = {}
    for text in found["texts"]:
        if text["sure"] and _touch(text["start"], text["end"], frames):
            box, covered = covered_area(text)
            whole = together.setdefault((text["start"], text["end"]), np.zeros((height, width), bool))
            whole[box[0] : box[2], box[1] : box[3]] |= covered
    for (start, end), covered in together.items():
        yield start, end, covered
    for overlay in found["overlays"]:
        if _touch(overlay["start"], overlay["end"], frames):
            yield overlay["start"], overlay["end"], unpack(overlay["bits"], height, width)
    if pooled is not None and pooled.any():
        yield 0, found["frames"], pooled


def _touch(start: int, end: int, frames: range) -> bool:
    return start < frames.stop and end > frames.start


def matching(masks: list[MaskSettings], source: Path) -> list[int]:
    """Numbers of the user's masks that are for this file."""
    return [number for number, mask in enumerate(masks) if _matches(mask, source)]


def _matches(mask: MaskSettings, source: Path) -> bool:
    patterns = mask.source, f"*/{mask.source.removeprefix('./')}"
    return any(fnmatch(str(source), pattern) for pattern in patterns)


def users_spans(found: Found, source: Path, masks: list[MaskSettings]) -> Spans:
    """As `covered_spans`, from the user's own masks; raises `VideoError` if one does not fit the picture."""
    height, width = found["size"]
    full = found["probe"]["height"], found["probe"]["width"]
    for mask in (mask for mask in masks if _matches(mask, source)):
        end = found["frames"] if mask.end is None else min(mask.end, found["frames"])
        covered = _users_area(mask, source, full)
        if mask.start < end:
            yield mask.start, end, shrink_to(covered, (0, 0, *full), height, width)


def _users_area(mask: MaskSettings, source: Path, full: tuple[int, int]) -> np.ndarray:
    """What one of the user's masks covers, bool `H W` of the source's size."""
    height, width = full
    covered = np.zeros(full, bool)
    if mask.box is not None:
        top, left, rows, columns = mask.box
        if top >= height or left >= width:
            raise VideoError(source, f"its mask's box {mask.box} lies outside the picture of {width}×{height}")
        covered[top : top + rows, left : left + columns] = True
    if mask.picture is not None:
        picture = cv2.imread(mask.picture, cv2.IMREAD_GRAYSCALE)
        if picture is None or picture.shape != full:
            raise VideoError(source, f"its mask {mask.picture} is no picture of {width}×{height}")
        covered |= picture < 128
    return covered


class Coverage:
    """What covers the pictures of a video: what is burnt in, and the user's masks added or, where they replace, alone.

    Areas are unpacked for the frames that are asked for: those of a long film together take hundreds of megabytes.
    Raises `VideoError` if a mask of the user's does not fit the picture.
    """

    def __init__(self, found: Found, pooled: np.ndarray | None, source: Path, settings: Preprocess) -> None:
        self.found, self.pooled = found, pooled
        self._users = list(users_spans(found, source, settings.masks))
        self._replaced = any(mask.replace and _matches(mask, source) for mask in settings.masks)

    def of(self, frames: range) -> list[tuple[int, int, np.ndarray]]:
        """What touches these frames."""
        users = [span for span in self._users if _touch(*span[:2], frames)]
        return users if self._replaced else [*covered_spans(self.found, self.pooled, frames), *users]


def shot_mask(
    spans: Spans, span: tuple[int, int], crop: tuple[int, int, int, int], found: Found, settings: Preprocess
) -> MaskTrack:
    """The mask of one shot at the stored size, from what touches its frames."""
    start, end = span
    down, across = found["size"][0] / found["probe"]["height"], found["size"][1] / found["probe"]["width"]
    # Outwards, so that no covered pixel is lost by rounding.
    top, left, rows, columns = crop
    y0, x0 = int(np.floor(top * down)), int(np.floor(left * across))
    y1, x1 = int(np.ceil((top + rows) * down)), int(np.ceil((left + columns) * across))
    events = []
    for first, last, covered in spans:
        if _touch(first, last, range(start, end)):
            small = shrink_to(covered, (y0, x0, y1 - y0, x1 - x0), settings.height, settings.width)
            if small.any():
                events.append(Event(max(first, start) - start, min(last, end) - start, small))
    return MaskTrack(end - start, settings.height, settings.width, events)


def verdict(found: Found, pooled: bool, span: tuple[int, int], masked: bool) -> tuple[str, str]:
    """The verdict on a shot and its reason; `pooled` tells that videos of the same source settled the overlays."""
    start, end = span
    told = pooled or _moves(found, start, end)
    if masked:
        here = [o["opacity"] for o in found["overlays"] if o["start"] < end and o["end"] > start]
        reason = "burnt-in text or overlay" + (f" ({max(here):.0%} opaque)" if here else "")
        return "masked", reason if told else f"{reason}; {_UNTOLD}"
    if any(t["start"] < end and t["end"] > start for t in found["tickers"]):
        return "uncertain", "writing that runs across the picture"
    if any(t["start"] < end and t["end"] > start and not t["sure"] for t in found["texts"]):
        return "uncertain", "writing that may belong to the scene"
    if not told:
        return "uncertain", _UNTOLD
    return "clean", "nothing burnt in was found"


def _moves(found: Found, start: int, end: int) -> bool:
    """Whether a shot, or the video that it is a small part of, moves enough to tell an overlay from the scene."""
    own = [segment for segment in found["segments"] if segment["start"] < end and segment["end"] > start]
    if any(segment["moving"] for segment in own):
        return True
    most = _SHORT * found["frames"]
    short = all(s["end"] - s["start"] < most and s["quality"]["motion"] > _STILL for s in own)
    return found["moving"] and short


def views(frames: int, crop: tuple[int, int, int, int], quality: Found, settings: Preprocess) -> tuple[list[str], str]:
    """The views that a shot can supply, and why not more."""
    limits = settings.views
    if frames < limits.clip_frames:
        return [], f"too short (a clip needs {limits.clip_frames} frames)"
    if quality["brightness"] < limits.min_brightness:
        return [], f"too dark (mean brightness {quality['brightness']:.1f})"
    if quality["motion"] < limits.min_motion:
        return [], f"too little motion ({quality['motion']:.2f} grey levels a frame)"
    if limits.max_blockiness is not None and quality["blockiness"] > limits.max_blockiness:
        return [], f"too strongly compressed (blockiness {quality['blockiness']:.1f})"
    resolved = quality["detail"] * min(crop[2] / settings.height, crop[3] / settings.width)
    long = frames >= limits.full_frames
    if resolved >= 1:
        return (["full", "clip", "low_res"] if long else ["clip"]), ""
    reason = f"holds detail for {resolved:.0%} of the stored resolution"
    if long and resolved * limits.low_res_factor >= 1:
        return ["low_res"], reason
    return [], reason
