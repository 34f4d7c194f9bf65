"""From the probabilities of a shot's moments to the areas that are burnt in, and the frames that show them."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from data_prep.finder.moments import Moment

# An area begins where the probability reaches the first value, and extends to where it falls below the second.
# Chosen by cross-validation over real clips: docs/results/masks.md.
MASKED, EXTENT = 0.7, 0.3
# Areas whose probability stays below `MASKED` but reaches this make a shot uncertain.
DOUBTED = 0.4
# Fewest pixels of an area, at half the network's size: the smallest letters that can be read take about as many.
_SMALLEST = 12
# Margin around an area, pixels at half the network's size: the network sees blocks of two pixels.
_MARGIN = 2


@dataclass(frozen=True)
class Region:
    """Something that is burnt in, or may be, from frame `start` to `end` (exclusive)."""

    start: int
    end: int
    covered: np.ndarray
    """Pixels that it covers, bool `h w` of the moments' size."""
    probability: float


def regions_of(moments: Sequence[Moment], start: int, end: int) -> list[Region]:
    """The regions of a shot from frame `start` to `end` (exclusive), those below `MASKED` included.

    What stands all along is judged by the mean over the shot; what comes and goes by each moment, and is covered from
    the moment before to the moment after.
    """
    if not moments:
        return []
    each = np.stack([moment.burnt_in() for moment in moments])
    mean = each.mean(0)
    found = [Region(start, end, area, probability) for area, probability in areas(mean, DOUBTED)]
    standing = np.any([region.covered for region in found if region.probability >= MASKED] or [mean < 0], axis=0)
    numbers = [start, *(moment.number for moment in moments), end]
    for place, now in enumerate(each):
        first = start if place == 0 else numbers[place] + 1
        last = end if place == len(each) - 1 else numbers[place + 2]
        fresh = np.where(standing, 0, now)
        found += [Region(first, last, area, probability) for area, probability in areas(fresh, DOUBTED)]
    return found


def areas(probability_hw: np.ndarray, least: float) -> list[tuple[np.ndarray, float]]:
    """Areas (bool `h w`) around each peak of at least this probability, and the probability of the peak."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats((probability_hw >= EXTENT).astype(np.uint8))
    peaks = np.zeros(count, np.float32)
    np.maximum.at(peaks, labels.ravel().astype(np.intp), probability_hw.ravel().astype(np.float32))
    found = []
    for number in range(1, count):
        if peaks[number] >= least and stats[number, cv2.CC_STAT_AREA] >= _SMALLEST:
            area = (labels == number).astype(np.uint8)
            grown = cv2.dilate(area, np.ones((2 * _MARGIN + 1, 2 * _MARGIN + 1), np.uint8)) > 0
            found.append((grown, float(peaks[number])))
    return found
