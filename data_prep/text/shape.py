"""The pixels that a tracked text covers: its strokes with a margin, and the dark box that was drawn behind it."""

from collections.abc import Sequence

import cv2
import numpy as np

from data_prep.text.track import Box, Template, gradients

# Margin around strokes for outline, shadow and compression blur; half of the widest gap that is filled; pixels.
_MARGIN, _CLOSE = 3, 4
# Least strength of edges in the final shape, as a share of the mean strength of the letters' edges.
_STROKE_EDGE = 0.2
# How far beyond the letters a drawn box may reach, in line heights: above and below (for more lines), and at the sides.
_REACH, _REACH_SIDE = 3.0, 2.0
# Letters that are added to the first ones: least strength of their edges, as a share of the first ones' mean; least
# share of a strip that the edges cover; most steps.
_GROWN_EDGE, _GROWN_COVER, _STEPS = 0.4, 0.015, 16
# A box larger than this share of the picture has grown into the scene.
_LARGEST = 0.15
# An edge of a drawn box: least gradient of the mean picture (grey levels per pixel), on this share of its length.
_EDGE, _LENGTH = 2.0, 0.5
# A dark box darkens the picture under it by at least so many grey levels and this share of the brightness: in at least
# this share of its rows and columns, and in at most this share of what is around it.
_DARKER, _DARKER_SHARE, _INSIDE, _OUTSIDE = 4.0, 0.2, 0.6, 0.3


def text_shape(
    letters: Box,
    strength: float,
    shown: Sequence[np.ndarray],
    hidden: Sequence[np.ndarray],
    boxes: Sequence[Box],
) -> tuple[Box, np.ndarray]:
    """The covered box and the covered pixels in it (bool `H W`).

    `letters` is the box of all letters, `strength` the mean gradient of their edges. `shown` are some grey pictures
    with the text, `hidden` some of the same scene without it, `boxes` the boxes drawn behind it.
    """
    height, width = shown[0].shape
    pad = _MARGIN + 1
    box = _clip((letters[0] - pad, letters[1] - pad, letters[2] + pad, letters[3] + pad), height, width)
    covered = _strokes(box, strength, shown, hidden)
    for drawn in boxes:
        drawn = _clip((drawn[0] - 2, drawn[1] - 2, drawn[2] + 2, drawn[3] + 2), height, width)
        whole = _union(box, drawn)
        larger = np.zeros((whole[2] - whole[0], whole[3] - whole[1]), bool)
        larger[box[0] - whole[0] : box[2] - whole[0], box[1] - whole[1] : box[3] - whole[1]] = covered
        larger[drawn[0] - whole[0] : drawn[2] - whole[0], drawn[1] - whole[1] : drawn[3] - whole[1]] = True
        box, covered = whole, larger
    return box, covered


def _strokes(box: Box, strength: float, shown: Sequence[np.ndarray], hidden: Sequence[np.ndarray]) -> np.ndarray:
    """Edges that are static in `shown` and absent in `hidden`, with gaps filled and a margin."""
    part = Template.learn(shown, box, _STROKE_EDGE * strength, 0.0)
    edges = np.zeros((box[2] - box[0], box[3] - box[1]), np.uint8)
    if part is None:
        return ~edges.astype(bool)
    rows, columns = np.nonzero(part.edges)
    new = np.ones(len(rows), bool)
    for image in hidden:
        before = gradients(image[box[0] : box[2], box[1] : box[3]])[:, part.edges]
        new &= np.hypot(*(before - part.values)) > 0.5 * np.hypot(*part.values)
    edges[rows[new], columns[new]] = 1
    filled = cv2.morphologyEx(edges, cv2.MORPH_CLOSE, _disc(_CLOSE), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return filled_outlines(filled, _MARGIN)


def filled_outlines(edges: np.ndarray, margin: int) -> np.ndarray:
    """Pixels within a margin of `edges` (uint8 `H W`) or enclosed by them, as the area of a box is by its frame."""
    wide = cv2.dilate(edges, _disc(margin))
    outlines, _ = cv2.findContours(wide, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(wide, outlines, -1, 1, cv2.FILLED) > 0


def _disc(radius: int) -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))


def grow_letters(letters: Box, strength: float, shown: Sequence[np.ndarray], hidden: Sequence[np.ndarray]) -> Box:
    """The letters' box, enlarged by what appears and disappears together with it at the sides, above and below.

    `shown` are grey pictures with the text, `hidden` some of the same scene without it. Letters in front of a bright
    background are not detected, but appear and disappear with the others.
    """
    height, width = shown[0].shape
    line = letters[2] - letters[0]
    highest, lowest = letters[0] - round(_REACH * line), letters[2] + round(_REACH * line)
    least = _GROWN_EDGE * strength
    for _ in range(_STEPS):
        top, left, bottom, right = grown = letters
        for strip in [
            (top - 2, left - line, bottom + 2, left),
            (top - 2, right, bottom + 2, right + line),
            (max(top - round(1.4 * line), highest), left - 2 * line, top, right + 2 * line),
            (bottom, left - 2 * line, min(bottom + round(1.4 * line), lowest), right + 2 * line),
        ]:
            strip = _clip(strip, height, width)
            if min(strip[2] - strip[0], strip[3] - strip[1]) < 4:
                continue
            part = Template.learn(shown, strip, least, _GROWN_COVER)
            if part is None or any(part.presence(image) > 0.5 for image in hidden):
                continue
            grown = _union(grown, part.extent())
        if grown == letters:
            break
        if (grown[2] - grown[0]) * (grown[3] - grown[1]) > _LARGEST * height * width:
            break
        letters = grown
    return letters


def drawn_box(letters: Box, mean_HW: np.ndarray) -> Box | None:
    """The box behind the letters, if the mean picture shows its four edges, with the dark side inside."""
    height, width = mean_HW.shape
    top, left, bottom, right = letters
    line = bottom - top
    reach, side = round(_REACH * line), round(_REACH_SIDE * line)
    area = _clip((top - reach, left - side, bottom + reach, right + side), height, width)
    dx, dy = gradients(mean_HW[area[0] : area[2], area[1] : area[3]])
    y0, x0, y1, x1 = top - area[0], left - area[1], bottom - area[0], right - area[1]
    upper = _edge(-dy[:y0, x0:x1].T, last=True)
    lower = _edge(dy[y1:, x0:x1].T, last=False)
    if upper is None or lower is None:
        return None
    lower += y1
    before = _edge(-dx[upper + 2 : lower - 1, :x0], last=True)
    after = _edge(dx[upper + 2 : lower - 1, x1:], last=False)
    if before is None or after is None:
        return None
    return area[0] + upper, area[1] + before, area[0] + lower + 1, area[1] + x1 + after + 1


def _edge(darkening: np.ndarray, last: bool) -> int | None:
    """The column where most rows get darker towards the text; among nearly equal ones, the nearest to the text."""
    if darkening.size == 0 or darkening.shape[0] < 4:
        return None
    share = (darkening > _EDGE).mean(axis=0)
    if share.max() < _LENGTH:
        return None
    good = np.flatnonzero(share >= max(_LENGTH, share.max() - 0.1))
    return int(good[-1] if last else good[0])


def darkened_box(letters: Box, shown_HW: np.ndarray, hidden_HW: np.ndarray, others: Sequence[Box] = ()) -> Box | None:
    """The box behind the letters, if the picture gets darker there, and not around it, when the text appears.

    `shown_HW` and `hidden_HW` are grey pictures with and without the text, a few frames apart in one shot; `others` are
    boxes drawn behind another text in `hidden_HW`.
    """
    top, left, bottom, right = letters
    line = bottom - top
    # Rows only: a box may be as wide as the picture.
    first = max(0, top - round(_REACH * line))
    window = np.s_[first : bottom + round(_REACH * line)]
    # Blurred, because the scene may have moved a little between the two.
    shown, hidden = (cv2.blur(image[window].astype(np.float32), (5, 5)) for image in (shown_HW, hidden_HW))
    least = np.maximum(_DARKER, _DARKER_SHARE * hidden)
    darker = hidden - shown > least
    beyond = np.ones(darker.shape, bool)
    for box in others:
        # The other box had darkened these pixels already: those that stay dark lie in both boxes.
        both = np.s_[max(0, box[0] - first) : max(0, box[2] - first), box[1] : box[3]]
        darker[both] |= shown[both] - hidden[both] <= least[both]
        beyond[both] = False
    # Fill the holes that the letters leave.
    padded = np.pad(darker.astype(np.uint8), line)
    whole = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, np.ones((line | 1, line | 1), np.uint8))[line:-line, line:-line]
    rows = _run(whole[:, left:right].mean(axis=1), (top + bottom) // 2 - first)
    if rows[0] == 0 or rows[1] - rows[0] < line:
        return None
    columns = _run(whole[rows[0] : rows[1]].mean(axis=0), (left + right) // 2)
    inside = darker[rows[0] : rows[1], columns[0] : columns[1]]
    if inside.shape[1] < 0.8 * (right - left):
        return None
    # The outlines of letters darken the picture too, but not along four straight edges.
    edges = [inside[1:4], inside[-4:-1]]
    edges += [inside[:, 1:4]] * (columns[0] > 0) + [inside[:, -4:-1]] * (columns[1] < darker.shape[1])
    beyond[max(0, rows[0] - 3) : rows[1] + 3, max(0, columns[0] - 3) : columns[1] + 3] = False
    if min(edge.mean() for edge in edges) < _INSIDE or (beyond.any() and darker[beyond].mean() > _OUTSIDE):
        return None
    return first + rows[0], columns[0], first + rows[1], columns[1]


def _run(share: np.ndarray, middle: int) -> tuple[int, int]:
    """First and last (exclusive) index of the run around `middle` in which the share is high."""
    first = last = middle
    while first > 0 and share[first - 1] >= _INSIDE:
        first -= 1
    while last < len(share) and share[last] >= _INSIDE:
        last += 1
    return first, last


def _union(one: Box, other: Box) -> Box:
    """The smallest box around both."""
    return min(one[0], other[0]), min(one[1], other[1]), max(one[2], other[2]), max(one[3], other[3])


def _clip(box: Box, height: int, width: int) -> Box:
    return max(0, box[0]), max(0, box[1]), min(height, box[2]), min(width, box[3])
