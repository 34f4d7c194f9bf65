"""Find tickers: text that scrolls across the picture. No mask fits it, so it is reported.

A few times per second, rows of letters are searched for in a single frame, and the row's motion since the frame before
is compared with the motion of the picture above and below it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from data_prep.text.letters import LetterFinder

# Least share of the picture's width that a ticker's letters span; least response of the phase correlation.
_WIDE, _CLEAR = 0.3, 0.15
# Pixels per frame: least speed, least difference from the scene's, largest change of speed, largest vertical speed.
_RUNS, _FASTER, _STEADY, _LEVEL = 0.7, 0.7, 0.5, 0.4
# Samples that must agree; samples that may fail in between.
_LOOKS, _LOST = 5, 3


@dataclass(frozen=True)
class Ticker:
    """First and last sample that shows it (frame numbers, `end` exclusive), and the rows of pixels that it covers."""

    start: int
    end: int
    top: int
    bottom: int


class TickerFinder:
    """Feed pairs of neighbouring frames (grey, uint8 `H W`) a few times per second, then call `tickers`."""

    def __init__(self) -> None:
        self._rows: list[list[tuple[int, int, int, float]]] = []
        self._look = 0
        self._seen: list[int] = []

    def feed(self, number: int, image_HW: np.ndarray, before_HW: np.ndarray) -> None:
        """Take the frame `number` and the one before it."""
        self._look += 1
        # While nothing scrolls, every second sample is enough.
        if self._look % 2 == 0 and all(self._look - seen > _LOST for seen in self._seen):
            return
        for image in (image_HW, 255 - image_HW):
            for top, left, bottom, right in LetterFinder(1).feed(image):
                if right - left >= _WIDE * image.shape[1]:
                    speed = _own_speed(image_HW, before_HW, top, bottom)
                    if speed is not None:
                        self._note(number, top, bottom, speed)

    def _note(self, number: int, top: int, bottom: int, speed: float) -> None:
        for place, row in enumerate(self._rows):
            _, first, last, known = row[-1]
            same = min(bottom, last) - max(top, first) > 0.5 * (last - first)
            if same and abs(speed - known) < _STEADY and self._look - self._seen[place] <= _LOST:
                row.append((number, top, bottom, speed))
                self._seen[place] = self._look
                return
        self._rows.append([(number, top, bottom, speed)])
        self._seen.append(self._look)

    def tickers(self) -> list[Ticker]:
        """What scrolled steadily, in order."""
        long = [row for row in self._rows if len(row) >= _LOOKS]
        tops = [(min(r[1] for r in row), max(r[2] for r in row)) for row in long]
        found = [Ticker(row[0][0], row[-1][0] + 1, *edges) for row, edges in zip(long, tops, strict=True)]
        return sorted(found, key=lambda t: (t.start, t.top))


def _own_speed(image: np.ndarray, before: np.ndarray, top: int, bottom: int) -> float | None:
    """Horizontal speed of these rows, pixels per frame; None if they are static or move with what is around them."""
    x, y, clear = _shift(image[top:bottom], before[top:bottom])
    if abs(x) < _RUNS or abs(y) > _LEVEL or clear < _CLEAR:
        return None
    line = bottom - top
    near = [np.s_[max(0, top - 4 * line) : max(0, top - line)], np.s_[bottom + line : bottom + 4 * line]]
    for rows in near:
        if image[rows].shape[0] >= line:
            scene, _, clear = _shift(image[rows], before[rows])
            if clear >= _CLEAR and abs(scene - x) < _FASTER:
                return None
    return x


def _shift(image: np.ndarray, before: np.ndarray) -> Sequence[float]:
    """Pixels to the right and down by which a picture has moved since the one before, and the response (0 to 1)."""
    window = cv2.createHanningWindow(image.shape[::-1], cv2.CV_32F)
    (x, y), clear = cv2.phaseCorrelate(before.astype(np.float32), image.astype(np.float32), window)
    return x, y, clear
