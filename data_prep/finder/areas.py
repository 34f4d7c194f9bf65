"""Where the finder's values are high, in space and time, at several levels.

Areas are extremal regions (Neumann and Matas, CVPR 2012): where the value reaches a level. From level to level an area
shrinks or falls apart. A logo that touches a busy scene is part of a large area at the lowest level, and stands alone
at a higher one; which of them is meant is decided by who judges them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

# Levels of the value, evenly spread from where it is next to nothing to where little is left of what is sure.
LEVELS = (0.3, 0.45, 0.6, 0.75, 0.9)
# Areas whose peak stays below this are left out: of 397 of them in real clips, by means over a shot, 2 were burnt in.
LEAST = 0.5
# An area that keeps this share of its pixels at the next level is the same there: it would get the same mask.
_SAME = 0.8
# Fewest pixels of an area, at half the network's size: the smallest letters that can be read take about as many.
_SMALLEST = 12
# Margin around an area, pixels at half the network's size: the network sees blocks of two pixels.
_MARGIN = 2
# Gaps between letters and words that are closed (height, width), pixels at half the network's size.
_GAP = (5, 11)

Look = tuple[float, float, float, float]
Place = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Area:
    """Pixels that touch, also from moment to moment, and reach a level; their gaps are filled."""

    place: Place
    """The times, rows and columns around it."""
    covered: Bool[np.ndarray, "t rows columns"]
    """What it covers there."""
    look: Look
    """Logit of the value's peak, logit of its median, logarithm of the area in pixels, share of its box."""
    inside: tuple[Self, ...]
    """What is left of it at the next level at which it falls apart or shrinks."""

    def at(self, time: int, height: int, width: int) -> Bool[np.ndarray, "h w"]:
        """What it covers at a time, which must be one of its own, in the whole picture."""
        picture = np.zeros((height, width), bool)
        times, *where = self.place
        picture[*where] = self.covered[time - times.start]
        return picture


def areas(value_Thw: Float[np.ndarray, "T h w"]) -> list[Area]:
    """The areas of the lowest level, each with those inside it."""
    return _areas(value_Thw, LEVELS, (0, 0, 0), value_Thw.shape[1:])


def _areas(
    value_Thw: np.ndarray, levels: Sequence[float], corner: tuple[int, ...], size: tuple[int, ...]
) -> list[Area]:
    """The areas of a part of a shot; `corner` is its first time, row and column, `size` that of the whole picture."""
    labels, _ = ndimage.label(value_Thw >= levels[0], np.ones((3, 3, 3)))
    found = []
    for number, where in enumerate(ndimage.find_objects(labels), 1):
        reached = labels[where] == number
        values = np.where(reached, value_Thw[where], 0)
        if values.max() < LEAST or reached.sum((1, 2)).max() < _SMALLEST:
            continue
        at = tuple(first + one.start for first, one in zip(corner, where, strict=True))
        inside = _areas(values, levels[1:], at, size) if len(levels) > 1 else []
        if len(inside) == 1 and (values >= levels[1]).sum() >= _SAME * reached.sum():
            inside = list(inside[0].inside)
        place, covered = _filled(reached, at, size)
        found.append(Area(place, covered, _look(covered, values[reached]), tuple(inside)))
    return found


def _filled(reached_Thw: np.ndarray, at: tuple[int, ...], size: tuple[int, ...]) -> tuple[Place, np.ndarray]:
    """An area without its gaps and with a margin: its place and what it covers there."""
    around = [gap // 2 + _MARGIN for gap in _GAP]
    padded = np.pad(reached_Thw, [(0, 0)] + [(one, one) for one in around]).astype(np.uint8)
    margin = np.ones((2 * _MARGIN + 1, 2 * _MARGIN + 1), np.uint8)
    closed = [cv2.morphologyEx(one, cv2.MORPH_CLOSE, np.ones(_GAP, np.uint8)) for one in padded]
    covered = np.stack([cv2.dilate(one, margin) for one in closed]) > 0
    place, kept = [slice(at[0], at[0] + len(covered))], [slice(None)]
    for side, (first, pad) in enumerate(zip(at[1:], around, strict=True)):
        start, stop = first - pad, first - pad + covered.shape[side + 1]
        place.append(slice(max(0, start), min(size[side], stop)))
        kept.append(slice(place[-1].start - start, place[-1].stop - start))
    return (place[0], place[1], place[2]), covered[tuple(kept)]


def _look(covered_Thw: np.ndarray, values: np.ndarray) -> Look:
    largest = covered_Thw[covered_Thw.sum(axis=(1, 2)).argmax()]
    rows, columns = np.flatnonzero(largest.any(1)), np.flatnonzero(largest.any(0))
    size, box = int(largest.sum()), (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)
    return logit(float(values.max())), logit(float(np.median(values))), math.log(size), size / float(box)


def logit(value: float) -> float:
    """The logarithm of the odds, for values of 0.001 to 0.999."""
    value = min(max(value, 1e-3), 1 - 1e-3)
    return math.log(value / (1 - value))
