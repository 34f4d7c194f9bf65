"""The masked regions of a video that a person can judge, one by one."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import cv2
import numpy as np

from data_prep.analysis_types import Analysis, unpack
from data_prep.config import MaskSettings, Preprocess
from data_prep.masking import Coverage, Span, matching, users_spans
from data_prep.text.track import Box
from data_prep.video.cropping import Crop
from data_prep.work.locations import Location

# Least height and width of a region that is shown, pixels of the analysed picture: smaller letters can't be read.
_LEAST = 6
# Most regions of a video that are shown: a film of two hours has a thousand subtitles, at about 7 kB each.
_MOST = 60
# Parts of an overlay that are this close belong together, such as the letters of a logo; pixels.
_GAP = 12
# Boxes, and stretches of frames, that have this share of their union in common are of one thing, which was found twice.
_SAME = 0.5

Shots = Sequence[tuple[int, int, Crop]]
"""First frame, frame after the last, and stored region of the source, for each stored shot."""


@dataclass(frozen=True)
class Region:
    """A place in the picture that is masked, or whose mask the user has taken away, and in which frames."""

    kind: Literal["text", "overlay", "own", "removed"]
    start: int
    end: int
    """The frame after the last one."""
    box: Box
    """Pixels of the analysed picture."""
    area: np.ndarray
    """The covered pixels of the box, bool `H W`."""
    probability: float | None
    """That it is burnt in; None if only rules decided."""
    why: str
    mask: MaskSettings | None = None
    """The user's own mask that it is, if it is one."""

    def middle(self, shots: Shots) -> int:
        """The middle of its longest stretch in a stored shot."""
        stretches = [(max(self.start, start), min(self.end, end)) for start, end, _ in shots]
        first, last = max(stretches, key=lambda stretch: stretch[1] - stretch[0])
        return (first + last) // 2


@dataclass(frozen=True)
class Regions:
    """What a page shows of a video's regions, and how many more there are."""

    shown: list[Region]
    """Ordered by time."""
    small: int = 0
    """So many are too small to judge."""
    outside: int = 0
    """So many lie outside of what the stored frames show."""
    more: int = 0
    """So many are left out because the page would get too large; those that are least certain are shown."""


def masked_regions(
    analysis: Analysis, pooled: np.ndarray | None, source: Location, settings: Preprocess, shots: Shots
) -> Regions:
    """The regions that are masked in stored shots, and the user's own masks.

    Raises `VideoError` if one of the user's masks does not fit the picture.
    """
    coverage = Coverage(analysis, pooled, source, settings)
    found = [part for find in _finds(analysis, pooled) for part in _parts(find, coverage.left([find.span]))]
    parts = [part for part in _united(found) if any(_meet((part.start, part.end), shot[:2]) for shot in shots)]
    stored = [part for part in parts if _is_stored(part, analysis, shots)]
    large = [part for part in stored if part.area.shape[0] >= _LEAST and part.area.shape[1] >= _LEAST]
    own = [one for one in _own(analysis, source, settings) if _is_stored(one, analysis, shots)]
    # A region that only rules found is as doubtful as one that is burnt in with probability 1/2.
    ranked = own + sorted(large, key=lambda one: 0.5 if one.probability is None else one.probability)
    shown = sorted(ranked[:_MOST], key=lambda one: (one.start, one.end, one.box))
    return Regions(shown, len(stored) - len(large), len(parts) - len(stored), len(ranked) - len(shown))


@dataclass(frozen=True)
class _Find:
    kind: Literal["text", "overlay"]
    span: Span
    probability: float | None
    why: str


def _finds(analysis: Analysis, pooled: np.ndarray | None) -> Iterator[_Find]:
    """Everything that was found to be burnt in, one at a time."""
    height, width = analysis.size
    for text in analysis.texts:
        if text.sure:
            area = np.zeros((height, width), bool)
            top, left, bottom, right = text.box
            area[top:bottom, left:right] = text.covered()
            yield _Find("text", (text.start, text.end, area), text.probability, text.why)
    for overlay in (overlay for overlay in analysis.overlays if overlay.sure):
        span = overlay.start, overlay.end, unpack(overlay.bits, height, width)
        faint = "" if overlay.opacity in (None, 1) else f" ({overlay.opacity:.0%} opaque)"
        yield _Find("overlay", span, overlay.probability, f"{overlay.why}{faint}")
    if pooled is not None:
        yield _Find("overlay", (0, analysis.frames, pooled), None, "edges that the videos of this folder share")


def _parts(find: _Find, left: Iterable[Span]) -> Iterator[Region]:
    """The connected parts of what is left of an overlay; a text is one part."""
    for start, end, area in left:
        if find.kind == "text":
            yield Region(find.kind, start, end, *_boxed(area), find.probability, find.why)
            continue
        near = cv2.dilate(area.astype(np.uint8), np.ones((_GAP + 1, _GAP + 1), np.uint8))
        count, numbers = cv2.connectedComponents(near)
        for number in range(1, count):
            yield Region(find.kind, start, end, *_boxed(area & (numbers == number)), find.probability, find.why)


def _boxed(area: np.ndarray) -> tuple[Box, np.ndarray]:
    """The box around the covered pixels, and the pixels inside it; some must be covered."""
    rows, columns = np.flatnonzero(area.any(axis=1)), np.flatnonzero(area.any(axis=0))
    top, left, bottom, right = int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1
    return (top, left, bottom, right), area[top:bottom, left:right].copy()


def _united(parts: Iterable[Region]) -> list[Region]:
    """The regions, with those of one thing made one; the finding that is surest says why."""
    united: list[Region] = []
    for part in parts:
        number = next((n for n, other in enumerate(united) if _are_one(part, other)), None)
        if number is None:
            united.append(part)
        else:
            united[number] = _union(united[number], part)
    return united


def _are_one(one: Region, other: Region) -> bool:
    """Whether two regions are the same text at the same time, or a logo that was found in several shots."""
    if one.kind != other.kind:
        return False
    common = min(one.end, other.end) - max(one.start, other.start)
    # A film has many texts: the times, which differ for most pairs, are compared first.
    if one.kind == "text" and common < _SAME * (max(one.end, other.end) - min(one.start, other.start)):
        return False
    return _common_share(one.box, other.box) >= _SAME


def _union(one: Region, other: Region) -> Region:
    top, left = min(one.box[0], other.box[0]), min(one.box[1], other.box[1])
    bottom, right = max(one.box[2], other.box[2]), max(one.box[3], other.box[3])
    area = np.zeros((bottom - top, right - left), bool)
    for each in (one, other):
        area[each.box[0] - top : each.box[2] - top, each.box[1] - left : each.box[3] - left] |= each.area
    surest = max(one, other, key=lambda each: -1 if each.probability is None else each.probability)
    start, end = min(one.start, other.start), max(one.end, other.end)
    return replace(surest, start=start, end=end, box=(top, left, bottom, right), area=area)


def _common_share(one: Box, other: Box) -> float:
    """Area that two boxes have in common over the area of their union."""
    common = _size((*map(max, one[:2], other[:2]), *map(min, one[2:], other[2:])))
    return common / (_size(one) + _size(other) - common)


def _size(box: Any) -> int:
    return max(0, box[2] - box[0]) * max(0, box[3] - box[1])


def _own(analysis: Analysis, source: Location, settings: Preprocess) -> Iterator[Region]:
    """The user's own masks for this file."""
    for number in matching(settings.masks, source):
        mask = settings.masks[number]
        why = f"for files that fit {mask.source}" + (f", {mask.picture}" if mask.picture else "")
        for start, end, area in users_spans(analysis, source, [mask]):
            if area.any():
                yield Region("removed" if mask.remove else "own", start, end, *_boxed(area), None, why, mask)


def source_box(box: Box, analysis: Analysis) -> list[int]:
    """Top, left, height, width in upright source pixels of a box of the analysed picture, rounded outwards."""
    (height, width), (full_height, full_width) = analysis.size, (analysis.probe.height, analysis.probe.width)
    # Whole numbers until the division: no error of rounding.
    top, left = box[0] * full_height // height, box[1] * full_width // width
    bottom, right = -(-box[2] * full_height // height), -(-box[3] * full_width // width)
    return [top, left, bottom - top, right - left]


def _is_stored(region: Region, analysis: Analysis, shots: Shots) -> bool:
    """Whether a stored shot shows part of the region."""
    top, left, rows, columns = source_box(region.box, analysis)
    for start, end, (y, x, tall, wide) in shots:
        sides = ((region.start, region.end), (start, end)), ((top, top + rows), (y, y + tall))
        if all(_meet(*each) for each in (*sides, ((left, left + columns), (x, x + wide)))):
            return True
    return False


def _meet(one: Sequence[int], other: Sequence[int]) -> bool:
    """Whether two stretches, each with its first and the one after its last, have something in common."""
    return one[0] < other[1] and other[0] < one[1]
