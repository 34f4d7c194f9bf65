"""Letterbox and pillarbox bars: rows and columns that never show picture, subtitles and logos inside them or not."""

import numpy as np

from data_prep.cropping import Crop

# A pixel brighter than this (grey levels) is picture; a row is picture in a frame if this share of its pixels is.
_BLACK, _ROW = 24, 0.5
# A row is picture if it is so in this share of the frames, of which only those with this mean brightness count.
_FRAMES, _BRIGHT = 0.05, 12.0
# A dark row is picture too if in this share of the frames its darker half (without the darkest tenth, every so many
# pixels) spreads over more grey levels than this: a bar is of one colour where no writing is.
_OFTEN, _SPREADS, _SPARSE = 0.5, 4, 8
# Bars as thin as this share of the side are dark edges of the picture as often as not.
_THINNEST = 0.01


class BorderFinder:
    """Feed some frames of a video (grey, uint8 `H W`, full size), then ask for the `picture`."""

    def __init__(self, height: int, width: int) -> None:
        # In how many frames each is lit, and in how many it is of more than one colour.
        self._rows, self._columns = np.zeros((2, height), int), np.zeros((2, width), int)
        self._counted = 0

    def feed(self, image_HW: np.ndarray) -> None:
        """Look at one frame."""
        if image_HW.mean() < _BRIGHT:
            return
        lit = image_HW > _BLACK
        rows = lit.mean(axis=1) >= _ROW
        self._rows += rows, _spreads(image_HW, ~rows)
        # Columns are judged on the rows that show picture: bars above and below would halve every column.
        if rows.any():
            columns = lit[rows].mean(axis=0) >= _ROW
            self._columns += columns, _spreads(image_HW[rows].T, ~columns)
        self._counted += 1

    def picture(self) -> Crop:
        """Top, left, height, width of what is not a bar."""
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
        least = _THINNEST * side
        return first if first > least else 0, last if side - last > least else side


def _spreads(lines: np.ndarray, dark: np.ndarray) -> np.ndarray:
    """Which of the lines (uint8 `N M`) that are `dark` (bool `N`) are of more than one colour in their darker half."""
    levels = np.sort(lines[dark, ::_SPARSE], axis=1).astype(int)
    count = levels.shape[1]
    spreads = np.zeros(len(lines), bool)
    spreads[dark] = levels[:, count // 2] - levels[:, count // 10] > _SPREADS
    return spreads
