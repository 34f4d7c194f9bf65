"""Bars that are there in part of a film only: letterbox and pillarbox bars of single shots.

A shot has bars of its own if both sides of its frames end in a strip of one dark colour with a straight edge, and other
shots of the film differ. The edge is what tells a bar from a night sky: that one ends in many rows, a bar in one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median_low

import numpy as np

from data_prep.measure.borders import BLACK, BRIGHT, HALF, THINNEST
from data_prep.video.cropping import Crop

# A pixel differs from a bar if it is brighter by so many grey levels (compression leaves noise of half of that). A line
# of pixels is flat if no larger share differs: no text and no lamp is in it. Every fourth pixel is tested.
_LEVELS, _FLAT, _SPARSE = 8, 0.02, 4
# Lines from an edge to the lines outside and inside that it separates (blur by scaling and compression); largest share
# of pixels that differ outside, where a logo may begin; and in the bar as a whole, where texts may be.
_BLUR, _OUTSIDE, _WRITTEN = 2, 0.15, 0.25
# Bars on both sides are about equally wide: least ratio. Pixels by which looks at the same bar differ.
_EQUAL, _EXACT = 0.6, 2

_Bars = tuple[int, int]
"""Number of rows or columns before and after the picture."""


@dataclass(frozen=True)
class _Side:
    """Lines of pixels from one side of a frame inwards, at most up to its middle."""

    flat: int
    """Lines before the first that has more than one dark colour."""
    unlit: int
    """Lines before the first of which half is brighter than a bar."""
    edge: int | None
    """Width of the bar if a straight edge ends it."""


@dataclass(frozen=True)
class Look:
    """What one frame tells about bars: sides above and below, sides left and right."""

    rows: tuple[_Side, _Side]
    columns: tuple[_Side, _Side]


def look(image_HW: np.ndarray) -> Look:
    """Look for bars in a frame (grey, uint8 `H W`)."""
    bright = bool(image_HW.mean() >= BRIGHT)
    rows = _sides(image_HW, bright)
    first, last = _shown(rows, len(image_HW))
    columns = _sides(image_HW[first:last].T, bright)
    if _bars(rows) is None and _bars(columns) is not None:
        # Between wide pillars, the picture is less than half of a row.
        first, last = _shown(columns, image_HW.shape[1])
        rows = _sides(image_HW[:, first:last], bright)
    return Look(rows, columns)


def _sides(lines: np.ndarray, bright: bool) -> tuple[_Side, _Side]:
    middle = len(lines) // 2
    return _side(lines[:middle, ::_SPARSE], bright), _side(lines[: -middle - 1 : -1, ::_SPARSE], bright)


def _side(lines: np.ndarray, bright: bool) -> _Side:
    """Of lines of pixels, uint8 `N M`, the outermost first."""
    level = float(np.median(lines[0])) if lines.size else np.inf
    if level > BLACK:
        return _Side(0, 0, None)
    other, lit = (lines > level + _LEVELS).mean(axis=1), (lines > BLACK).mean(axis=1)
    width = _leading(other < HALF)
    outside, inside = width - _BLUR - 1, width + _BLUR
    straight = bright and outside >= 0 and inside < len(lines) and other[inside] >= HALF
    straight = straight and other[outside] <= _OUTSIDE and other[: outside + 1].mean() <= _WRITTEN
    return _Side(_leading(other <= _FLAT), _leading(lit < HALF), width if straight else None)


def _leading(true: np.ndarray) -> int:
    """How many elements are true before the first that is not."""
    return len(true) if true.all() else int(np.argmin(true))


def _bars(sides: tuple[_Side, _Side]) -> _Bars | None:
    """The bars of one frame, if both have straight edges and are about equally wide."""
    before, after = sides[0].edge, sides[1].edge
    if before is None or after is None or min(before, after) < _EQUAL * max(before, after):
        return None
    return before, after


def _shown(sides: tuple[_Side, _Side], length: int) -> tuple[int, int]:
    """First line of the picture, and the one after the last: for other lines across, only these count."""
    before, after = _bars(sides) or (sides[0].unlit, sides[1].unlit)
    return (before, length - after) if before + after < length - 1 else (0, length)


@dataclass(frozen=True)
class _Told:
    """What the frames of a shot tell about its bars in one direction."""

    bars: _Bars | None
    changing: bool
    """Whether some frames have bars where others show the picture, or other bars."""
    unlit: _Bars | None
    """Lines that are dark in half of the frames; None without a frame."""
    dark: _Bars
    """Lines that are dark in all frames."""
    flat: _Bars
    """Lines that have one colour in all frames."""


def _told(looks: Sequence[tuple[_Side, _Side]], length: int, least: float) -> _Told:
    if not looks:
        anything = length // 2, length // 2
        return _Told(None, False, None, anything, anything)
    unlit = [(one.unlit, other.unlit) for one, other in looks]
    dark, flat = _each(min, unlit), _each(min, [(one.flat, other.flat) for one, other in looks])
    every = [bars for sides in looks if (bars := _bars(sides)) is not None and min(bars) > least]
    if not every:
        return _Told(None, False, _each(median_low, unlit), dark, flat)
    bars = _each(median_low, every)
    moved = any(not _same(one, bars, least) for one in every)
    return _Told(bars, moved or not _within(bars, dark, least), _each(median_low, unlit), dark, flat)


def _each(choose, every: Sequence[_Bars]) -> _Bars:  # type: ignore[no-untyped-def]
    return choose(one[0] for one in every), choose(one[1] for one in every)


def _same(one: _Bars, other: _Bars, least: float) -> bool:
    return max(abs(one[0] - other[0]), abs(one[1] - other[1])) <= least


def _within(bars: _Bars, lines: _Bars, tolerance: float) -> bool:
    """Whether so many lines may hold these bars."""
    return bars[0] - lines[0] <= tolerance and bars[1] - lines[1] <= tolerance


def shot_pictures(film: Crop, height: int, width: int, shots: Sequence[Sequence[Look]]) -> list[tuple[Crop, bool]]:
    """For each shot its picture without bars, and whether that is known for all its frames.

    `shots` are the looks at each shot's frames, and `film` is the picture of the whole film, which is the answer for
    all shots unless some differ. A shot that does not tell has the bars that the shots before and after it have.
    """
    top, left, rows, columns = film
    down = _settled((top, height - top - rows), height, [[one.rows for one in looks] for looks in shots])
    across = _settled((left, width - left - columns), width, [[one.columns for one in looks] for looks in shots])
    return [
        ((y[0], x[0], height - sum(y), width - sum(x)), y_known and x_known)
        for (y, y_known), (x, x_known) in zip(down, across, strict=True)
    ]


def _settled(film: _Bars, length: int, shots: Sequence[Sequence[tuple[_Side, _Side]]]) -> list[tuple[_Bars, bool]]:
    """The bars of each shot in one direction, and whether they are known."""
    least = max(_EXACT, THINNEST * length)
    told = [_told(looks, length, least) for looks in shots]
    decided = [_decided(one, film, least) for one in told]
    known = [bars for bars in decided if bars is not None]
    if all(_same(bars, known[0], least) for bars in known):
        return [(film, not one.changing) for one in told]
    before, after = _last_known(decided), _last_known(decided[::-1])[::-1]
    settled: list[tuple[_Bars, bool]] = []
    for one, bars, near in zip(told, decided, zip(before, after, strict=True), strict=True):
        if one.changing:
            settled.append((film, False))
        elif bars is not None:
            settled.append((film if _same(bars, film, least) else bars, True))
        else:
            settled.append(_between(one, [bars for bars in near if bars is not None], film, least))
    return settled


def _decided(told: _Told, film: _Bars, least: float) -> _Bars | None:
    """The bars that a shot shows; None if it is too dark or too short to tell."""
    if told.changing or told.bars is not None:
        return None if told.changing else told.bars
    if told.unlit is None or any(dark > bar + least for dark, bar in zip(told.unlit, film, strict=True)):
        return None
    before, after = (bar if bar - dark <= least else dark for dark, bar in zip(told.unlit, film, strict=True))
    return before if before > least else 0, after if after > least else 0


def _last_known(decided: Sequence[_Bars | None]) -> list[_Bars | None]:
    """For each shot the bars of the last one before it that tells."""
    found: list[_Bars | None] = [None]
    for bars in decided[:-1]:
        found.append(bars if bars is not None else found[-1])
    return found


def _between(told: _Told, near: Sequence[_Bars], film: _Bars, least: float) -> tuple[_Bars, bool]:
    """The bars of a shot that does not tell, from those `near` it, and whether they are known.

    Nothing that may be picture is cropped: where the strips are not flat, the shot has the film's picture.
    """
    agree = all(_same(bars, near[0], least) for bars in near)
    if agree and _within(near[0], told.flat, _EXACT):
        return near[0], True
    return film, all(_same(bars, film, least) or not _within(bars, told.dark, _EXACT) for bars in near)
