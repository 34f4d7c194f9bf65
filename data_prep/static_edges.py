"""Sums that tell which edges stay where they are while the picture moves, and whether it moves enough to tell.

After Dekel et al. 2017: the mean of signed gradients over many frames keeps an overlay's and averages out the scene's.
A scene that does not move keeps its gradients too, and under a camera that pans, the edges that run along its way stay
where they are. So there are two sums: of whole gradients, and of their part along the camera's motion, which is 0 where
an edge runs that way, and which counts only as far as the camera has gone. Both are additive: the same serve a shot and
a video. Of a video there is a third, over its shots: which way their mean gradients point.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np

from data_prep.motion import camera_motion, displacements
from data_prep.text_track import Box, gradients

# Gradients (grey levels a pixel) are cut off here: a few strong frames must not outweigh many.
_CLIP = 10.0
# An overlay's edge: mean gradient and consistency (length of the mean over mean length).
EDGE = 2.0
_CONSISTENT, _CHANCE = 0.75, 4.0
# Samples needed; a pixel moves if it deviates by this; the picture moves if this share of pixels does.
_SAMPLES, _DEVIATES, _SHARE = 16, 12.0, 0.33
# Cells of the picture (a side); share of a cell that has edges at all times, and of the cells that must be such.
_CELLS, _TEXTURED, _TEXTURED_CELLS = 8, 0.02, 0.25
# A cell stays if more than this share of its edges does; most cells that may: those an overlay lies in.
_STAY, _STAYING_CELLS = 0.04, 0.2
# Pixels that the camera goes until an edge has left its place: a sample after less counts for less.
_STEP = 4.0
# Pixels that the camera must get away from where a shot began for the scene's edges across its way to have left: edges
# whose mean along the way is `EDGE`, of gradients up to `_CLIP`, lean to it by at least 11 degrees, so have gone 12.
_FAR = 64.0
# The camera's motion is worked out for squares of so many pixels a side.
_GRID = 8
# Share of the picture where it must, to find an overlay, and to be sure that there is none (a camera that zooms tells
# nothing of the middle); share of the samples that must count for that.
_REACHED, _ALL, _MOSTLY = 0.5, 0.9, 0.5
# Share of the samples whose shots must have an edge, and it the same way, for it to be shared by a video's shots.
_SHARED = 0.75


@dataclass
class GradientSums:
    """Sums of gradients over samples of one picture size, all float32 `H W`."""

    count: np.ndarray
    dx: np.ndarray
    dy: np.ndarray
    length: np.ndarray

    @classmethod
    def zero(cls, height: int, width: int) -> Self:
        """Sums over nothing."""
        return cls(*(np.zeros((height, width), np.float32) for _ in range(4)))

    def add(self, other: "GradientSums") -> None:
        """Add another's samples to these."""
        for mine, theirs in zip(self.arrays(), other.arrays(), strict=True):
            mine += theirs

    def part(self, where: tuple[slice, slice]) -> "GradientSums":
        """The sums of a part of the picture, in the same memory."""
        return GradientSums(*(array[where] for array in self.arrays()))

    def arrays(self) -> tuple[np.ndarray, ...]:
        """The four sums."""
        return self.count, self.dx, self.dy, self.length

    def mean(self) -> np.ndarray:
        """Mean gradients, `2 H W`."""
        return np.stack([self.dx, self.dy]) / np.maximum(self.count, 1)

    def consistency(self) -> np.ndarray:
        """Length of the mean gradient over the mean length."""
        return np.hypot(self.dx, self.dy) / np.maximum(self.length, 1e-3)

    def staying(self, consistent: float = _CONSISTENT) -> np.ndarray:
        """Edges that stay where they are, at least so consistently."""
        # The mean of few random gradients is long by chance: about 1 / sqrt(count) of their mean length.
        needed = np.clip(_CHANCE / np.sqrt(np.maximum(self.count, 1)), consistent, 0.95)
        return (np.hypot(*self.mean()) > EDGE) & (self.consistency() > needed)

    def cells(self) -> tuple[np.ndarray, np.ndarray]:
        """The cells of the picture that have edges, and those of them whose edges stay: two bool arrays."""
        textured = self.length > EDGE * np.maximum(self.count, 1)
        every, stays = (
            cv2.resize(part.astype(np.float32), (_CELLS, _CELLS), interpolation=cv2.INTER_AREA)
            for part in (textured, textured & self.staying())
        )
        told = every > _TEXTURED
        return told, told & (stays > _STAY * every)


@dataclass
class Sums:
    """Sums over samples of one picture size: gradients, their part along the camera's motion, and brightness."""

    every: GradientSums
    along: GradientSums
    grey: np.ndarray
    squares: np.ndarray
    gone: np.ndarray
    """How far the camera got away from where a shot began, pixels, summed over shots."""
    turns: np.ndarray
    """Directions of the mean gradients of whole shots, `2 H W`: each counts as often as the shot has samples."""

    @classmethod
    def zero(cls, height: int, width: int) -> Self:
        """Sums over nothing."""
        every, along = (GradientSums.zero(height, width) for _ in range(2))
        grey, squares, gone = (np.zeros((height, width), np.float32) for _ in range(3))
        return cls(every, along, grey, squares, gone, np.zeros((2, height, width), np.float32))

    def add_shot(self, shot: "Sums") -> None:
        """Add the sums of one more shot to these, of the shots before it."""
        self.every.add(shot.every)
        self.along.add(shot.along)
        self.grey += shot.grey
        self.squares += shot.squares
        self.gone += shot.gone
        mean = shot.every.mean()
        strength = np.hypot(*mean)
        self.turns += mean * np.where(strength > EDGE / 2, shot.every.count / np.maximum(strength, 1e-3), 0)

    def part(self, where: tuple[slice, slice]) -> "Sums":
        """The sums of a part of the picture, in the same memory."""
        grey, squares, gone = (array[where] for array in (self.grey, self.squares, self.gone))
        return Sums(self.every.part(where), self.along.part(where), grey, squares, gone, self.turns[:, *where])

    def enlarged(self, height: int, width: int) -> "Sums":
        """The sums of larger pictures, as nearly as these tell them: sizes in pixels then mean the same."""

        def large(array: np.ndarray) -> np.ndarray:
            return cv2.resize(array, (width, height), interpolation=cv2.INTER_NEAREST)

        every, along = (GradientSums(*map(large, some.arrays())) for some in (self.every, self.along))
        grey, squares, gone = map(large, (self.grey, self.squares, self.gone))
        return Sums(every, along, grey, squares, gone, np.stack([*map(large, self.turns)]))

    def shared(self) -> np.ndarray:
        """The pixels (bool `H W`) with an edge that a video's shots share; all pixels of a shot's own sums.

        Of a scene that stands still in one long shot the edges outweigh all that the other shots have there.
        """
        if not self.turns.any():
            return np.ones(self.grey.shape, bool)
        return np.hypot(*self.turns) >= _SHARED * self.every.count

    def deviation(self) -> np.ndarray:
        """Standard deviation of each pixel over the samples, grey levels."""
        count = np.maximum(self.every.count, 1)
        return np.sqrt(np.maximum(self.squares / count - (self.grey / count) ** 2, 0))

    def moving(self) -> bool:
        """Whether the scene moves enough to tell an overlay from it: few of its edges stay, nearly everywhere.

        An overlay lies in few cells of the picture; a scene that stands still, and shots too few and too slow to
        average out, keep edges in most of them.
        """
        if self.every.count.max(initial=0) < _SAMPLES or (self.deviation() > _DEVIATES).mean() < _SHARE:
            return False
        told, stays = self.every.cells()
        return bool(told.mean() >= _TEXTURED_CELLS and stays[told].mean() <= _STAYING_CELLS)

    def passed(self) -> np.ndarray:
        """The pixels (bool `H W`) that the camera goes past: all edges of the scene across its way move away there.

        None of them if more stays than overlays would: something that the camera follows.
        """
        passed = (self.along.count >= _SAMPLES) & (self.gone >= _FAR)
        if passed.mean() < _REACHED or self.along.cells()[1].mean() > _STAYING_CELLS:
            return np.zeros_like(passed)
        return passed

    def passed_all(self) -> bool:
        """Whether the camera goes past nearly the whole picture, most of the time."""
        long = self.along.count >= _MOSTLY * self.every.count
        return bool((self.passed() & long).mean() >= _ALL)


def half(height: int, width: int) -> tuple[int, int]:
    """The size at which colours are looked at: most films have no more."""
    return max(1, height // 2), max(1, width // 2)


def red_blue(planes_CHW: np.ndarray) -> np.ndarray:
    """How red (255) or blue (0) a picture is, from its Y, U and V planes: where that changes, brightness may not."""
    _, blue, red = planes_CHW
    return cv2.addWeighted(red, 1, blue, -1, 128)


class OverlayFinder:
    """Feed some frames of one shot (grey, uint8 `H W`, and their `red_blue`), with boxes of texts to leave out."""

    def __init__(self, height: int, width: int) -> None:
        self._grey, self._colour = _Adder(height, width), _Adder(*half(height, width))
        self._before: np.ndarray | None = None

    @property
    def sums(self) -> Sums:
        """What the grey pictures add up to."""
        return self._grey.sums

    @property
    def colours(self) -> Sums:
        """What the colours do, at half the size."""
        return self._colour.sums

    def feed(self, image_HW: np.ndarray, texts: Iterable[Box] = (), colour_hw: np.ndarray | None = None) -> None:
        """Look at one frame; `colour_hw` is at `half` the size."""
        motion = None if self._before is None else camera_motion(self._before, image_HW)
        self._before = image_HW
        use = np.ones(image_HW.shape, np.uint8)
        for top, left, bottom, right in texts:
            use[top:bottom, left:right] = 0
        self._grey.add(image_HW, use, motion)
        if colour_hw is not None:
            halved = None if motion is None else motion * np.array([1, 1, 0.5])
            self._colour.add(colour_hw, cv2.resize(use, colour_hw.shape[::-1], interpolation=cv2.INTER_NEAREST), halved)


class _Adder:
    """Adds pictures of one size and shot to sums."""

    def __init__(self, height: int, width: int) -> None:
        self.sums = Sums.zero(height, width)
        self._away = np.zeros((2, -(-height // _GRID), -(-width // _GRID)), np.float32)
        # Large arrays are made once: to give them back and ask for them again takes longer than to fill them.
        self._planes = np.empty((6, height, width), np.float32)

    def add(self, image_HW: np.ndarray, use: np.ndarray, motion: np.ndarray | None) -> None:
        """Add the pixels in `use` of a picture to which the camera came by a `motion`."""
        grads, (lengths, shrink) = gradients(image_HW, self._planes[:2]), self._planes[2:4]
        cv2.magnitude(grads[0], grads[1], lengths)
        # Their lengths are cut off, not their parts, which would turn them.
        longest = np.array([_CLIP])
        np.divide(_CLIP, cv2.max(lengths, longest, shrink), out=shrink)
        for grad in grads:
            cv2.multiply(grad, shrink, grad)
        cv2.min(lengths, longest, lengths)
        sums, every = self.sums, self.sums.every
        for value, total in zip((use, *grads, lengths, image_HW), (*every.arrays(), sums.grey), strict=True):
            cv2.accumulate(value, total, use)
        cv2.accumulateSquare(image_HW, sums.squares, use)
        if motion is not None:
            self._move(motion, use)

    def _move(self, motion: np.ndarray, use: np.ndarray) -> None:
        """Add the part of the gradients along the camera's motion since the sample before."""
        height, width = use.shape
        size = width, height
        moved = displacements(motion, height, width, _GRID)
        distance = np.maximum(np.hypot(*moved), 1e-3)
        self._away += moved
        np.maximum(self.sums.gone, cv2.resize(np.hypot(*self._away), size), out=self.sums.gone)
        dx, dy, part, *fields = self._planes
        for coarse, field in zip((*moved / distance, np.minimum(distance / _STEP, 1)), fields, strict=True):
            cv2.resize(coarse, size, field)
        x, y, weight = fields
        along = self.sums.along
        cv2.accumulate(weight, along.count, use)
        # The part, its sign first, then its size: each time weighted.
        np.multiply(dx, x, out=part)
        dy *= y
        part += dy
        part *= weight
        cv2.accumulateProduct(part, x, along.dx, use)
        cv2.accumulateProduct(part, y, along.dy, use)
        cv2.accumulate(np.abs(part, out=part), along.length, use)
