"""A sheet of composites with their labels outlined: what the finder learns from."""

from collections.abc import Sequence

import cv2
import numpy as np

from data_prep.finder_training.composite import Composite
from data_prep.finder_training.compression import planes_to_bgr

# Width of the sheet, about the height of its rows, and the gap between pictures, pixels.
_WIDTH, _HEIGHT, _GAP = 1640, 280, 8
_GROUND, _INK, _OUTLINE = (32, 32, 32), (200, 200, 200), (90, 255, 90)


def sheet(composites: Sequence[Composite], heading: str) -> np.ndarray:
    """The composites side by side, in rows of one width, below a heading: BGR uint8 `H W 3`."""
    band = np.full((36, _WIDTH, 3), _GROUND, np.uint8)
    cv2.putText(band, heading, (_GAP, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.5, _INK, 1, cv2.LINE_AA)
    rows = [_drawn(row, room) for row, room in _rows(composites)]
    return np.vstack([band, *rows])


def outlined(composite: Composite, height: int, width: int) -> np.ndarray:
    """The picture at this size, with an outline around all that is burnt in: BGR uint8."""
    picture = planes_to_bgr((composite.picture.grey, *composite.picture.colours))
    picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    label = cv2.resize(composite.burnt_in, (width, height), interpolation=cv2.INTER_NEAREST)
    # The outline runs beside what is burnt in, not over it.
    label = cv2.dilate(label, np.ones((7, 7), np.uint8))
    outlines, _ = cv2.findContours(label, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    for colour, thickness in (((0, 0, 0), 3), (_OUTLINE, 1)):
        cv2.drawContours(picture, outlines, -1, colour, thickness)
    return picture


def _rows(composites: Sequence[Composite]) -> list[tuple[list[Composite], float]]:
    """The composites in rows, and for each row the width that its pictures fill; the last one may be shorter."""
    rows: list[tuple[list[Composite], float]] = []
    row: list[Composite] = []
    for composite in composites:
        row.append(composite)
        room = _WIDTH - _GAP * (len(row) + 1)
        if sum(map(_ratio, row)) * _HEIGHT >= room:
            rows.append((row, room))
            row = []
    return [*rows, (row, sum(map(_ratio, row)) * _HEIGHT)] if row else rows


def _ratio(composite: Composite) -> float:
    height, width = composite.picture.grey.shape
    return width / height


def _drawn(row: list[Composite], room: float) -> np.ndarray:
    """One row: its pictures have one height, at which together they are as wide as `room`."""
    height = round(room / sum(map(_ratio, row)))
    drawn, left = np.full((height + _GAP, _WIDTH, 3), _GROUND, np.uint8), _GAP
    for composite in row:
        width = min(round(height * _ratio(composite)), _WIDTH - left)
        drawn[:height, left : left + width] = outlined(composite, height, width)
        left += width + _GAP
    return drawn
