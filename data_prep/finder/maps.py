"""Maps of a moment of a shot from which a network tells what is burnt in: the picture, and what stays while the rest
moves.

A burnt-in mark keeps its edges while the scene's edges move away (Dekel et al. 2017); where the scene stands still, its
looks tell it: crisp, upright, at the places where marks are put. So there are maps of both, over two spans of time: a
long one, in which faint marks add up, and a short one, in which a caption that has just come is already constant.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import cv2
import numpy as np

# Longest side of the pictures that the finder sees, pixels; smaller pictures are enlarged to it.
SIDE = 640
# Sizes are padded to multiples of this: the network halves them five times.
GRID = 32
# Pictures of the long and the short span.
LONG, SHORT = 16, 5
# Divisors that bring each kind of map to about 0 to 1: grey levels, their deviation, sums of the gradients' components.
_LEVELS, _DEVIATION, _GRADIENT = 255.0, 64.0, 128.0
# Brightness change of this size on both sides of an edge is noise: added before dividing one gradient by another.
_NOISE = 2.0
# Each full-size map gives four channels of half the size.
CHANNELS = 4 * 5 + 15


@dataclass(frozen=True)
class Sample:
    """One picture: brightness uint8 `H W`, colours uint8 `2 H/2 W/2` (U and V)."""

    grey: np.ndarray
    colours: np.ndarray

    @cached_property
    def edges(self) -> np.ndarray:
        """|dx| + |dy| of the brightness, a quarter of Sobel's units, uint8 `H W`."""
        return edges_of(self.grey)


def edges_of(grey_HW: np.ndarray) -> np.ndarray:
    """|dx| + |dy|, a quarter of Sobel's units, uint8 `H W`, for uint8 or float32 pictures."""
    depth = cv2.CV_16S if grey_HW.dtype == np.uint8 else cv2.CV_32F
    dx, dy = (cv2.Sobel(grey_HW, depth, 1 - axis, axis, ksize=3) for axis in (0, 1))
    return cv2.add(cv2.convertScaleAbs(dx, None, 0.25), cv2.convertScaleAbs(dy, None, 0.25))


def network_size(height: int, width: int) -> tuple[int, int]:
    """The size at which a picture is analysed: its longer side is `SIDE`, both are even."""
    scale = SIDE / max(height, width)
    return max(2, 2 * round(height * scale / 2)), max(2, 2 * round(width * scale / 2))


@dataclass(frozen=True)
class Window:
    """A part of a picture, pixels; all even."""

    top: int
    left: int
    height: int
    """Height and width of the whole picture."""
    width: int


def maps(samples: Sequence[Sample], centre: int, window: Window | None = None) -> np.ndarray:
    """The channels for the picture `centre` of up to `LONG` samples of one shot, float32 `CHANNELS H/2 W/2`.

    The short span are up to `SHORT` samples around the centre. All values are about 0 to 1. `window` tells of which
    part of the picture the samples are.
    """
    first = min(max(0, centre - SHORT // 2), max(0, len(samples) - SHORT))
    here, long, short = samples[centre], _Span.of(samples), _Span.of(samples[first : first + SHORT])
    large = [here.grey / _LEVELS, *long.large(), short.static / _GRADIENT]
    halves = [
        *long.small(),
        *short.small(),
        *(here.colours.astype(np.float32) / _LEVELS),
        *long.colours(samples),
        *_constants(here.grey.shape, window, len(samples) / LONG, _motion(samples) / _DEVIATION),
    ]
    fours = [part[row::2, column::2] for part in large for row in (0, 1) for column in (0, 1)]
    return np.stack([*fours, *halves]).astype(np.float32)


@dataclass(frozen=True)
class _Span:
    """Statistics of the brightness over some samples, float32 `H W`."""

    mean: np.ndarray
    deviation: np.ndarray
    static: np.ndarray
    """Size of the mean gradient."""
    every: np.ndarray
    """Mean size of the gradients."""
    least: np.ndarray
    """Least size of the gradients."""

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> "_Span":
        """The statistics of these samples."""
        shape = samples[0].grey.shape
        total, squares, sizes = (np.zeros(shape, np.float32) for _ in range(3))
        least = samples[0].edges
        for sample in samples:
            cv2.accumulate(sample.grey, total)
            cv2.accumulateSquare(sample.grey, squares)
            cv2.accumulate(sample.edges, sizes)
            least = cv2.min(least, sample.edges)
        count = len(samples)
        mean = total / count
        deviation = np.sqrt(np.maximum(squares / count - mean**2, 0))
        # The gradient is linear: the mean gradient is that of the mean picture.
        return cls(mean, deviation, edges_of(mean), sizes / count, least)

    def large(self) -> list[np.ndarray]:
        """Maps at full size."""
        return [self.mean / _LEVELS, self.static / _GRADIENT, self.least / _GRADIENT]

    def small(self) -> list[np.ndarray]:
        """Maps at half the size: deviation, mean size of the gradients, how constant these are."""
        deviation, every, static = map(halved, (self.deviation, self.every, self.static.astype(np.float32)))
        return [deviation / _DEVIATION, every / _GRADIENT, static / (every + _NOISE)]

    def colours(self, samples: Sequence[Sample]) -> list[np.ndarray]:
        """How constant the edges of the colours are, which show marks that are as bright as the scene: two maps."""
        constant = []
        for plane in (0, 1):
            total, sizes = (np.zeros(samples[0].colours.shape[1:], np.float32) for _ in range(2))
            for sample in samples:
                cv2.accumulate(sample.colours[plane], total)
                cv2.accumulate(edges_of(sample.colours[plane]), sizes)
            every = sizes / len(samples)
            static = edges_of(total / len(samples)).astype(np.float32)
            constant.append(static / _GRADIENT * static / (every + _NOISE))
        return constant


def halved(full: np.ndarray) -> np.ndarray:
    """A picture at half its size."""
    height, width = full.shape
    return cv2.resize(full, (width // 2, height // 2), interpolation=cv2.INTER_AREA)


def _motion(samples: Sequence[Sample]) -> float:
    """Mean change of brightness from sample to sample, on a coarse grid."""
    if len(samples) < 2:
        return 0.0
    small = [np.ascontiguousarray(sample.grey[::8, ::8]) for sample in samples]
    changes = [cv2.norm(one, other, cv2.NORM_L1) for one, other in pairwise(small)]
    return sum(changes) / len(changes) / small[0].size


def _constants(shape: tuple[int, ...], window: Window | None, share: float, motion: float) -> list[np.ndarray]:
    """Maps that are the same for all moments: where a pixel is, its distance from the edge, how much was seen."""
    here = window or Window(0, 0, *shape[:2])
    height, width = here.height // 2, here.width // 2
    y, x = np.mgrid[: shape[0] // 2, : shape[1] // 2].astype(np.float32)
    y, x = y + here.top // 2, x + here.left // 2
    edge = np.minimum(np.minimum(x, width - 1 - x), np.minimum(y, height - 1 - y)) / 32
    return [
        (y + 0.5) / height,
        np.abs((x + 0.5) / width - 0.5) * 2,
        np.minimum(edge, 1),
        np.full(y.shape, np.float32(share)),
        np.full(y.shape, np.float32(min(motion, 1.0))),
    ]


def padded(maps_CHW: np.ndarray) -> np.ndarray:
    """The maps with their last rows and columns repeated up to a size that the network can halve."""
    _, height, width = maps_CHW.shape
    unit = GRID // 2
    rows, columns = -height % unit, -width % unit
    return np.pad(maps_CHW, ((0, 0), (0, rows), (0, columns)), mode="edge")
