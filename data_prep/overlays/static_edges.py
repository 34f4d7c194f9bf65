"""Sums over frames that show which edges are static while the picture moves, and whether it moves enough to decide.

After Dekel et al. 2017: the mean of signed gradients over many frames keeps the gradients of an overlay and averages
out those of the scene. But a static scene keeps its gradients too, and when the camera pans, edges parallel to the
motion stay in place. So there are two sums: of the gradients, and of their component along the camera's motion. That
component is 0 for an edge parallel to the motion, and its weight grows with the distance that the camera moves. Both
sums are additive, so those of a video are the sums of its shots. A video has a third sum over its shots: the directions
of their mean gradients.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np

from data_prep.text.track import Box, gradients
from data_prep.video.motion import camera_motion, displacements

# Longer gradients (grey levels per pixel) are shortened to this: a few strong frames must not outweigh many.
_CLIP = 10.0
# An overlay's edge: least mean gradient, and least consistency (length of the mean over mean length). With n samples
# the needed consistency is at least `_CHANCE` / sqrt(n).
EDGE = 2.0
_CONSISTENT, _CHANCE = 0.75, 4.0
# Fewest samples; a pixel moves if its standard deviation exceeds the second value; the picture moves if this share of
# its pixels does.
_SAMPLES, _DEVIATES, _SHARE = 16, 12.0, 0.33
# Cells per side of the picture; a cell is textured if edges cover this share of it; least share of textured cells.
_CELLS, _TEXTURED, _TEXTURED_CELLS = 8, 0.02, 0.25
# A cell is static if more than this share of its edges is; largest share of static cells: those with an overlay.
_STATIC, _STATIC_CELLS = 0.04, 0.2
# After a camera motion of so many pixels an edge has left its place; samples after shorter motions have less weight.
_STEP = 4.0
# Pixels that the camera must move away from where a shot began for the scene's edges across its path to have left their
# places: edges whose mean along the path is `EDGE`, with gradients up to `_CLIP`, are tilted against it by at least 11
# degrees, so they have moved by 12 pixels.
_FAR = 64.0
# The camera's motion is computed for squares of so many pixels a side.
_GRID = 8
# Least share of the picture where the camera must move that far, to find an overlay, and to be sure that there is none
# (a zoom says nothing about the centre); least weight of the samples there, as a share of all.
_REACHED, _ALL, _MOSTLY = 0.5, 0.9, 0.5
# An edge is shared by a video's shots if shots with at least this share of the samples have it in the same direction.
_SHARED = 0.75


@dataclass
class GradientSums:
    """Sums of gradients over samples of one picture size, all float32 `H W`."""

    count: np.ndarray
    """The samples' weights."""
    dx: np.ndarray
    dy: np.ndarray
    length: np.ndarray
    """The gradients' lengths."""

    @classmethod
    def zero(cls, height: int, width: int) -> Self:
        """Sums of no samples."""
        return cls(*(np.zeros((height, width), np.float32) for _ in range(4)))

    def add(self, other: "GradientSums") -> None:
        """Add the sums of other samples to these."""
        for mine, theirs in zip(self.arrays(), other.arrays(), strict=True):
            mine += theirs

    def part(self, where: tuple[slice, slice]) -> "GradientSums":
        """The sums of a part of the picture; a view of the same memory."""
        return GradientSums(*(array[where] for array in self.arrays()))

    def arrays(self) -> tuple[np.ndarray, ...]:
        """The four sums."""
        return self.count, self.dx, self.dy, self.length

    def mean(self) -> np.ndarray:
        """Mean gradients, `2 H W`."""
        return np.stack([self.dx, self.dy]) / np.maximum(self.count, 1)

    def consistency(self) -> np.ndarray:
        """Length of the mean gradient, divided by the mean length."""
        return np.hypot(self.dx, self.dy) / np.maximum(self.length, 1e-3)

    def static_edges(self, consistent: float = _CONSISTENT) -> np.ndarray:
        """The pixels with a static edge (bool `H W`), of at least this consistency."""
        # By chance the mean of a few random gradients is long: about 1 / sqrt(count) of their mean length.
        needed = np.clip(_CHANCE / np.sqrt(np.maximum(self.count, 1)), consistent, 0.95)
        return (np.hypot(*self.mean()) > EDGE) & (self.consistency() > needed)

    def cells(self) -> tuple[np.ndarray, np.ndarray]:
        """The textured cells of the picture, and those of them that are static: two bool arrays."""
        edges = self.length > EDGE * np.maximum(self.count, 1)
        every, static = (
            cv2.resize(part.astype(np.float32), (_CELLS, _CELLS), interpolation=cv2.INTER_AREA)
            for part in (edges, edges & self.static_edges())
        )
        textured = every > _TEXTURED
        return textured, textured & (static > _STATIC * every)


@dataclass
class Sums:
    """Sums over samples of one picture size: gradients, their components along the camera's motion, and brightness."""

    every: GradientSums
    """Of whole gradients."""
    along: GradientSums
    """Of their components along the camera's motion."""
    grey: np.ndarray
    """Of brightness, float32 `H W`."""
    squares: np.ndarray
    """Of squared brightness."""
    gone: np.ndarray
    """Greatest distance of the camera from where a shot began, pixels, summed over shots."""
    turns: np.ndarray
    """Unit vectors along the mean gradients of shots, `2 H W`, summed with the shots' numbers of samples as weights."""

    @classmethod
    def zero(cls, height: int, width: int) -> Self:
        """Sums of no samples."""
        every, along = (GradientSums.zero(height, width) for _ in range(2))
        grey, squares, gone = (np.zeros((height, width), np.float32) for _ in range(3))
        return cls(every, along, grey, squares, gone, np.zeros((2, height, width), np.float32))

    def add_shot(self, shot: "Sums") -> None:
        """Add the sums of a shot to these, which are those of a video."""
        self.every.add(shot.every)
        self.along.add(shot.along)
        self.grey += shot.grey
        self.squares += shot.squares
        self.gone += shot.gone
        mean = shot.every.mean()
        strength = np.hypot(*mean)
        self.turns += mean * np.where(strength > EDGE / 2, shot.every.count / np.maximum(strength, 1e-3), 0)

    def part(self, where: tuple[slice, slice]) -> "Sums":
        """The sums of a part of the picture; a view of the same memory."""
        grey, squares, gone = (array[where] for array in (self.grey, self.squares, self.gone))
        return Sums(self.every.part(where), self.along.part(where), grey, squares, gone, self.turns[:, *where])

    def enlarged(self, height: int, width: int) -> "Sums":
        """The sums scaled up to larger pictures, so that thresholds in pixels mean the same for both."""

        def large(array: np.ndarray) -> np.ndarray:
            return cv2.resize(array, (width, height), interpolation=cv2.INTER_NEAREST)

        every, along = (GradientSums(*map(large, some.arrays())) for some in (self.every, self.along))
        grey, squares, gone = map(large, (self.grey, self.squares, self.gone))
        return Sums(every, along, grey, squares, gone, np.stack([*map(large, self.turns)]))

    def shared(self) -> np.ndarray:
        """The pixels (bool `H W`) where a video's shots share an edge; for the sums of a single shot, all pixels.

        Without this test, the edges of a static scene in one long shot would outweigh those of all other shots.
        """
        if not self.turns.any():
            return np.ones(self.grey.shape, bool)
        return np.hypot(*self.turns) >= _SHARED * self.every.count

    def deviation(self) -> np.ndarray:
        """Standard deviation of each pixel's brightness over the samples, grey levels."""
        count = np.maximum(self.every.count, 1)
        return np.sqrt(np.maximum(self.squares / count - (self.grey / count) ** 2, 0))

    def moving(self) -> bool:
        """Whether the scene moves enough to tell an overlay from it: nearly everywhere, few edges are static.

        An overlay lies in a few cells of the picture. A static scene, or shots that are too few and too slow to average
        out, have static edges in most cells.
        """
        if self.every.count.max(initial=0) < _SAMPLES or (self.deviation() > _DEVIATES).mean() < _SHARE:
            return False
        textured, static = self.every.cells()
        return bool(textured.mean() >= _TEXTURED_CELLS and static[textured].mean() <= _STATIC_CELLS)

    def passed(self) -> np.ndarray:
        """The pixels (bool `H W`) that the camera passes: there, edges of the scene across its path leave their places.

        No pixels if more edges are static than overlays would have: the camera follows something.
        """
        passed = (self.along.count >= _SAMPLES) & (self.gone >= _FAR)
        if passed.mean() < _REACHED or self.along.cells()[1].mean() > _STATIC_CELLS:
            return np.zeros_like(passed)
        return passed

    def passed_all(self) -> bool:
        """Whether the camera passes nearly the whole picture, most of the time."""
        long = self.along.count >= _MOSTLY * self.every.count
        return bool((self.passed() & long).mean() >= _ALL)


def half(height: int, width: int) -> tuple[int, int]:
    """The size at which colours are analysed: most films store them at half the resolution."""
    return max(1, height // 2), max(1, width // 2)


def red_blue(planes_CHW: np.ndarray) -> np.ndarray:
    """How red (255) or blue (0) a picture is, from its Y, U and V planes; shows edges that brightness may lack."""
    _, blue, red = planes_CHW
    return cv2.addWeighted(red, 1, blue, -1, 128)


class OverlayFinder:
    """Feed some frames of one shot (grey, uint8 `H W`, and their `red_blue`), with boxes of texts to leave out.

    The sums are then ready for `overlays.find_overlays`.
    """

    def __init__(self, height: int, width: int) -> None:
        self._grey, self._colour = _Adder(height, width), _Adder(*half(height, width))
        self._before: np.ndarray | None = None

    @property
    def sums(self) -> Sums:
        """The sums of the grey pictures."""
        return self._grey.sums

    @property
    def colours(self) -> Sums:
        """The sums of the colours, at half the size."""
        return self._colour.sums

    def feed(self, image_HW: np.ndarray, texts: Iterable[Box] = (), colour_hw: np.ndarray | None = None) -> None:
        """Take one frame; `colour_hw` has the size `half`."""
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
    """Adds up pictures of one size and shot."""

    def __init__(self, height: int, width: int) -> None:
        self.sums = Sums.zero(height, width)
        self._away = np.zeros((2, -(-height // _GRID), -(-width // _GRID)), np.float32)
        # Large arrays are allocated once: allocating them again takes longer than filling them.
        self._planes = np.empty((6, height, width), np.float32)

    def add(self, image_HW: np.ndarray, use: np.ndarray, motion: np.ndarray | None) -> None:
        """Add the pixels of a picture where `use` is 1; `motion` is the camera's since the sample before."""
        grads, (lengths, shrink) = gradients(image_HW, self._planes[:2]), self._planes[2:4]
        cv2.magnitude(grads[0], grads[1], lengths)
        # Lengths are limited, not components, which would change the directions.
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
        """Add the components of the gradients along the camera's motion since the sample before."""
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
        # The signed component times its weight: first summed as a vector, then by its absolute value.
        np.multiply(dx, x, out=part)
        dy *= y
        part += dy
        part *= weight
        cv2.accumulateProduct(part, x, along.dx, use)
        cv2.accumulateProduct(part, y, along.dy, use)
        cv2.accumulate(np.abs(part, out=part), along.length, use)
