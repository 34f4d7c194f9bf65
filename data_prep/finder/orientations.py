"""Where the edges of a picture are and which way they face, as bits, so that many shifts of pictures can be compared.

Each pixel of an edge has one of sixteen bits, for the direction of its signed gradient (after Hinterstoisser et al.,
"Gradient response maps for real-time detection of textureless objects", PAMI 2012).
"""

import cv2
import numpy as np
from jaxtyping import UInt16

from data_prep.finder.maps import Sample, halved

# Least gradient of an edge, grey levels per pixel, as of the edges of letters (`text/track.py`).
_EDGE = 6.0
_BITS = 16
# Edges that face so near to across a motion, radians, move along themselves: that leaves no trace.
_ALONG = np.pi / 8

Bits = UInt16[np.ndarray, "h w"]


def orientations(sample: Sample) -> Bits:
    """The bits of a picture's edges at half its size; 0 where there is none. The strongest of its planes counts."""
    planes = [halved(sample.grey), *sample.colours]
    dx, dy = (np.stack([cv2.Sobel(p, cv2.CV_32F, 1 - a, a, scale=1 / 8) for p in planes]) for a in (0, 1))
    strength = dx * dx + dy * dy
    first = strength.argmax(0)[None]
    dx, dy, strength = (np.take_along_axis(part, first, 0)[0] for part in (dx, dy, strength))
    sector = (cv2.phase(dx, dy) * (_BITS / (2 * np.pi))).astype(np.uint16) % _BITS
    return np.where(strength >= _EDGE**2, np.left_shift(np.uint16(1), sector), np.uint16(0))


def tolerant(bits_hw: Bits) -> Bits:
    """At each pixel the bits of its neighbours as well, and those of the directions beside them."""
    padded = np.pad(bits_hw, 1)
    height, width = bits_hw.shape
    near = np.zeros_like(bits_hw)
    for row in range(3):
        for column in range(3):
            near |= padded[row : row + height, column : column + width]
    return near | near << 1 | near >> _BITS - 1 | near >> 1 | near << _BITS - 1


def across(velocity: tuple[float, float]) -> np.uint16:
    """The bits of the edges that a motion (x and y) does not move along themselves."""
    angles = (np.arange(_BITS) + 0.5) * (2 * np.pi / _BITS)
    along = np.abs(np.cos(angles) * velocity[0] + np.sin(angles) * velocity[1])
    return np.uint16(sum(1 << int(bit) for bit in np.flatnonzero(along > np.hypot(*velocity) * np.sin(_ALONG))))
