"""Static overlays (logos, watermarks, also semi-transparent): edges that stay where they are while the picture moves.

After Dekel et al. 2017: the mean of signed gradients over many frames keeps the overlay's and averages out the scene's.
The sums are additive, so the same statistics serve a shot, a video and all videos of one source. A scene that does not
move keeps its gradients too: then nothing can be said, and `moving` is false.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np

from data_prep.text_track import Box, gradients

# Gradients (grey levels a pixel) are cut off here: a few strong frames must not outweigh many.
_CLIP = 10.0
# An overlay's edge: mean gradient and consistency (length of the mean over mean length).
_EDGE, _CONSISTENT, _CHANCE = 2.0, 0.8, 4.0
# Weaker edges that count beside an overlay's.
_WEAK_EDGE, _WEAK_CONSISTENT = 1.2, 0.4
# Least over greatest strength of an overlay's edges by direction, and most overlays at a time.
_CORNERS, _MOST = 0.12, 4
# Samples needed; a pixel moves if it deviates by this; the picture moves if this share of pixels does.
_SAMPLES, _DEVIATES, _SHARE = 16, 12.0, 0.6
# Mean change between samples (grey levels) of a moving picture, as the median over the samples.
_CHANGE = 9.0
# An overlay's surrounding: pixels of a ring that deviate, and the share of them that must.
_RING_DEVIATES, _RING_SHARE = 6.0, 0.7
# Edges nearer than this are one overlay (closing, then merging), margin of the mask, and smallest overlay, pixels.
_CLOSE, _MERGE, _MARGIN, _SMALLEST = 9, 25, 3, 60
# Larger than this share of the picture is no overlay.
_LARGEST = 0.15


@dataclass
class Sums:
    """Sums over samples of one picture size; all float32 `H W`."""

    count: np.ndarray
    dx: np.ndarray
    dy: np.ndarray
    length: np.ndarray
    grey: np.ndarray
    squares: np.ndarray
    changes: list[float]
    """Mean change of brightness from each sample to the next."""

    @classmethod
    def zero(cls, height: int, width: int) -> Self:
        """Sums over nothing."""
        return cls(*(np.zeros((height, width), np.float32) for _ in range(6)), [])

    def add(self, other: "Sums") -> None:
        """Add another's samples to these."""
        for mine, theirs in zip(self.arrays(), other.arrays(), strict=True):
            mine += theirs
        self.changes += other.changes

    def arrays(self) -> tuple[np.ndarray, ...]:
        """The six sums."""
        return self.count, self.dx, self.dy, self.length, self.grey, self.squares

    def deviation(self) -> np.ndarray:
        """Standard deviation of each pixel over the samples, grey levels."""
        count = np.maximum(self.count, 1)
        return np.sqrt(np.maximum(self.squares / count - (self.grey / count) ** 2, 0))

    def moving(self) -> bool:
        """Whether the picture moves enough to tell an overlay from the scene."""
        if self.count.max(initial=0) < _SAMPLES or not self.changes:
            return False
        moves = float((self.deviation() > _DEVIATES).mean())
        return moves >= _SHARE and float(np.median(self.changes)) >= _CHANGE


class OverlayFinder:
    """Feed some frames (grey, uint8 `H W`), with boxes of texts to leave out."""

    def __init__(self, height: int, width: int) -> None:
        self.sums = Sums.zero(height, width)
        self._before: np.ndarray | None = None

    def feed(self, image_HW: np.ndarray, texts: Iterable[Box] = ()) -> None:
        """Look at one frame."""
        grads = np.clip(gradients(image_HW), -_CLIP, _CLIP)
        use = np.ones(image_HW.shape, np.float32)
        for top, left, bottom, right in texts:
            use[top:bottom, left:right] = 0
        grey = image_HW.astype(np.float32)
        sums = self.sums
        sums.count += use
        sums.dx += grads[0] * use
        sums.dy += grads[1] * use
        sums.length += cv2.magnitude(grads[0], grads[1]) * use
        sums.grey += grey * use
        sums.squares += grey * grey * use
        if self._before is not None:
            sums.changes.append(float(cv2.absdiff(image_HW[::4, ::4], self._before).mean()))
        self._before = image_HW[::4, ::4]


def find_overlays(sums: Sums) -> np.ndarray | None:
    """Covered pixels, bool `H W`, or None if the picture, or what is around an edge, moves too little to tell."""
    if not sums.moving():
        return None
    count = np.maximum(sums.count, 1)
    mean = np.stack([sums.dx, sums.dy]) / count
    consistency = np.hypot(sums.dx, sums.dy) / np.maximum(sums.length, 1e-3)
    # The mean of few random gradients is long by chance: about 1 / sqrt(count) of their mean length.
    needed = np.clip(_CHANCE / np.sqrt(count), _CONSISTENT, 0.95)
    strength = np.hypot(*mean)
    edges = (strength > _EDGE) & (consistency > needed)
    weak = (strength > _WEAK_EDGE) & (consistency > _WEAK_CONSISTENT)
    return grouped_overlays(mean, edges, weak, sums.deviation())


def opacity(covered: np.ndarray, sums: Sums) -> float:
    """How opaque overlays are, 0 to 1: they weaken how much the picture varies (1 - deviation inside / around).

    The quarter of the covered pixels that vary least are taken, because gaps between letters are covered too.
    """
    deviation = sums.deviation()
    ring = (cv2.dilate(covered.astype(np.uint8), np.ones((25, 25), np.uint8)) > 0) & ~covered
    inside, around = np.percentile(deviation[covered], 25), np.median(deviation[ring]) if ring.any() else 0.0
    return round(float(np.clip(1 - inside / max(around, 1e-3), 0, 1)), 2)


def grouped_overlays(mean: np.ndarray, edges: np.ndarray, weak: np.ndarray, deviation: np.ndarray) -> np.ndarray | None:
    """Covered pixels from edges that stay (`H W`), of those whose surrounding changes (deviation, grey levels).

    None if all that stays has a surrounding that stays too: a logo in front of a plain sky, or something in the scene.

    `mean` are the mean gradients, `2 H W`; `weak` edges count only next to an overlay that is found.
    """
    covered = np.zeros(edges.shape, bool)
    found = doubtful = 0
    for group in _groups(_closed(edges)):
        own = edges & group
        if own.sum() < _SMALLEST or not _has_corners(mean[:, own]):
            continue
        if not _stands_out(group, deviation):
            doubtful += 1
            continue
        found += 1
        near = cv2.dilate(group.astype(np.uint8), np.ones((_MERGE, _MERGE), np.uint8)) > 0
        covered |= _filled(_closed(edges | weak) & near)
    if doubtful and not found:
        return None
    return covered if covered.mean() <= _LARGEST and found <= _MOST else np.zeros_like(covered)


def _closed(edges: np.ndarray) -> np.ndarray:
    return cv2.morphologyEx(edges.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((_CLOSE, _CLOSE), np.uint8)) > 0


def _groups(closed: np.ndarray) -> Sequence[np.ndarray]:
    near = cv2.dilate(closed.astype(np.uint8), np.ones((_MERGE, _MERGE), np.uint8))
    count, labels = cv2.connectedComponents(near)
    return [(labels == number) & closed for number in range(1, count)]


def _has_corners(mean: np.ndarray) -> bool:
    """Whether edges (mean gradients `2 N`) run in more than one direction.

    Under a camera that pans, the scene's edges along its way stay where they are; but these all run one way.
    """
    low, high = np.linalg.eigvalsh(mean @ mean.T)
    return bool(low > _CORNERS * high)


def _stands_out(group: np.ndarray, deviation: np.ndarray) -> bool:
    near = cv2.dilate(group.astype(np.uint8), np.ones((9, 9), np.uint8))
    ring = (cv2.dilate(near, np.ones((25, 25), np.uint8)) > 0) & (near == 0)
    return bool(ring.any() and (deviation[ring] > _RING_DEVIATES).mean() >= _RING_SHARE)


def _filled(group: np.ndarray) -> np.ndarray:
    side = 2 * _MARGIN + 1
    wide = cv2.dilate(group.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
    outlines, _ = cv2.findContours(wide, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(wide, outlines, -1, 1, cv2.FILLED) > 0
