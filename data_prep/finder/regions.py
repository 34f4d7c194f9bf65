"""From the probabilities of a shot's moments to the areas that are burnt in, and the frames that show them."""

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np
from scipy import ndimage

from data_prep.finder.moments import Moment

# An area extends around its peak to where the network's value falls below the first number. Areas whose peak stays
# below the second are left out: of 397 such areas in real clips, by means over a shot, 2 were burnt in.
EXTENT, LEAST = 0.3, 0.5
# Moments that are looked at together: longer shots are cut into such blocks, so that they need no more memory.
_BLOCK = 64
# Fewest pixels of an area, at half the network's size: the smallest letters that can be read take about as many.
_SMALLEST = 12
# Margin around an area, pixels at half the network's size: the network sees blocks of two pixels.
_MARGIN = 2
# Gaps between letters and words that are closed (height, width), pixels at half the network's size.
_GAP = (5, 11)


Look = tuple[float, float, float, float]


@dataclass(frozen=True)
class Region:
    """Something that may be burnt in, from frame `start` to `end` (exclusive)."""

    start: int
    end: int
    shape: tuple[int, int]
    """Height and width of the moments' pictures."""
    bits: bytes
    """The pixels that it covers, compressed: those of two hours would take hundreds of megabytes."""
    seen: range
    """The frames from the first to the last moment at which it was judged: a text that lasts as long is the same."""
    stands: bool
    """Whether it was judged by the mean over the shot, rather than by single moments."""
    look: Look
    """Logit of the network's peak, logit of its median, logarithm of the area in pixels, share of its box."""

    @classmethod
    def of(cls, span: tuple[int, int], covered_hw: np.ndarray, seen: range, stands: bool, look: Look) -> Self:
        """From the frames and the pixels (bool `h w`) that it covers."""
        height, width = covered_hw.shape
        return cls(*span, (height, width), zlib.compress(np.packbits(covered_hw).tobytes(), 1), seen, stands, look)

    def covered(self) -> np.ndarray:
        """The pixels that it covers, bool `h w`."""
        height, width = self.shape
        bits = np.frombuffer(zlib.decompress(self.bits), np.uint8)
        return np.unpackbits(bits, count=height * width).reshape(height, width) > 0


def logit(value: float) -> float:
    """The logarithm of the odds, for values of 0.001 to 0.999."""
    value = min(max(value, 1e-3), 1 - 1e-3)
    return math.log(value / (1 - value))


def regions_of(moments: Sequence[Moment], start: int, end: int) -> list[Region]:
    """The regions of a shot from frame `start` to `end` (exclusive), whether probable or not.

    What stands all along is judged by the mean over the shot. What comes and goes, or moves, is judged by its moments:
    followed as long as it reaches `EXTENT`, and covered from the moment before to the moment after.
    """
    found = []
    for first in range(0, len(moments), _BLOCK):
        block = moments[first : first + _BLOCK]
        ends = first + _BLOCK >= len(moments)
        before = start if first == 0 else moments[first - 1].number + 1
        found += _in_block(block, before, end if ends else moments[first + _BLOCK].number)
    return found


def _in_block(moments: Sequence[Moment], start: int, end: int) -> list[Region]:
    each_Thw = np.stack([moment.burnt_in() for moment in moments])
    numbers = [moment.number for moment in moments]
    judged = range(numbers[0], numbers[-1] + 1)
    found = [
        Region.of((start, end), area[0], judged, True, look) for area, look in areas(each_Thw.mean(0, keepdims=True))
    ]
    edges = [start, *numbers, end]
    for area_Thw, look in areas(each_Thw):
        for place in np.flatnonzero(area_Thw.any((1, 2))):
            first = start if place == 0 else edges[place] + 1
            last = end if place == len(numbers) - 1 else edges[place + 2]
            seen = range(numbers[place], numbers[place] + 1)
            found.append(Region.of((first, last), area_Thw[place], seen, False, look))
    return found


def areas(value_Thw: np.ndarray) -> list[tuple[np.ndarray, Look]]:
    """Areas in space and time (bool `T h w`) where the network's value reaches `EXTENT`, with the look of each.

    Areas that touch are one, also from moment to moment; their gaps are filled.
    """
    labels, _ = ndimage.label(value_Thw >= EXTENT, np.ones((3, 3, 3)))
    found = []
    for number, where in enumerate(ndimage.find_objects(labels), 1):
        inside = labels[where] == number
        values = value_Thw[where][inside]
        if values.max() >= LEAST and inside.sum(axis=(1, 2)).max() >= _SMALLEST:
            area = np.zeros(labels.shape, np.uint8)
            area[where] = inside
            filled = np.stack([_filled(one) for one in area]) > 0
            found.append((filled, _look(filled, values)))
    return found


def _look(area_Thw: np.ndarray, values: np.ndarray) -> Look:
    largest = area_Thw[area_Thw.sum(axis=(1, 2)).argmax()]
    rows, columns = np.flatnonzero(largest.any(1)), np.flatnonzero(largest.any(0))
    size, box = int(largest.sum()), (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)
    return logit(float(values.max())), logit(float(np.median(values))), math.log(size), size / float(box)


def _filled(area_hw: np.ndarray) -> np.ndarray:
    """An area without its gaps, and with a margin."""
    if not area_hw.any():
        return area_hw
    closed = cv2.morphologyEx(area_hw, cv2.MORPH_CLOSE, np.ones(_GAP, np.uint8))
    return cv2.dilate(closed, np.ones((2 * _MARGIN + 1, 2 * _MARGIN + 1), np.uint8))
