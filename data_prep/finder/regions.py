"""From the probabilities of a shot's moments to the areas that are burnt in, and the frames that show them."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from data_prep.finder.areas import Area, Look, areas
from data_prep.finder.moments import Moment

# Moments that are looked at together: longer shots are cut into such blocks, so that they need no more memory.
_BLOCK = 64


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
    inside: tuple[Self, ...] = ()
    """What is left of it at higher levels of the network's value."""

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


def regions_of(moments: Sequence[Moment], start: int, end: int) -> list[Region]:
    """The regions of a shot from frame `start` to `end` (exclusive), whether probable or not.

    What stands all along is judged by the mean over the shot. What comes and goes, or moves, is judged by its moments:
    followed as long as it reaches the lowest level, and covered from the moment before to the moment after.
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
    found = [
        _standing(area, (start, end), numbers, moments[0].shape) for area in areas(each_Thw.mean(0, keepdims=True))
    ]
    for area in areas(each_Thw):
        found += _passing(area, [start, *numbers, end], moments[0].shape)
    return found


def _standing(area: Area, span: tuple[int, int], numbers: list[int], shape: tuple[int, int]) -> Region:
    region = Region.of(span, area.at(0, *shape), range(numbers[0], numbers[-1] + 1), True, area.look)
    return replace(region, inside=tuple(_standing(one, span, numbers, shape) for one in area.inside))


def _passing(area: Area, edges: list[int], shape: tuple[int, int]) -> list[Region]:
    """An area at each of its moments; `edges` are the shot's first frame, those of its moments, and its end."""
    inside = [region for one in area.inside for region in _passing(one, edges, shape)]
    found, count = [], len(edges) - 2
    for place in range(area.place[0].start, area.place[0].stop):
        first = edges[0] if place == 0 else edges[place] + 1
        last = edges[-1] if place == count - 1 else edges[place + 2]
        seen = range(edges[place + 1], edges[place + 1] + 1)
        region = Region.of((first, last), area.at(place, *shape), seen, False, area.look)
        found.append(replace(region, inside=tuple(one for one in inside if one.seen == seen)))
    return found
