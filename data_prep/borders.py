"""Letterbox and pillarbox bars: rows and columns that never show picture, subtitles and logos inside them or not."""

import numpy as np

from data_prep.cropping import Crop

# A pixel brighter than this (grey levels) is picture; a row is picture in a frame if this share of its pixels is.
_BLACK, _ROW = 24, 0.5
# A row is picture if it is so in this share of the frames, of which only those with this mean brightness count.
_FRAMES, _BRIGHT = 0.05, 12.0
# Bars as thin as this share of the side are dark edges of the picture as often as not.
_THINNEST = 0.01


class BorderFinder:
    """Feed some frames of a video (grey, uint8 `H W`, full size), then ask for the `picture`."""

    def __init__(self, height: int, width: int) -> None:
        self._rows, self._columns = np.zeros(height, int), np.zeros(width, int)
        self._counted = 0

    def feed(self, image_HW: np.ndarray) -> None:
        """Look at one frame."""
        if image_HW.mean() < _BRIGHT:
            return
        lit = image_HW > _BLACK
        rows = lit.mean(axis=1) >= _ROW
        self._rows += rows
        # Columns are judged on the rows that show picture: bars above and below would halve every column.
        if rows.any():
            self._columns += lit[rows].mean(axis=0) >= _ROW
        self._counted += 1

    def picture(self) -> Crop:
        """Top, left, height, width of what is not a bar."""
        top, bottom = self._span(self._rows)
        left, right = self._span(self._columns)
        return top, left, bottom - top, right - left

    def _span(self, lit: np.ndarray) -> tuple[int, int]:
        side = len(lit)
        shown = np.flatnonzero(lit > _FRAMES * self._counted)
        if not self._counted or not len(shown):
            return 0, side
        first, last = int(shown[0]), int(shown[-1]) + 1
        least = _THINNEST * side
        return first if first > least else 0, last if side - last > least else side
