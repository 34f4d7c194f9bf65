"""Marks that are burnt in: logos in corners, marks that bounce or drift, tiles of stock agencies."""

from functools import partial

import cv2
import numpy as np
from numpy.random import Generator

from data_prep.finder_training.drawing import (
    Canvas,
    Drawer,
    corner,
    fitted,
    some_opacity,
    some_time,
)
from data_prep.finder_training.layers import Layer
from data_prep.finder_training.words import Look, ink_of


def logo(drawer: Drawer, rng: Generator, canvas: Canvas) -> list[Layer]:
    """A mark in a corner; it may pulse, turn or come and go."""
    size = int(canvas.short_side * np.exp(rng.uniform(np.log(0.035), np.log(0.25))))
    look = fitted(drawer.badge(rng, size), canvas)
    shown = some_time(rng, canvas, 0.8) * some_opacity(rng)
    place = corner(rng, look, canvas)
    if rng.random() < 0.06:
        shown = shown * (0.6 + 0.4 * np.sin(np.arange(canvas.count) * rng.uniform(0.3, 2) + rng.uniform(0, 6)))
    if rng.random() < 0.05 and min(look.alpha.shape) > 12:
        return [Layer(_turning(rng, look, canvas.count), np.tile(place, (canvas.count, 1)), shown)]
    return [Layer.fixed(look, place, shown)]


def _turning(rng: Generator, look: Look, count: int) -> list[Look]:
    """A mark that turns around its vertical axis."""
    height, width = look.alpha.shape
    looks = []
    for angle in np.arange(count) * rng.uniform(0.2, 1) + rng.uniform(0, 3):
        narrow = max(0.08, abs(np.cos(angle)))
        matrix = np.array([[narrow, 0, width * (1 - narrow) / 2], [0, 1, 0]])
        looks.append(look.warped(partial(cv2.warpAffine, M=matrix, dsize=(width, height))))
    return looks


def bouncing(drawer: Drawer, rng: Generator, canvas: Canvas) -> list[Layer]:
    """A mark that drifts, and turns back at the edges of the picture, or jumps from place to place."""
    size = int(canvas.short_side * rng.uniform(0.06, 0.25))
    look = fitted(drawer.badge(rng, size), canvas)
    top, left, bottom, right = ink_of(look)
    room = np.array([max(1, canvas.height - (bottom - top)), max(1, canvas.width - (right - left))])
    if rng.random() < 0.75:
        speed = rng.normal(0, 1, 2) * rng.choice([0.005, 0.02, 0.06]) * canvas.width
        way = rng.uniform(0, 1, 2) * room + np.arange(canvas.count)[:, None] * speed
        places = room - np.abs(room - way % (2 * room))
    else:
        every = int(rng.integers(3, 12))
        places = (rng.uniform(0, 1, (canvas.count, 2)) * room)[np.arange(canvas.count) // every * every]
    return [Layer([look] * canvas.count, places.astype(int) - [top, left], np.full(canvas.count, some_opacity(rng)))]


def tiles(drawer: Drawer, rng: Generator, canvas: Canvas) -> list[Layer]:
    """A mark or word all over the picture, often slanted and faint, as stock agencies put it."""
    size = int(canvas.short_side * rng.uniform(0.05, 0.2))
    one = drawer.badge(rng, size) if rng.random() < 0.4 else drawer.text(rng, max(8, size // 2), 1)
    top, left, bottom, right = ink_of(one)
    gap = int(size * rng.uniform(0.3, 2))
    tile = one.cut(slice(top, bottom), slice(left, right)).padded((gap, gap), (gap, gap))
    if max(tile.alpha.shape) < 2:
        return []
    side = int(1.5 * max(canvas.height, canvas.width))
    shift = int(tile.alpha.shape[1] * rng.uniform(0, 1))
    whole = tile.each(lambda part: _tiled(part, side, shift))
    angle = rng.choice([0, 0, -30, 30, 45, -45])
    height, width = whole.alpha.shape
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), float(angle), 1)
    matrix[:, 2] -= [(width - canvas.width) / 2, (height - canvas.height) / 2]
    look = whole.warped(partial(cv2.warpAffine, M=matrix, dsize=(canvas.width, canvas.height)))
    opacity = np.full(canvas.count, rng.uniform(0.12, 0.6))
    return [Layer.fixed(look, (0, 0), opacity)]


def _tiled(part: np.ndarray, side: int, shift: int) -> np.ndarray:
    """A part of a look again and again, over at least `side` pixels each way, every other row shifted."""
    height, width = part.shape[:2]
    row = np.hstack([part] * -(-side // width))
    return np.vstack([row if n % 2 == 0 else np.roll(row, shift, 1) for n in range(-(-side // height))])
