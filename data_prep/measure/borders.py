"""Letterbox and pillarbox bars: rows and columns that never show the picture; they may hold subtitles or logos."""

import numpy as np

from data_prep.video.cropping import Crop

# A pixel brighter than this (grey levels) is picture; a row is picture in a frame if this share of its pixels is.
BLACK, HALF = 24, 0.5
# A row is picture if it is so in this share of the frames; frames with a mean brightness below the second value are
# not counted.
_FRAMES, BRIGHT = 0.05, 12.0
# A dark row is picture too if, in this share of the frames, the darker half of its pixels (without the darkest tenth)
# spans more grey levels than this: a bar has one colour where nothing is written. Every eighth pixel is tested.
_OFTEN, _SPREADS, _SPARSE = 0.5, 4, 8
# Dark strips thinner than this share of the side are not called bars: they are as often dark edges of the picture.
THINNEST = 0.01


class BorderFinder:
    """Feed some frames of a video (grey, uint8 `H W`, full size), then call `picture`."""

    def __init__(self, height: int, width: int) -> None:
        # For each row and column: in how many frames it is bright, and in how many it has more than one colour.
        self._rows, self._columns = np.zeros((2, height), int), np.zeros((2, width), int)
        self._counted = 0

    def feed(self, image_HW: np.ndarray) -> None:
        """Take one frame."""
        if image_HW.mean() < BRIGHT:
            return
        lit = image_HW > BLACK
        rows = lit.mean(axis=1) >= HALF
        self._rows += rows, _spreads(image_HW, ~rows)
        # Columns are judged by the rows that show the picture: bars above and below would halve their share.
        if rows.any():
            columns = lit[rows].mean(axis=0) >= HALF
            self._columns += columns, _spreads(image_HW[rows].T, ~columns)
        self._counted += 1

    def picture(self) -> Crop:
        """Top, left, height, width of the picture without bars."""
        top, bottom = self._span(self._rows)
        left, right = self._span(self._columns)
        return top, left, bottom - top, right - left

    def _span(self, counts: np.ndarray) -> tuple[int, int]:
        lit, spreads = counts
        side = len(lit)
        shown = np.flatnonzero((lit > _FRAMES * self._counted) | (spreads > _OFTEN * self._counted))
        if not self._counted or not len(shown):
            return 0, side
        first, last = int(shown[0]), int(shown[-1]) + 1
        least = THINNEST * side
        return first if first > least else 0, last if side - last > least else side


def _spreads(lines: np.ndarray, dark: np.ndarray) -> np.ndarray:
    """Which of the `dark` (bool `N`) lines (uint8 `N M`) have more than one colour in their darker half."""
    levels = np.sort(lines[dark, ::_SPARSE], axis=1).astype(int)
    count = levels.shape[1]
    spreads = np.zeros(len(lines), bool)
    spreads[dark] = levels[:, count // 2] - levels[:, count // 10] > _SPREADS
    return spreads
