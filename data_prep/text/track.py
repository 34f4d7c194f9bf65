"""Track a static text: its template, its presence in each frame, its first and last frame.

Burnt-in text adds the same signed gradients to every frame that shows it. Their mean over a few frames is the template
(after Dekel et al. 2017, who use it for watermarks). The projection of a frame's gradients onto the template is the
presence: 1 if the text is fully shown, about 0 if it is not shown, and its opacity while it fades in or out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np

Box = tuple[int, int, int, int]
"""Top, left, bottom, right; bottom and right exclusive; pixels of the analysed picture."""

TALLEST = 0.14
"""Greatest height of a line of text, as a share of the picture's height."""
# Least mean gradient (grey levels per pixel) and consistency (|mean| over mean of |.|) at the edge of a stroke.
_EDGE, _CONSISTENT = 6.0, 0.75
# Edges of a static background are weaker than the text's: least strength, as a share of the strongest in the box.
_RELATIVE = 0.3
# Least share of a box that edges of strokes cover; with less it is no text.
_COVER = 0.06
# From this presence on a text counts as shown; from this share above the background's level on, as a trace.
_SHOWN, _TRACE = 0.5, 0.10


@dataclass(frozen=True)
class TextEvent:
    """A text and the frames that show it, including traces while it fades."""

    start: int
    end: int
    """The frame after the last one."""
    box: Box
    covered: np.ndarray
    """bool `H W` of the box: the pixels that the text covers."""
    boxes: list[Box]
    """Boxes that are drawn behind the letters."""
    sure: bool
    """Whether there is evidence that it is burnt in."""


def gradients(image_HW: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Signed gradients, grey levels per pixel, float32 `2 H W`."""
    grads = np.empty((2, *image_HW.shape), np.float32) if out is None else out
    for axis, part in enumerate(grads):
        cv2.Sobel(image_HW, cv2.CV_32F, 1 - axis, axis, part, ksize=3, scale=0.125)
    return grads


@dataclass(frozen=True)
class Template:
    """The gradients that a text adds in its box."""

    box: Box
    edges: np.ndarray
    """bool `H W` of the box: pixels at edges of strokes."""
    values: np.ndarray
    """float32 `2 N`: mean gradients at those pixels."""
    weights: np.ndarray
    """float32 `H W` of the box: the presence is the sum of brightness times these weights."""

    @classmethod
    def learn(cls, images: Sequence[np.ndarray], box: Box, least: float = _EDGE, cover: float = _COVER) -> Self | None:
        """The template from grey pictures that show the text; None if the box has no static edges like those of text.

        `least` is the least mean gradient of an edge, `cover` the share of the box that edges must cover.
        """
        top, left, bottom, right = box
        grads = np.stack([gradients(image[top:bottom, left:right]) for image in images])
        mean = grads.mean(axis=0)
        size = np.hypot(*mean)
        consistency = size / (np.hypot(grads[:, 0], grads[:, 1]).mean(axis=0) + 1e-3)
        strong = max(least, _RELATIVE * float(np.percentile(size, 95)))
        edges = (size > strong) & (consistency > _CONSISTENT)
        if edges.sum() < max(24, cover * edges.size):
            return None
        values = mean[:, edges]  # float32 `2 N`
        return cls(box, edges, values, _adjoint(mean * edges) / float((values**2).sum()))

    def extent(self) -> Box:
        """The smallest box around the edges."""
        rows, columns = np.flatnonzero(self.edges.any(axis=1)), np.flatnonzero(self.edges.any(axis=0))
        top, left = self.box[0], self.box[1]
        return top + int(rows[0]), left + int(columns[0]), top + int(rows[-1]) + 1, left + int(columns[-1]) + 1

    def presence(self, image_HW: np.ndarray) -> float:
        """How strongly a grey picture shows the text."""
        top, left, bottom, right = self.box
        return float(np.vdot(image_HW[top:bottom, left:right].astype(np.float32), self.weights))


def _adjoint(fields: np.ndarray) -> np.ndarray:
    """The weights w, `H W`, with ⟨w, image⟩ = ⟨fields, gradients(image)⟩ for every image; `fields` is `2 H W`.

    Comparing a frame with a template is then one product, many times faster than computing the frame's gradients.
    """
    smooth, slope = np.array([1, 2, 1], np.float32), np.array([-1, 0, 1], np.float32) / 8
    dx, dy = (np.pad(field, 2) for field in fields)
    wide = cv2.sepFilter2D(dx, -1, -slope, smooth) + cv2.sepFilter2D(dy, -1, smooth, -slope)
    wide = wide[1:-1, 1:-1]
    # OpenCV's default mirrors a picture beyond its border without repeating the border row.
    for rows in (wide, wide.T):
        rows[2] += rows[0]
        rows[-3] += rows[-1]
    return np.ascontiguousarray(wide[1:-1, 1:-1])


def frames_shown(presences: Sequence[float]) -> int:
    """How many frames show at least a trace of the text, counted from the first one, which shows it fully.

    `presences` continue beyond the text's end. The level at which they settle there is that of the background: the
    template holds gradients of a static background too.
    """
    gone = _first_gone(presences)
    if gone is None:
        return len(presences)
    beyond = presences[gone + (len(presences) - gone) // 2 :]
    level = float(np.clip(np.median(beyond), -0.1, _SHOWN - 0.1))
    trace = level + _TRACE * (1 - level)
    shown = gone
    while shown < len(presences) and presences[shown] > trace:
        shown += 1
    return shown


def _first_gone(presences: Sequence[float]) -> int | None:
    """The first of three frames without the text; one or two such frames (flashes, damage) do not end it."""
    for number in range(len(presences)):
        if all(value < _SHOWN for value in presences[number : number + 3]):
            return number
    return None
