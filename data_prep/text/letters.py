"""Find where text may be with OpenCV alone: static bright strokes in the shape of letters, in a row on one line."""

from collections import deque
from functools import reduce

import cv2
import numpy as np

from data_prep.text.track import TALLEST, Box

# Strokes: widest, as a share of the picture's height; least contrast with their surroundings, least brightness.
_STROKE, _CONTRAST, _BRIGHT = 0.035, 30, 120
# Least height of a letter, pixels: below it, its shape can't be recognised.
_SMALLEST = 5
# Largest change of a stroke's brightness over the window.
_STEADY = 60
# Least and greatest height of a letter, as shares of the picture's; least contrast with the pixels around it.
_LETTER, _OVER_OUTLINE = (0.015, 0.11), 45
# Fewest letters of a row; least mean contrast of a long row and of a short one; fewest letters of a long row.
_LETTERS, _ROW_CONTRAST, _SHORT_CONTRAST, _LONG_ROW = 4, 60, 75, 8
# Largest spread (standard deviation) of the letters' tops or bottoms in a row, in heights of a letter.
_SPREAD = 0.45


class LetterFinder:
    """Feed grey pictures some frames apart; finds rows of letters that are static in the last `window` of them."""

    def __init__(self, window: int) -> None:
        self._length = window
        self._window: deque[tuple[np.ndarray, np.ndarray]] = deque(maxlen=window)

    def feed(self, image_HW: np.ndarray) -> list[Box]:
        """Boxes of rows of letters in the window that ends with this picture (uint8 `H W`)."""
        height = image_HW.shape[0]
        side = max(5, round(_STROKE * height)) | 1
        kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (side, side))
        self._window.append((image_HW, cv2.morphologyEx(image_HW, cv2.MORPH_TOPHAT, kernel)))
        if len(self._window) < self._length:
            return []
        images, hats = zip(*self._window, strict=True)
        darkest, brightest = reduce(cv2.min, images), reduce(cv2.max, images)
        strokes = (reduce(cv2.min, hats) > _CONTRAST) & (darkest > _BRIGHT)
        strokes &= cv2.subtract(brightest, darkest) < _STEADY
        return _rows(_letters(strokes.view(np.uint8), darkest, height), height)


def _letters(strokes: np.ndarray, image: np.ndarray, height: int) -> np.ndarray:
    """Left, top, width, height and contrast of the components that look like letters or parts of them, int `N 5`."""
    # OpenCV's default algorithm takes three times as long; 32-bit labels where 16 suffice take 1.5 times as long.
    kind = cv2.CV_16U if cv2.countNonZero(strokes) <= np.iinfo(np.uint16).max else cv2.CV_32S
    count, labels, stats, _ = cv2.connectedComponentsWithStatsWithAlgorithm(strokes, 8, kind, cv2.CCL_BBDT)
    widths, heights, areas = stats[:, cv2.CC_STAT_WIDTH], stats[:, cv2.CC_STAT_HEIGHT], stats[:, cv2.CC_STAT_AREA]
    lowest, highest = max(_SMALLEST, _LETTER[0] * height), _LETTER[1] * height
    fits = (heights >= lowest) & (heights <= highest) & (widths <= 0.2 * height)
    fits &= (areas >= 6) & (areas <= 0.9 * widths * heights + 8)
    fits[0] = False
    # Too few for a row, or more than 16 bits can number, which is noise.
    if not _LETTERS <= (found := int(fits.sum())) <= np.iinfo(np.uint16).max:
        return np.zeros((0, 5), int)
    numbers = np.zeros(count, np.uint16)
    numbers[fits] = np.arange(1, found + 1)
    own = np.zeros(strokes.shape, np.uint16)
    pixels = _pixels(strokes)
    own.ravel()[pixels] = numbers[labels.ravel()[pixels]]
    # Mean brightness of each component, and of the pixels around it that belong to no component.
    inside = _means(own, image, found)
    beside = cv2.dilate(own, np.ones((5, 5), np.uint8))
    beside *= 1 - strokes
    border = _means(beside, image, found)
    stands_out = inside - border >= _OVER_OUTLINE
    return np.column_stack([stats[fits, :4], (inside - border).astype(int)])[stands_out]


def _means(labels: np.ndarray, image: np.ndarray, count: int) -> np.ndarray:
    """Mean brightness of the pixels of each label from 1 to `count`."""
    pixels = _pixels(labels)
    found = labels.ravel()[pixels]
    sums = np.bincount(found, image.ravel()[pixels], count + 1)
    return (sums / np.maximum(np.bincount(found, None, count + 1), 1))[1:]


def _pixels(image: np.ndarray) -> np.ndarray:
    """Flat indices of the pixels that are not 0, like `np.flatnonzero`, in a third of the time."""
    found = cv2.findNonZero(image)
    return np.zeros(0, np.int32) if found is None else found.reshape(-1, 2) @ np.array([1, image.shape[1]])


def _rows(letters: np.ndarray, height: int) -> list[Box]:
    """Boxes of rows: letters of similar height, near each other, whose vertical extents overlap."""
    boxes: list[Box] = []
    remaining = sorted(map(tuple, letters.tolist()))
    highest = max((letter[3] for letter in remaining), default=0)
    while remaining:
        row, remaining = _split_row(remaining, highest)
        box = _text_box(row, height)
        if box is not None:
            boxes.append(box)
    return boxes


def _split_row(letters: list[tuple[int, ...]], highest: int) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """Split letters (from left to right) into the row of the first one and the rest; `highest`: the largest height."""
    row, others = [letters[0]], letters[1:]
    left, row_top, wide, line = letters[0][:4]
    row_bottom, right = row_top + line, left + wide
    before = 0
    while before < len(row):
        before, rest = len(row), []
        for place, letter in enumerate(others):
            left, top, wide, tall = letter[:4]
            if left - right >= 1.6 * highest:
                # Too far for a letter of any height, and so are all that follow: noise gives thousands.
                rest += others[place:]
                break
            tallest = max(line, tall)
            upper, lower = min(row_top, top), max(row_bottom, top + tall)
            overlap = min(row_bottom, top + tall) - max(row_top, top)
            if left - right < 1.6 * tallest and overlap > 0.5 * min(tall, line) and lower - upper < 1.9 * tallest:
                row.append(letter)
                row_top, row_bottom, line, right = upper, lower, tallest, max(right, left + wide)
            else:
                rest.append(letter)
        others = rest
    return row, others


def _text_box(row: list[tuple[int, ...]], height: int) -> Box | None:
    """The box of a row of letters, or None if their number, contrast or alignment is not that of text."""
    if len(row) < _LETTERS:
        return None
    left, top, wide, tall, contrast = np.array(row).T
    spread = min(top.std(), (top + tall).std()) / np.median(tall)
    needed = _ROW_CONTRAST if len(row) >= _LONG_ROW else _SHORT_CONTRAST
    if contrast.mean() < needed or spread > _SPREAD:
        return None
    box = (int(top.min()), int(left.min()), int((top + tall).max()), int((left + wide).max()))
    line = box[2] - box[0]
    return box if box[3] - box[1] > 1.5 * line and line < TALLEST * height else None
