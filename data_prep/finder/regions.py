"""From the probabilities of a shot's moments to the areas that are burnt in, and the frames that show them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage

from data_prep.finder.moments import Moment

# From this probability on something is masked, and from the second on a shot that shows it is not called clean.
MASKED, DOUBTED = 0.5, 0.2
# An area extends around its peak to where the network's value falls below this: what is left is a few percent burnt in.
EXTENT = 0.3
# The network's values are no probabilities of whole areas. These are a and b of 1 / (1 + exp(-(a logit + b))), fitted
# (Platt 1999) to the peaks of areas in real clips, for means over a shot, for single moments, and for means over texts;
# tests/bench/reliability.py measures what they are worth.
STANDING, PASSING, TEXT = (1.0, 0.0), (1.0, 0.0), (1.0, 0.0)
# Moments that are looked at together: longer shots are cut into such blocks, so that they need no more memory.
_BLOCK = 64
# Fewest pixels of an area, at half the network's size: the smallest letters that can be read take about as many.
_SMALLEST = 12
# Margin around an area, pixels at half the network's size: the network sees blocks of two pixels.
_MARGIN = 2
# Gaps between letters and words that are closed (height, width), pixels at half the network's size.
_GAP = (5, 11)


@dataclass(frozen=True)
class Region:
    """Something that is burnt in, or may be, from frame `start` to `end` (exclusive)."""

    start: int
    end: int
    covered: np.ndarray
    """Pixels that it covers, bool `h w` of the moments' size."""
    probability: float
    seen: range
    """The frames from the first to the last moment at which it was judged: a text that lasts as long is the same."""


def calibrated(value: float, curve: tuple[float, float]) -> float:
    """The probability that an area with this value of the network is burnt in."""
    value = min(max(value, 1e-4), 1 - 1e-4)
    slope, offset = curve
    return 1 / (1 + math.exp(-(slope * math.log(value / (1 - value)) + offset)))


def regions_of(moments: Sequence[Moment], start: int, end: int) -> list[Region]:
    """The regions of a shot from frame `start` to `end` (exclusive), those below `MASKED` included.

    What stands all along is judged by the mean over the shot. What comes and goes, or moves, is judged by its most
    probable moment, followed as long as it reaches `EXTENT`, and covered from the moment before to the moment after.
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
    found, standing = [], np.zeros(each_Thw.shape[1:], bool)
    for area, peak in areas(each_Thw.mean(0, keepdims=True)):
        probability = calibrated(peak, STANDING)
        found.append(Region(start, end, area[0], probability, range(numbers[0], numbers[-1] + 1)))
        if probability >= MASKED:
            standing |= area[0]
    edges = [start, *numbers, end]
    for area_Thw, peak in areas(np.where(standing, 0, each_Thw)):
        for place in np.flatnonzero(area_Thw.any((1, 2))):
            first = start if place == 0 else edges[place] + 1
            last = end if place == len(numbers) - 1 else edges[place + 2]
            seen = range(numbers[place], numbers[place] + 1)
            found.append(Region(first, last, area_Thw[place], calibrated(peak, PASSING), seen))
    return [region for region in found if region.probability >= DOUBTED]


def areas(value_Thw: np.ndarray) -> list[tuple[np.ndarray, float]]:
    """Areas in space and time (bool `T h w`) where the network's value reaches `EXTENT`, with the peak of each.

    Areas that touch are one, also from moment to moment; their gaps are filled.
    """
    labels, count = ndimage.label(value_Thw >= EXTENT, np.ones((3, 3, 3)))
    found = []
    places = ndimage.find_objects(labels)
    for number in range(1, count + 1):
        where = places[number - 1]
        inside = labels[where] == number
        peak = float(value_Thw[where][inside].max())
        if inside.sum(axis=(1, 2)).max() >= _SMALLEST:
            area = np.zeros(labels.shape, np.uint8)
            area[where] = inside
            found.append((np.stack([_filled(one) for one in area]) > 0, peak))
    return found


def _filled(area_hw: np.ndarray) -> np.ndarray:
    """An area without its gaps, and with a margin."""
    if not area_hw.any():
        return area_hw
    closed = cv2.morphologyEx(area_hw, cv2.MORPH_CLOSE, np.ones(_GAP, np.uint8))
    return cv2.dilate(closed, np.ones((2 * _MARGIN + 1, 2 * _MARGIN + 1), np.uint8))
