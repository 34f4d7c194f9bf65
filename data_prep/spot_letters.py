"""Where text may stand, by plain OpenCV: bright stable strokes in the shape of letters, in a row on one baseline."""

from collections import deque
from functools import reduce

import cv2
import numpy as np

from data_prep.text_track import Box

# Strokes: narrower than this share of the picture's height, and brighter than what is around them by this much.
_STROKE, _CONTRAST, _BRIGHT = 0.035, 30, 120
# Lowest letter that still has a shape, pixels.
_SMALLEST = 5
# Largest change of a stroke's brightness while it stands.
_STEADY = 60
# Height of a letter as shares of the picture's height; how much brighter than its outline it must be.
_LETTER, _OVER_OUTLINE = (0.015, 0.11), 45
# Highest row, as a share of the picture's height.
_TALLEST = 0.14
# Letters a row needs; mean contrast of a row, of a short row, and letters of a row that is not short.
_LETTERS, _ROW_CONTRAST, _SHORT_CONTRAST, _LONG_ROW = 4, 60, 75, 8
# How far the letters of a row may spread around their common top or bottom line, in heights of a letter.
_SPREAD = 0.45


class LetterSpotter:
    """Feed grey pictures some frames apart; finds rows of letters that stand still in the last few of them."""

    def __init__(self, window: int) -> None:
        self._window: deque[tuple[np.ndarray, np.ndarray]] = deque(maxlen=window)

    def feed(self, image_HW: np.ndarray) -> list[Box]:
        """Boxes of rows in the window that ends with this picture (uint8 `H W`)."""
        height = image_HW.shape[0]
        side = max(5, round(_STROKE * height)) | 1
        kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (side, side))
        self._window.append((image_HW, cv2.morphologyEx(image_HW, cv2.MORPH_TOPHAT, kernel)))
        if len(self._window) < self._window.maxlen:
            return []
        images, hats = zip(*self._window, strict=True)
        darkest, brightest = reduce(cv2.min, images), reduce(cv2.max, images)
        strokes = (reduce(cv2.min, hats) > _CONTRAST) & (darkest > _BRIGHT)
        strokes &= cv2.subtract(brightest, darkest) < _STEADY
        return _rows(_letters(strokes.astype(np.uint8), darkest, height), height)


def _letters(strokes: np.ndarray, image: np.ndarray, height: int) -> np.ndarray:
    """Left, top, width, height and contrast of the components that look like letters or parts of them, int `N 5`."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(strokes, connectivity=8)
    if count <= _LETTERS:
        return np.zeros((0, 5), int)
    widths, heights, areas = stats[:, cv2.CC_STAT_WIDTH], stats[:, cv2.CC_STAT_HEIGHT], stats[:, cv2.CC_STAT_AREA]
    lowest, highest = max(_SMALLEST, _LETTER[0] * height), _LETTER[1] * height
    fits = (heights >= lowest) & (heights <= highest) & (widths <= 0.2 * height)
    fits &= (areas >= 6) & (areas <= 0.9 * widths * heights + 8)
    fits[0] = False
    if fits.sum() < _LETTERS:
        return np.zeros((0, 5), int)
    # Mean brightness of each component and of the pixels around it that belong to none.
    wide = np.ones((5, 5), np.uint8)
    around = cv2.dilate(labels.astype(np.uint16 if count <= np.iinfo(np.uint16).max else np.float32), wide)
    inside = _means(labels, strokes, image, count)
    border = _means(around, cv2.dilate(strokes, wide) - strokes, image, count)
    fits &= inside - border >= _OVER_OUTLINE
    return np.column_stack([stats[fits, :4], (inside - border)[fits].astype(int)])


def _means(labels: np.ndarray, where: np.ndarray, image: np.ndarray, count: int) -> np.ndarray:
    """Mean brightness of each label's pixels, of those where `where` is not 0."""
    pixels = np.flatnonzero(where)
    found = labels.ravel()[pixels].astype(np.int32)
    return np.bincount(found, image.ravel()[pixels], count) / np.maximum(np.bincount(found, None, count), 1)


def _rows(letters: np.ndarray, height: int) -> list[Box]:
    """Boxes of letters that follow one another on a line: near each other, alike in height, overlapping in height."""
    boxes: list[Box] = []
    remaining = sorted(map(tuple, letters.tolist()))
    while remaining:
        row = [remaining.pop(0)]
        grown = True
        while grown:
            grown = False
            for letter in list(remaining):
                if _continues(row, letter):
                    row.append(letter)
                    remaining.remove(letter)
                    grown = True
        box = _text_box(row, height)
        if box is not None:
            boxes.append(box)
    return boxes


def _text_box(row: list[tuple[int, ...]], height: int) -> Box | None:
    """The box of a row of letters, or None if they do not stand like written ones."""
    left, top, wide, tall, contrast = np.array(row).T
    spread = min(top.std(), (top + tall).std()) / np.median(tall)
    needed = _ROW_CONTRAST if len(row) >= _LONG_ROW else _SHORT_CONTRAST
    if len(row) < _LETTERS or contrast.mean() < needed or spread > _SPREAD:
        return None
    box = (int(top.min()), int(left.min()), int((top + tall).max()), int((left + wide).max()))
    line = box[2] - box[0]
    return box if box[3] - box[1] > 1.5 * line and line < _TALLEST * height else None


def _continues(row: list[tuple[int, ...]], letter: tuple[int, ...]) -> bool:
    left, top, _, tall = letter[:4]
    row_top, row_bottom = min(r[1] for r in row), max(r[1] + r[3] for r in row)
    line = max(r[3] for r in row)
    gap = left - max(r[0] + r[2] for r in row)
    overlap = min(row_bottom, top + tall) - max(row_top, top)
    grown = max(row_bottom, top + tall) - min(row_top, top)
    return gap < 1.6 * max(line, tall) and overlap > 0.5 * min(tall, line) and grown < 1.9 * max(line, tall)
