"""Derive the mask, the verdict and the views of each shot from the analysis of its video."""

from collections.abc import Iterable
from fnmatch import fnmatch
from typing import Protocol

import cv2
import numpy as np

from data_prep.analysis_types import Analysis, Overlay, Text, pack, unpack
from data_prep.config import MaskSettings, Preprocess
from data_prep.evidence import DOUBTED
from data_prep.measure.quality import Quality
from data_prep.video.cropping import Crop
from data_prep.video.decode import scale
from data_prep.work.locations import Location
from vidboot.data.masks import Event, MaskTrack
from vidboot.data.video import VideoError

Span = tuple[int, int, np.ndarray]
"""First frame, frame after the last, and covered pixels (bool `H W`, analysed size) of something that covers the
picture."""
Spans = Iterable[Span]

# A shot that moves too little by itself is decided by the sums of the whole video if it has less than this share of the
# frames, and its mean change from frame to frame exceeds the second value (grey levels). For many short shots, each has
# too few samples, and a logo would be in all of them. But an overlay that only a long static shot or a still picture
# shows is not visible in the sums of the video.
_SHORT, _STILL = 0.25, 0.5
_UNDECIDED = "too little motion or time to tell an overlay from the scene"
_BARS = "bars may be there in some of the frames"
_LEFT = "more may be burnt in than is masked"
# Frames of a shot in which what is masked is compared with what is in doubt.
_COMPARED = 16


def covered_spans(analysis: Analysis, pooled: np.ndarray | None, frames: range | None = None) -> Spans:
    """Everything that is burnt in; with `frames`, only what covers some of them."""
    height, width = analysis.size
    frames = range(analysis.frames) if frames is None else frames
    together: dict[tuple[int, int], np.ndarray] = {}
    for text in analysis.texts:
        if text.sure and _touches(text, frames):
            top, left, bottom, right = text.box
            whole = together.setdefault((text.start, text.end), np.zeros((height, width), bool))
            whole[top:bottom, left:right] |= text.covered()
    for (start, end), covered in together.items():
        yield start, end, covered
    for overlay in analysis.overlays:
        if overlay.sure and _touches(overlay, frames):
            yield overlay.start, overlay.end, unpack(overlay.bits, height, width)
    if pooled is not None and pooled.any():
        yield 0, analysis.frames, pooled


class _Lasting(Protocol):
    @property
    def start(self) -> int: ...

    @property
    def end(self) -> int: ...


def _touches(item: _Lasting, frames: range) -> bool:
    """Whether something with a `start` and an `end` shares a frame with these."""
    return _overlap(item.start, item.end, frames)


def _overlap(start: int, end: int, frames: range) -> bool:
    return start < frames.stop and end > frames.start


def matching(masks: list[MaskSettings], source: Location) -> list[int]:
    """Numbers of the user's masks whose pattern matches this file."""
    return [number for number, mask in enumerate(masks) if _matches(mask, source)]


def _matches(mask: MaskSettings, source: Location) -> bool:
    patterns = mask.source, f"*/{mask.source.removeprefix('./')}"
    return any(fnmatch(str(source), pattern) for pattern in patterns)


def users_spans(analysis: Analysis, source: Location, masks: Iterable[MaskSettings]) -> Spans:
    """Like `covered_spans`, for the user's own masks; raises `VideoError` if one does not fit the picture.

    Of a mask with `remove` it is the area in which what is found is taken away: the pixels that lie wholly inside.
    """
    height, width = analysis.size
    full = analysis.probe.height, analysis.probe.width
    for mask in (mask for mask in masks if _matches(mask, source)):
        end = analysis.frames if mask.end is None else min(mask.end, analysis.frames)
        area = _users_area(mask, source, full)
        if mask.start < end:
            whole = 0, 0, *full
            small = _shrink_to(~area if mask.remove else area, whole, height, width)
            yield mask.start, end, ~small if mask.remove else small


def _users_area(mask: MaskSettings, source: Location, full: tuple[int, int]) -> np.ndarray:
    """The pixels that one of the user's masks covers, bool `H W` of the source's size."""
    height, width = full
    covered = np.zeros(full, bool)
    if mask.box is not None:
        top, left, rows, columns = mask.box
        if top >= height or left >= width:
            raise VideoError(str(source), f"its mask's box {mask.box} lies outside the picture of {width}×{height}")
        covered[top : top + rows, left : left + columns] = True
    if mask.picture is not None:
        picture = cv2.imread(mask.picture, cv2.IMREAD_GRAYSCALE)
        if picture is None or picture.shape != full:
            raise VideoError(str(source), f"its mask {mask.picture} is no picture of {width}×{height}")
        covered |= picture < 128
    return covered


class Coverage:
    """Everything that covers the pictures of a video: what is burnt in and the user's masks, or only the latter.

    Areas are unpacked only for the frames asked for: all areas of a long film take hundreds of megabytes.
    Raises `VideoError` if one of the user's masks does not fit the picture.
    """

    def __init__(self, analysis: Analysis, pooled: np.ndarray | None, source: Location, settings: Preprocess) -> None:
        self.analysis, self.pooled = analysis, pooled
        adding, removing = ([mask for mask in settings.masks if mask.remove == which] for which in (False, True))
        self._added = [(s, e, pack(area)) for s, e, area in users_spans(analysis, source, adding)]
        self._removed = [(s, e, pack(area)) for s, e, area in users_spans(analysis, source, removing)]
        self._replaced = any(mask.replace and _matches(mask, source) for mask in settings.masks)

    def of(self, frames: range) -> list[tuple[int, int, np.ndarray]]:
        """What covers some of these frames."""
        found = self.left(covered_spans(self.analysis, self.pooled, frames))
        return [span for span in [*found, *self._unpacked(self._added, frames)] if _overlap(*span[:2], frames)]

    def left(self, found: Spans) -> Spans:
        """What of these finds the user's masks leave: nothing if one replaces them."""
        if self._replaced:
            return
        for start, end, area in found:
            pieces = [(start, end, area)]
            for first, last, removed in self._unpacked(self._removed, range(start, end)):
                pieces = [piece for each in pieces for piece in _without(each, (first, last, removed))]
            yield from pieces

    def _unpacked(self, spans: list[tuple[int, int, str]], frames: range) -> Spans:
        size = self.analysis.size
        return ((start, end, unpack(bits, *size)) for start, end, bits in spans if _overlap(start, end, frames))


def _without(found: Span, removed: Span) -> Spans:
    """The parts of a find that are left when an area is taken away in some frames: before, during, after."""
    (start, end, area), (first, last, gone) = found, removed
    if not _overlap(first, last, range(start, end)) or not (area & gone).any():
        yield found
        return
    for begin, until, left in (
        (start, first, area),
        (max(start, first), min(end, last), area & ~gone),
        (last, end, area),
    ):
        if begin < until and left.any():
            yield begin, until, left


def shot_mask(spans: Spans, span: tuple[int, int], crop: Crop, analysis: Analysis, settings: Preprocess) -> MaskTrack:
    """The mask of one shot at the stored size, from what covers its frames."""
    start, end = span
    down, across = analysis.size[0] / analysis.probe.height, analysis.size[1] / analysis.probe.width
    # Rounded outwards, so that no covered pixel is lost.
    top, left, rows, columns = crop
    y0, x0 = int(np.floor(top * down)), int(np.floor(left * across))
    y1, x1 = int(np.ceil((top + rows) * down)), int(np.ceil((left + columns) * across))
    events = []
    for first, last, covered in spans:
        if _overlap(first, last, range(start, end)):
            small = _shrink_to(covered, (y0, x0, y1 - y0, x1 - x0), settings.height, settings.width)
            if small.any():
                events.append(Event(max(first, start) - start, min(last, end) - start, small))
    return MaskTrack(end - start, settings.height, settings.width, events)


def _shrink_to(covered: np.ndarray, crop: Crop, height: int, width: int) -> np.ndarray:
    """Covered pixels of a cropped region at another size: a pixel is covered if any part of it is."""
    top, left, rows, columns = crop
    return scale(covered[top : top + rows, left : left + columns].astype(np.float32), height, width) > 1e-3


def verdict(
    analysis: Analysis, pooled: bool, span: tuple[int, int], masked: bool, left: bool = False
) -> tuple[str, str]:
    """The verdict on a shot and its reason.

    `pooled`: overlays are known from several videos of the same source; `left`: whether it is `mostly_left`.
    """
    frames = range(*span)
    # Rules need motion to tell an overlay from the scene; the learned finder also knows their looks.
    decided = pooled or analysis.finder != "rules" or _moves(analysis, frames)
    bars_known = all(one.bars_known for one in analysis.spans if _touches(one, frames))
    if masked and left:
        return "uncertain", _LEFT
    if masked:
        here = [overlay.opacity for overlay in analysis.overlays if overlay.sure and _touches(overlay, frames)]
        opaque = max((opacity for opacity in here if opacity is not None), default=None)
        reason = "burnt-in text or overlay" + ("" if opaque is None else f" ({opaque:.0%} opaque)")
        doubts = [] if decided else [_UNDECIDED]
        return "masked", "; ".join([reason, *doubts, *([] if bars_known else [_BARS])])
    if not bars_known:
        return "uncertain", _BARS
    if any(_touches(ticker, frames) for ticker in analysis.tickers):
        return "uncertain", "text that scrolls across the picture"
    if any(_doubtful(text, frames) for text in analysis.texts):
        return "uncertain", "text that may belong to the scene"
    if any(_doubtful(overlay, frames) for overlay in analysis.overlays):
        return "uncertain", "something that may be burnt in or belong to the scene"
    if not decided:
        return "uncertain", _UNDECIDED
    return "clean", "nothing burnt in was found"


def mostly_left(coverage: Coverage, span: tuple[int, int]) -> bool:
    """Whether, over a shot's frames, more pixels may be burnt in without being masked than are masked.

    What the user's masks take away or replace is in doubt no longer.
    """
    found, masked = coverage.analysis, coverage.of(range(*span))
    items: list[Text | Overlay] = [*found.texts, *found.overlays]
    doubtful = [item for item in items if _doubtful(item, range(*span))]
    doubts = list(coverage.left((item.start, item.end, _covered_by(item, found.size)) for item in doubtful))
    covered = left = 0
    for number in np.unique(np.linspace(*span, _COMPARED, endpoint=False).astype(int)):
        known, possible = (_union_at(int(number), spans, found.size) for spans in (masked, doubts))
        covered, left = covered + int(known.sum()), left + int((possible & ~known).sum())
    return left > covered


def _covered_by(item: Text | Overlay, size: tuple[int, int]) -> np.ndarray:
    if isinstance(item, Overlay):
        return unpack(item.bits, *size)
    area = np.zeros(size, bool)
    top, left, bottom, right = item.box
    area[top:bottom, left:right] = item.covered()
    return area


def _union_at(number: int, spans: Iterable[Span], size: tuple[int, int]) -> np.ndarray:
    area = np.zeros(size, bool)
    for start, end, covered in spans:
        if start <= number < end:
            area |= covered
    return area


def _doubtful(item: Text | Overlay, frames: range) -> bool:
    """Whether something may be burnt in during these frames, but is not sure enough to be masked."""
    likely = item.probability is None or item.probability >= DOUBTED
    return likely and not item.sure and _touches(item, frames)


def _moves(analysis: Analysis, frames: range) -> bool:
    """Whether a shot, or the video of which it is a small part, moves enough to tell an overlay from the scene."""
    own = [segment for segment in analysis.segments if _touches(segment, frames)]
    if any(segment.moving for segment in own):
        return True
    most = _SHORT * analysis.frames
    short = all(s.end - s.start < most and s.quality.motion > _STILL for s in own)
    return analysis.moving and short


def views(frames: int, crop: Crop, quality: Quality, settings: Preprocess) -> tuple[list[str], str]:
    """The views that a shot can supply, and the reason if it can't supply all that its length allows."""
    limits = settings.views
    if frames < limits.clip_frames:
        return [], f"too short (a clip needs {limits.clip_frames} frames)"
    if quality.brightness < limits.min_brightness:
        return [], f"too dark (mean brightness {quality.brightness:.1f})"
    if quality.motion < limits.min_motion:
        return [], f"too little motion ({quality.motion:.2f} grey levels a frame)"
    if limits.max_blockiness is not None and quality.blockiness > limits.max_blockiness:
        return [], f"too strongly compressed (blockiness {quality.blockiness:.1f})"
    resolved = quality.detail * min(crop[2] / settings.height, crop[3] / settings.width)
    long = frames >= limits.full_frames
    if resolved >= 1:
        return (["full", "clip", "low_res"] if long else ["clip"]), ""
    reason = f"holds detail for {resolved:.0%} of the stored resolution"
    if long and resolved * limits.low_res_factor >= 1:
        return ["low_res"], reason
    return [], reason
