"""Draw marks and words, and place them in a picture."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator

from data_prep.finder_training.layers import times
from data_prep.finder_training.words import Look, Words, empty, ink_of, styled
from vidboot.errors import UserError


@dataclass(frozen=True)
class Canvas:
    """Size of the picture and number of frames."""

    height: int
    width: int
    count: int

    @property
    def short_side(self) -> int:
        """The smaller of height and width."""
        return min(self.height, self.width)


class Drawer:
    """Draws things that are burnt in, with the fonts and the marks of a folder."""

    def __init__(self, folder: Path) -> None:
        self.words = Words(folder / "fonts")
        if not (folder / "marks.npz").is_file():
            raise UserError(f"{folder} has no marks.npz with marks to burn in (an array alpha, uint8 N 128 128)")
        with np.load(folder / "marks.npz") as file:
            self.marks = file["alpha"]

    def mark(self, rng: Generator, size: int, plain: bool = False) -> Look:
        """A brand mark or icon with the longer side `size`, sometimes turned, hollow or in two colours."""
        ink = self.marks[rng.integers(len(self.marks))]
        rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
        if not len(rows):
            return empty()
        ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.float32) / 255
        scale = size / max(ink.shape)
        ink = cv2.resize(ink, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
        ink = np.pad(np.clip(ink, 0, 1), max(3, size // 4))
        around = None
        if rng.random() < 0.2:
            width = 2 * max(1, round(size * rng.uniform(0.02, 0.06))) + 1
            around = cv2.dilate(ink, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width)))
        if rng.random() < 0.12 and size > 24:
            ink = np.clip(ink - cv2.erode(ink, np.ones((3, 3), np.uint8)), 0, 1)
        return styled(rng, ink, around, max(6, size // 3), plain)

    def badge(self, rng: Generator, size: int) -> Look:
        """A mark, a word, or a mark with a word beside or below it."""
        kind = rng.random()
        if kind < 0.4:
            return self.mark(rng, size)
        text = self.text(rng, max(7, size // int(rng.integers(2, 5))), int(rng.choice([1, 2, 3], p=[0.6, 0.3, 0.1])))
        if kind < 0.7:
            return text
        return beside(self.mark(rng, size), text) if rng.random() < 0.6 else below(self.mark(rng, size), text)

    def text(self, rng: Generator, height: int, words: int, lines: int = 1, plain: bool = False) -> Look:
        """Random lines of text."""
        font = self.words.font(rng)
        return self.words.picture(rng, font, [self.words.line(rng, font, words) for _ in range(lines)], height, plain)


def beside(one: Look, other: Look) -> Look:
    """Two looks side by side, their middles in a line."""
    height = max(one.alpha.shape[0], other.alpha.shape[0])
    return _joined(np.hstack, *(_in_frame(look, height, look.alpha.shape[1]) for look in (one, other)))


def below(one: Look, other: Look) -> Look:
    """One look above the other, their middles in a column."""
    width = max(one.alpha.shape[1], other.alpha.shape[1])
    return _joined(np.vstack, *(_in_frame(look, look.alpha.shape[0], width) for look in (one, other)))


def _joined(join: Callable[[list[np.ndarray]], np.ndarray], one: Look, other: Look) -> Look:
    return Look(join([one.colour, other.colour]), join([one.alpha, other.alpha]), join([one.area, other.area]))


def _in_frame(look: Look, height: int, width: int) -> Look:
    rows, columns = height - look.alpha.shape[0], width - look.alpha.shape[1]
    return look.padded((rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2))


def fitted(look: Look, canvas: Canvas) -> Look:
    """The look, made smaller if it is wider or higher than the picture."""
    top, left, bottom, right = ink_of(look)
    scale = min(1.0, 0.98 * canvas.width / (right - left), 0.98 * canvas.height / (bottom - top))
    if scale == 1.0:
        return look
    return look.warped(lambda part: cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), 0.4)


def placed(look: Look, canvas: Canvas, y: float, x: float, margin: tuple[int, int] = (0, 0)) -> tuple[int, int]:
    """Place of a look whose ink lies at the share y, x (0 to 1) of the room that the picture leaves it."""
    top, left, bottom, right = ink_of(look)
    rows = canvas.height - 2 * margin[0] - (bottom - top)
    columns = canvas.width - 2 * margin[1] - (right - left)
    return round(margin[0] + y * rows) - top, round(margin[1] + x * columns) - left


def corner(rng: Generator, look: Look, canvas: Canvas) -> tuple[int, int]:
    """A corner, seldom the middle of a side or anywhere; corners at the top right and bottom right most of all."""
    margin = int(canvas.short_side * rng.uniform(0, 0.1)), int(canvas.short_side * rng.uniform(0, 0.1))
    y: float
    x: float
    if rng.random() < 0.85:
        y, x = [(0, 1), (1, 1), (0, 0), (1, 0)][rng.choice(4, p=[0.35, 0.3, 0.2, 0.15])]
    elif rng.random() < 0.5:
        y, x = [(0, 0.5), (1, 0.5), (0.5, 0), (0.5, 1), (0.5, 0.5)][rng.integers(5)]
    else:
        y, x = rng.uniform(0, 1, 2)
    return placed(look, canvas, y, x, margin)


def some_opacity(rng: Generator) -> float:
    """From opaque, which is the most common, to 15 %."""
    return 1.0 if rng.random() < 0.45 else float(rng.uniform(0.15, 1))


def some_time(rng: Generator, canvas: Canvas, always: float) -> np.ndarray:
    """Opacity over time: there all along with probability `always`, else for a part of the time."""
    if rng.random() < always:
        return np.ones(canvas.count)
    first = int(rng.integers(-canvas.count // 2, canvas.count))
    last = first + int(rng.integers(1, canvas.count + 1))
    return times(canvas.count, first, last, int(rng.choice([0, 1, 3], p=[0.6, 0.2, 0.2])))
