"""Find a watermark that is repeated all over the picture: its edges stay, and are the same again at a lattice's places.

A scene has hardly two places that are alike to the pixel, so the correlation of its edges with themselves, moved, is
about 0 for each long way. Of a tiled picture it has sharp peaks, at ways that are sums of two. So faint tiles are seen
that are hardly seen alone, whether the scene moves or not. A scene that stays and repeats itself (a wall of bricks, a
mosaic) is found too, so what is found is a doubt.
"""

import itertools
import math
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float

# Gradients of this length (grey levels per pixel) count half: a scene's strongest edges must not outweigh faint ones.
_KNEE = 5.0
# Ways between repetitions: at least this share of the picture's longer side, and these shares of its height and width.
_LEAST, _MOST = 0.08, 0.5
# Where less than this share of the edges overlaps, chance makes peaks: they are lowered.
_OVERLAP = 0.3
# Pixels at the picture's edges that are left out, and pixels around a peak that are one with it.
_EDGE, _NEAR = 8, 8
# A peak is as high as it stands out from the mean along each of four lines of so many pixels: static edges, as of a
# bar, are like themselves all along.
_LINE = 15
# Of so many peaks, two that are no multiples of each other (sine of the angle between them) are taken, and these sums.
_PEAKS, _ANGLE = 10, 0.3
_SUMS = [(i, k) for i in range(3) for k in range(-2, 3) if (i > 0 or k > 0) and (i, k) not in ((0, 1), (1, 0))]
# Least height of a lattice at 640×360 pixels (of smaller pictures chance makes higher peaks, as they have fewer edges),
# and in standard deviations of all heights. Set on 23 films; they and 17 others, without tiles, have at most half of
# the height and 2.7 deviations (tests/bench/tiling.py draws other tiles into the same films).
_HEIGHT, _SURE, _PIXELS = 0.03, 4.0, 640 * 360
# Edges belong to the tiles if their mean over the lattice is at least this share of the strongest hundredth's.
_SHARE = 0.4

Way = tuple[int, int]
"""Rows and columns by which a picture is moved."""


@dataclass(frozen=True)
class Lattice:
    """Two ways of which the sums are repetitions, if it is high enough."""

    ways: tuple[Way, Way]
    height: float
    """Of the lower of them, and of half of their sums."""
    limit: float
    """The least height that is none by chance."""


def tiled(mean_2HW: Float[np.ndarray, "2 H W"]) -> Bool[np.ndarray, "H W"] | None:
    """Where a shot's mean gradients repeat all over the picture; None if they don't."""
    found = lattice(mean_2HW)
    return None if found is None or found.height < found.limit else _covered(_field(mean_2HW), found.ways)


def lattice(mean_2HW: Float[np.ndarray, "2 H W"]) -> Lattice | None:
    """The best lattice of a shot's mean gradients."""
    likeness = _likeness(_field(mean_2HW))
    heights, (down, across) = _heights(likeness), (side // 2 for side in likeness.shape)
    reach = np.hypot(*np.ogrid[-down : down + 1, -across : across + 1])
    least = _LEAST * max(likeness.shape) / (2 * _MOST)
    if not (reach >= least).any():
        return None
    heights[reach < least] = 0
    pixels = likeness.size / (2 * _MOST) ** 2
    limit = max(_HEIGHT * math.sqrt(_PIXELS / pixels), _SURE * _noise(heights[reach >= least]))
    every = [
        Lattice((a, b), _height(heights, a, b), limit)
        for a, b in itertools.combinations(_peaks(heights), 2)
        if abs(a[0] * b[1] - a[1] * b[0]) >= _ANGLE * np.hypot(*a) * np.hypot(*b)
    ]
    return max(every, key=lambda one: one.height, default=None)


def _noise(heights: Float[np.ndarray, " N"]) -> float:
    """The standard deviation of heights, of which a few may be peaks."""
    return 1.48 * float(np.median(np.abs(heights - np.median(heights))))


def _height(heights: Float[np.ndarray, "y x"], a: Way, b: Way) -> float:
    """The height of the lattice that two ways make."""
    down, across = (side // 2 for side in heights.shape)

    def near(row: int, column: int) -> float:
        rows, columns = (slice(max(0, middle - 2), middle + 3) for middle in (down + row, across + column))
        return float(heights[rows, columns].max())

    sums = ((i * a[0] + k * b[0], i * a[1] + k * b[1]) for i, k in _SUMS)
    others = [near(*one) for one in sums if abs(one[0]) <= down and abs(one[1]) <= across]
    return min(near(*a), near(*b), float(np.median(others))) if others else 0.0


def _field(mean_2HW: Float[np.ndarray, "2 H W"]) -> Float[np.ndarray, "2 H W"]:
    field = (mean_2HW / (np.hypot(*mean_2HW) + _KNEE)).astype(np.float32)
    for edge in (slice(None, _EDGE), slice(-_EDGE, None)):
        field[:, edge] = field[:, :, edge] = 0
    return field


def _likeness(field_2HW: Float[np.ndarray, "2 H W"]) -> Float[np.ndarray, "y x"]:
    """The correlation of the field with itself, for all ways up to `_MOST`; the way of no length is in the middle."""
    height, width = field_2HW.shape[1:]
    down, across = int(_MOST * height), int(_MOST * width)
    size = cv2.getOptimalDFTSize(height + down), cv2.getOptimalDFTSize(width + across)
    power = np.zeros((*size, 2), np.float32)
    for part in field_2HW:
        padded = np.zeros(size, np.float32)
        padded[:height, :width] = part
        spectrum = cv2.dft(padded, flags=cv2.DFT_COMPLEX_OUTPUT)
        power[..., 0] += (spectrum**2).sum(axis=-1)
    whole = cv2.dft(power, flags=cv2.DFT_INVERSE | cv2.DFT_SCALE | cv2.DFT_REAL_OUTPUT)
    rows, columns = np.arange(-down, down + 1), np.arange(-across, across + 1)
    own = _energies((field_2HW**2).sum(axis=0), rows, columns)
    norm = np.sqrt(own * own[::-1, ::-1])
    return whole[np.ix_(rows, columns)] / np.maximum(norm, _OVERLAP * max(float(own.max()), 1e-9))


def _energies(energy_HW: Float[np.ndarray, "H W"], rows: np.ndarray, columns: np.ndarray) -> Float[np.ndarray, "y x"]:
    """The energy of the part that still overlaps with the field when that is moved, for all ways."""
    height, width = energy_HW.shape
    sums = cv2.integral(energy_HW)
    bottom, right = height - np.maximum(rows, 0), width - np.maximum(columns, 0)
    top, left = np.maximum(-rows, 0), np.maximum(-columns, 0)
    return sums[np.ix_(bottom, right)] - sums[np.ix_(top, right)] - sums[np.ix_(bottom, left)] + sums[np.ix_(top, left)]


def _heights(likeness: Float[np.ndarray, "y x"]) -> Float[np.ndarray, "y x"]:
    """By how much each way stands out from those around it."""
    lines = [np.ones((1, _LINE)), np.ones((_LINE, 1)), np.eye(_LINE), np.eye(_LINE)[::-1]]
    means = [cv2.filter2D(likeness.astype(np.float32), -1, line / _LINE) for line in lines]
    return likeness - np.max(means, axis=0)


def _peaks(heights: Float[np.ndarray, "y x"]) -> list[Way]:
    """The highest places of the lower half: the upper one is the same, turned."""
    down, across = (side // 2 for side in heights.shape)
    left = heights[down:].copy()
    left[0, : across + 1] = 0
    peaks = []
    for _ in range(_PEAKS):
        row, column = np.unravel_index(int(left.argmax()), left.shape)
        peaks.append((int(row), int(column) - across))
        left[max(0, row - _NEAR) : row + _NEAR + 1, max(0, column - _NEAR) : column + _NEAR + 1] = 0
    return peaks


def _covered(field_2HW: Float[np.ndarray, "2 H W"], ways: tuple[Way, Way]) -> Bool[np.ndarray, "H W"]:
    """Where the mean of the field over a lattice is long, and what lies between such edges."""
    (a, b), (height, width) = ways, field_2HW.shape[1:]
    total, count = np.zeros_like(field_2HW), np.zeros((height, width), np.float32)
    for i, k in itertools.product(range(-4, 5), repeat=2):
        row, column = i * a[0] + k * b[0], i * a[1] + k * b[1]
        if abs(row) < height and abs(column) < width:
            to = slice(max(0, row), height + min(0, row)), slice(max(0, column), width + min(0, column))
            source = slice(max(0, -row), height - max(0, row)), slice(max(0, -column), width - max(0, column))
            total[:, *to] += field_2HW[:, *source]
            count[to] += 1
    lengths = np.hypot(*total) / count
    edges = (lengths >= _SHARE * np.quantile(lengths, 0.99)).astype(np.uint8)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9))
    return cv2.morphologyEx(edges, cv2.MORPH_CLOSE, kernel) > 0
