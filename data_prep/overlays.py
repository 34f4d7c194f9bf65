"""Static overlays (logos, watermarks, also semi-transparent): edges that stay where they are while the picture moves.

After Dekel et al. 2017: the mean of signed gradients over many frames keeps the overlay's and averages out the scene's.
The sums are additive, so the same statistics serve a shot, a video and all videos of one source. A scene that does not
move keeps its gradients too: then nothing can be said.
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
_EDGE, _CONSISTENT, _CHANCE = 2.0, 0.75, 4.0
# Less consistent edges along which an overlay goes on, so many times; weaker ones that count beside it.
_GOES_ON, _STEPS = 0.7, 8
_WEAK_EDGE, _WEAK_CONSISTENT = 1.2, 0.4
# Strength of an overlay's edges as a share of its strongest ones.
_BOLD = 0.4
# Least over greatest strength of an overlay's edges by direction, and most overlays at a time.
_CORNERS, _MOST = 0.12, 4
# Samples needed; a pixel moves if it deviates by this; the picture moves if this share of pixels does.
_SAMPLES, _DEVIATES, _SHARE = 16, 12.0, 0.33
# Cells of the picture (a side); share of a cell that has edges at all times, and of the cells that must be such.
_CELLS, _TEXTURED, _TEXTURED_CELLS = 8, 0.02, 0.25
# The scene moves if in this percentage of those cells no more than this share of the edges stay where they are.
_MOVING_CELLS, _STAY = 80, 0.04
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

    @classmethod
    def zero(cls, height: int, width: int) -> Self:
        """Sums over nothing."""
        return cls(*(np.zeros((height, width), np.float32) for _ in range(6)))

    def add(self, other: "Sums") -> None:
        """Add another's samples to these."""
        for mine, theirs in zip(self.arrays(), other.arrays(), strict=True):
            mine += theirs

    def arrays(self) -> tuple[np.ndarray, ...]:
        """The six sums."""
        return self.count, self.dx, self.dy, self.length, self.grey, self.squares

    def deviation(self) -> np.ndarray:
        """Standard deviation of each pixel over the samples, grey levels."""
        count = np.maximum(self.count, 1)
        return np.sqrt(np.maximum(self.squares / count - (self.grey / count) ** 2, 0))

    def mean(self) -> np.ndarray:
        """Mean gradients, `2 H W`."""
        return np.stack([self.dx, self.dy]) / np.maximum(self.count, 1)

    def consistency(self) -> np.ndarray:
        """Length of the mean gradient over the mean length."""
        return np.hypot(self.dx, self.dy) / np.maximum(self.length, 1e-3)

    def staying(self) -> np.ndarray:
        """Edges that stay where they are."""
        # The mean of few random gradients is long by chance: about 1 / sqrt(count) of their mean length.
        needed = np.clip(_CHANCE / np.sqrt(np.maximum(self.count, 1)), _CONSISTENT, 0.95)
        return (np.hypot(*self.mean()) > _EDGE) & (self.consistency() > needed)

    def moving(self) -> bool:
        """Whether the scene moves enough to tell an overlay from it: few of its edges stay, nearly everywhere.

        An overlay lies in few cells of the picture; a scene that stands still, and shots too few and too slow to
        average out, keep edges in most of them.
        """
        if self.count.max(initial=0) < _SAMPLES or (self.deviation() > _DEVIATES).mean() < _SHARE:
            return False
        textured = self.length > _EDGE * np.maximum(self.count, 1)
        every, stays = (
            cv2.resize(part.astype(np.float32), (_CELLS, _CELLS), interpolation=cv2.INTER_AREA)
            for part in (textured, textured & self.staying())
        )
        told = every > _TEXTURED
        return bool(told.mean() >= _TEXTURED_CELLS and np.percentile(stays[told] / every[told], _MOVING_CELLS) <= _STAY)


class OverlayFinder:
    """Feed some frames (grey, uint8 `H W`), with boxes of texts to leave out."""

    def __init__(self, height: int, width: int) -> None:
        self.sums = Sums.zero(height, width)

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


def find_overlays(sums: Sums) -> np.ndarray | None:
    """Covered pixels, bool `H W`, or None if the scene, or what is around an edge, moves too little to tell."""
    if not sums.moving():
        return None
    mean, consistency = sums.mean(), sums.consistency()
    strength = np.hypot(*mean)
    goes_on = (strength > _EDGE) & (consistency > _GOES_ON)
    weak = (strength > _WEAK_EDGE) & (consistency > _WEAK_CONSISTENT)
    edges, deviation = sums.staying(), sums.deviation()
    covered = grouped_overlays(mean, edges, goes_on, weak, deviation)
    if covered is None or not covered.any():
        return covered
    bold = _bold(edges, strength)
    goes_on &= strength >= strength[bold & covered].min(initial=np.inf)
    tight = grouped_overlays(mean, bold, goes_on, weak, deviation)
    return covered if tight is None or not tight.any() else covered & tight


def _bold(edges: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """The edges without the faint ones of each group: edges of the scene that stay by chance beside an overlay."""
    bold = np.zeros_like(edges)
    for group in _groups(_closed(edges)):
        own = edges & group
        if own.any():
            bold |= own & (strength >= _BOLD * np.percentile(strength[own], 98))
    return bold


def opacity(covered: np.ndarray, sums: Sums) -> float:
    """How opaque overlays are, 0 to 1: they weaken how much the picture varies (1 - deviation inside / around).

    The quarter of the covered pixels that vary least are taken, because gaps between letters are covered too.
    """
    deviation = sums.deviation()
    ring = (cv2.dilate(covered.astype(np.uint8), np.ones((25, 25), np.uint8)) > 0) & ~covered
    inside, around = np.percentile(deviation[covered], 25), np.median(deviation[ring]) if ring.any() else 0.0
    return round(float(np.clip(1 - inside / max(around, 1e-3), 0, 1)), 2)


def grouped_overlays(
    mean: np.ndarray, edges: np.ndarray, goes_on: np.ndarray, weak: np.ndarray, deviation: np.ndarray
) -> np.ndarray | None:
    """Covered pixels from edges that stay (`H W`), of those whose surrounding changes (deviation, grey levels).

    None if nothing can be told: all that stays has a surrounding that stays too (a logo in front of a plain sky, or
    something in the scene), or more stays than overlays would cover.

    `mean` are the mean gradients, `2 H W`; overlays go on along the edges `goes_on`, and `weak` ones beside them count.
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
        group = _followed(group, _closed(edges | goes_on))
        covered |= _filled(_closed(edges | weak) & _near(group))
    if (doubtful and not found) or covered.mean() > _LARGEST or found > _MOST:
        return None
    return covered


def _followed(group: np.ndarray, along: np.ndarray) -> np.ndarray:
    """The group with what follows one another `along` near it, as the letters of a word do."""
    for _ in range(_STEPS):
        more = group | (along & _near(group))
        if more.sum() == group.sum():
            break
        group = more
    return group


def _near(group: np.ndarray) -> np.ndarray:
    return cv2.dilate(group.astype(np.uint8), np.ones((_MERGE, _MERGE), np.uint8)) > 0


def _closed(edges: np.ndarray) -> np.ndarray:
    return cv2.morphologyEx(edges.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((_CLOSE, _CLOSE), np.uint8)) > 0


def _groups(closed: np.ndarray) -> Sequence[np.ndarray]:
    count, labels = cv2.connectedComponents(_near(closed).astype(np.uint8))
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
