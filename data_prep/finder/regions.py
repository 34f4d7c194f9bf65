"""From the probabilities of a shot's moments to the areas that are burnt in, and the frames that show them."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from data_prep.finder.areas import LEVELS, Area, Look, areas
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

    What stands is judged by the mean over the shot, and covered from its first to its last moment. What comes and goes,
    or moves, is judged by its moments: followed as long as it reaches the lowest level. Both are covered from the
    moment before to the moment after.
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
    edges, shape = [start, *(moment.number for moment in moments), end], moments[0].shape
    found = [_standing(area, each_Thw, edges) for area in areas(each_Thw.mean(0, keepdims=True))]
    for area in areas(each_Thw):
        found += _passing(area, edges, shape)
    return found


def _standing(area: Area, each_Thw: np.ndarray, edges: list[int]) -> Region:
    """An area of the mean, from its first to its last moment; `edges` as in `_passing`."""
    _, *where = area.place
    seen = np.flatnonzero(each_Thw[:, *where].max((1, 2), where=area.covered[0], initial=0) >= LEVELS[0])
    span = _first(seen[0], edges), _last(seen[-1], edges)
    judged = range(edges[seen[0] + 1], edges[seen[-1] + 1] + 1)
    inside = tuple(_standing(one, each_Thw, edges) for one in area.inside)
    return replace(Region.of(span, area.at(0, *each_Thw.shape[1:]), judged, True, area.look), inside=inside)


def _passing(area: Area, edges: list[int], shape: tuple[int, int]) -> list[Region]:
    """An area at each of its moments; `edges` are the shot's first frame, those of its moments, and its end."""
    inside = [region for one in area.inside for region in _passing(one, edges, shape)]
    found = []
    for place in range(area.place[0].start, area.place[0].stop):
        seen = range(edges[place + 1], edges[place + 1] + 1)
        span = _first(place, edges), _last(place, edges)
        region = Region.of(span, area.at(place, *shape), seen, False, area.look)
        found.append(replace(region, inside=tuple(one for one in inside if one.seen == seen)))
    return found


def _first(place: int, edges: list[int]) -> int:
    """The first frame of what is seen at a moment, but not at the one before."""
    return edges[0] if place == 0 else edges[place] + 1


def _last(place: int, edges: list[int]) -> int:
    """The frame after the last one of what is seen at a moment, but not at the next."""
    return edges[-1] if place == len(edges) - 3 else edges[place + 2]
