"""Find what moves over a picture evenly and keeps its shape, such as a mark that bounces: the velocities at which edges
of one picture are found again in those before and after it.

All velocities are tried. For each, of the edges of one picture those are left that the pictures beside it show as well,
shifted by as much. Where many are left close together, more than at other velocities, something moves at this one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt16

from data_prep.finder.orientations import Bits, across

# Greatest velocity that is tried, pixels at half the network's size from sample to sample: at five samples a second,
# 200 of the network's pixels a second.
_FASTEST = 20
# Fewest pixels of edges that move together, as `_sparse` leaves a quarter of them: a mark of three small letters.
_FEWEST = 15
# Height and width of a cell, pixels; two by two cells hold the edges that are counted together.
_CELL = 8, 16
# Movers whose velocities differ by less than this, and which are nearer than this, pixels, are the same.
_SLOWER, _NEAR = 6, 30
# Gap of a mover's edges that is closed (height, width), and its greatest reach from its middle, pixels.
_GAP, _REACH = (7, 13), (24, 48)
# A mover is followed as long as this share of its edges is found again, within so many pixels of where it should be,
# and the second share of it is inside the picture; by about so many of its edges.
_FOUND, _SEARCHED, _INSIDE, _ENOUGH = 0.6, 3, 0.7, 200

Place = tuple[int, int]
"""x and y."""


@dataclass(frozen=True)
class Mover:
    """Edges that move together, in pixels at half the network's size."""

    velocity: Place
    """From sample to sample."""
    rows: Int[np.ndarray, "n"]
    columns: Int[np.ndarray, "n"]
    bits: UInt16[np.ndarray, "n"]


@cache
def _velocities() -> list[tuple[int, int, np.uint16]]:
    """All that are tried, x and y, each with the bits of the edges that show it."""
    steps = range(-_FASTEST, _FASTEST + 1)
    return [(x, y, across((x, y))) for y in steps for x in steps if 0 < x * x + y * y <= _FASTEST**2]


def movers(edges_hw: Bits, beside: Mapping[int, Bits], most: int) -> list[Mover]:
    """The `most` movers with the densest edges; `beside` has the `tolerant` bits of other samples by how much later."""
    dense = _densities(edges_hw, beside)
    # Where edges are dense, more of them are found again by chance, at any velocity.
    usual = dense.mean(0)
    score = np.where(dense >= _FEWEST, (dense - usual) / (usual + 1) ** 0.25, 0).reshape(len(dense), -1)
    cells, best = score.argmax(1), score.max(1)
    kept: list[tuple[Place, Place]] = []
    found: list[Mover] = []
    for number in np.argsort(-best, kind="stable"):
        if len(found) == most or best[number] <= 0:
            break
        row, column = np.unravel_index(cells[number], dense.shape[1:])
        at, velocity = (int(column + 1) * _CELL[1], int(row + 1) * _CELL[0]), _velocities()[number][:2]
        if all(_apart(velocity, v) > _SLOWER or _apart(at, place) > _NEAR for v, place in kept):
            mover = _around(at, velocity, edges_hw, beside)
            if mover is not None:
                kept.append((velocity, (int(mover.columns.mean()), int(mover.rows.mean()))))
                found.append(mover)
    return found


def _apart(one: Place, other: Place) -> float:
    return float(np.hypot(one[0] - other[0], one[1] - other[1]))


def _densities(edges_hw: Bits, beside: Mapping[int, Bits]) -> Float[np.ndarray, "velocities rows columns"]:
    """For each velocity, how many edges two by two cells hold that are found again."""
    height, width = edges_hw.shape
    margin = _FASTEST * max(map(abs, beside)) + 1
    wide, count = width + 2 * margin, (height // _CELL[0] + 2, width // _CELL[1] + 2)
    others = [(gap, np.pad(beside[gap], margin).ravel()) for gap in sorted(beside, key=abs)]
    rows, columns = _sparse(edges_hw)
    bits, places = edges_hw[rows, columns], (rows + margin) * wide + columns + margin
    cells = rows // _CELL[0] * count[1] + columns // _CELL[1]
    showing = {which: np.flatnonzero(bits & which) for which in {which for _, _, which in _velocities()}}
    dense = np.zeros((len(_velocities()), count[0] - 1, count[1] - 1), np.float32)
    for number, (x, y, which) in enumerate(_velocities()):
        left = showing[which]
        for gap, other in others:
            if len(left) < _FEWEST:
                break
            left = left[other[places[left] + gap * (y * wide + x)] & bits[left] != 0]
        if len(left) >= _FEWEST:
            held = np.bincount(cells[left], minlength=count[0] * count[1]).reshape(count)
            dense[number] = held[:-1, :-1] + held[1:, :-1] + held[:-1, 1:] + held[1:, 1:]
    return dense


def _sparse(edges_hw: Bits) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of every fourth pixel's edges, which take a quarter of the time and are as telling."""
    rows, columns = np.nonzero(edges_hw)
    fourth = (rows + 2 * columns) % 4 == 0
    return rows[fourth], columns[fourth]


def _around(at: Place, velocity: Place, edges_hw: Bits, beside: Mapping[int, Bits]) -> Mover | None:
    """The edges near a place that have a velocity and hang together."""
    left = edges_hw & across(velocity)
    for gap, other in beside.items():
        left &= _shifted(other, gap * velocity[0], gap * velocity[1])
    near = np.zeros_like(left)
    (x, y), (down, right) = at, _REACH
    window = np.s_[max(0, y - down) : y + down, max(0, x - right) : x + right]
    near[window] = left[window]
    _, labels = cv2.connectedComponents(cv2.dilate((near > 0).astype(np.uint8), np.ones(_GAP, np.uint8)))
    sizes = np.bincount(labels[near > 0], minlength=2)
    rows, columns = np.nonzero((labels == 1 + int(sizes[1:].argmax())) & (near > 0))
    return Mover(velocity, rows, columns, near[rows, columns]) if len(rows) >= 4 * _FEWEST else None


def _shifted(bits_hw: Bits, x: int, y: int) -> Bits:
    """At each pixel what lies so much to the right and down; 0 from beyond the picture."""
    matrix = np.array([[1, 0, x], [0, 1, y]], np.float32)
    return cv2.warpAffine(bits_hw, matrix, bits_hw.shape[::-1], flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP)


def follow(mover: Mover, beside: Mapping[int, Bits]) -> dict[int, Place]:
    """Where a mover is in the samples that show it, by how much later; `beside` has the `tolerant` bits of others."""
    step = max(1, len(mover.rows) // _ENOUGH)
    few = Mover(mover.velocity, mover.rows[::step], mover.columns[::step], mover.bits[::step])
    found = {0: (0, 0)}
    for way in (1, -1):
        gap, place, velocity = way, np.zeros(2), np.array(mover.velocity, float)
        while gap in beside:
            share, at = _found_again(few, beside[gap], np.round(place + way * velocity).astype(int))
            if share < _FOUND:
                break
            found[gap] = at
            # Half of what was measured last: a place is known to a pixel.
            velocity = (velocity + way * (np.array(at) - place)) / 2
            place, gap = np.array(at, float), gap + way
    return dict(sorted(found.items()))


def _found_again(mover: Mover, bits_hw: Bits, near: np.ndarray) -> tuple[float, Place]:
    """The largest share of a mover's edges that a picture shows near a place, and where."""
    height, width = bits_hw.shape
    best = 0.0, (0, 0)
    steps = sorted(range(-_SEARCHED, _SEARCHED + 1), key=abs)
    for dy in steps:
        for dx in steps:
            x, y = int(near[0]) + dx, int(near[1]) + dy
            rows, columns = mover.rows + y, mover.columns + x
            inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
            if inside.sum() >= _INSIDE * len(rows):
                same = np.count_nonzero(bits_hw[rows[inside], columns[inside]] & mover.bits[inside])
                best = max(best, (same / int(inside.sum()), (x, y)), key=lambda one: one[0])
    return best
