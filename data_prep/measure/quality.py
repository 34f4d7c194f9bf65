"""Measures of a shot's quality, from some of its frames; they decide which views it can supply."""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

# A picture was scaled up by this factor if its loss at the factor is below this share of its loss at twice the factor.
_UPSCALED = ((4, 0.11), (3, 0.125), (2, 0.125))
# A picture with a smaller loss (squared grey levels) is too flat for this comparison.
_FLAT = 0.5


@dataclass(frozen=True)
class Quality:
    """Means over a shot's sampled frames."""

    sharpness: float
    """Variance of the Laplacian, squared grey levels."""
    detail: float
    """Share of the resolution that holds detail, 0 to 1; a picture that was scaled up by 2 has about 0.5."""
    motion: float
    """Mean change of brightness from one frame to the next, grey levels."""
    brightness: float
    """Mean brightness, 0 to 255."""
    blockiness: float
    """Brightness steps at the borders of 8×8 blocks over steps elsewhere; 1: no blocks are visible."""


class QualityMeter:
    """Feed pairs of neighbouring frames (grey, uint8 `H W`, full size), then call `quality`."""

    def __init__(self) -> None:
        self._found: list[tuple[float, ...]] = []

    def feed(self, image_HW: np.ndarray, before_HW: np.ndarray) -> None:
        """Take a frame and the one before it."""
        motion = float(cv2.absdiff(image_HW[::4, ::4], before_HW[::4, ::4]).mean())
        sharpness = float(cv2.meanStdDev(cv2.Laplacian(image_HW, cv2.CV_16S))[1][0, 0]) ** 2
        self._found.append((sharpness, detail(image_HW), motion, float(image_HW.mean()), blockiness(image_HW)))

    def quality(self) -> Quality:
        """Means over all pairs; zeros if there were none."""
        return Quality(*(np.mean(self._found, axis=0).round(4).tolist() if self._found else [0.0] * 5))


def detail(image_HW: np.ndarray) -> float:
    """Share of the resolution that holds detail: 1, 1/2, 1/3 or 1/4.

    Scaling a picture down by s and up again loses all detail finer than s pixels. A picture that was scaled up by s
    has no such detail, so it loses far less with s than with 2 s. On eight films, the limits separate the two cases.
    """
    image = image_HW.astype(np.float32)
    lost = cache(lambda factor: _lost(image, factor))
    for factor, limit in _UPSCALED:
        if lost(2 * factor) > _FLAT and lost(factor) < limit * lost(2 * factor):
            return 1 / factor
    return 1.0


def _lost(image_HW: np.ndarray, factor: int) -> float:
    """Mean squared error after scaling down by `factor` and up again."""
    height, width = image_HW.shape
    small = cv2.resize(image_HW, (max(1, width // factor), max(1, height // factor)), interpolation=cv2.INTER_AREA)
    again = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    return cv2.norm(image_HW, again, cv2.NORM_L2SQR) / image_HW.size


def blockiness(image_HW: np.ndarray) -> float:
    """Mean brightness step between columns where blocks of 8 meet, over the mean step between other columns."""
    steps = cv2.absdiff(image_HW[:, 1:], image_HW[:, :-1]).mean(axis=0)
    borders = steps[7::8]
    inside = np.delete(steps, np.arange(7, len(steps), 8))
    return float(borders.mean() / max(inside.mean(), 1e-3)) if len(borders) and len(inside) else 1.0
