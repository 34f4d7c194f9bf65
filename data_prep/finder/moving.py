"""Tell marks that move over the picture on their own, such as a logo that bounces, from things of the scene that move.

What moves evenly and keeps its shape (`movers.py`) is followed for up to a second before and after a moment, and the
network judges pictures that move along with it: there the mark stands, and the scene passes behind it.
"""

import math
import zlib
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool

from data_prep.finder.areas import LEVELS, logit
from data_prep.finder.maps import GRID, Sample, Window, halved, maps, padded
from data_prep.finder.moments import network_of
from data_prep.finder.movers import Mover, Place, follow, movers
from data_prep.finder.orientations import Bits, orientations, tolerant
from data_prep.video.motion import camera_motion

# Samples from one moment to the next; samples on each side of it that are looked at, and that a velocity is taken from.
_STRIDE, _REACH, _NEAREST = 10, 4, 2
# Movers of a moment that are judged.
_MOST = 5
# Fewest samples that must show a mover, and least way (the network's pixels): what moves less is seen where it stands.
_LEAST, _FAR = 4, 8
# Margins around a mover, the network's pixels: for the network, and for the edges' gradients; by how much a place that
# is known at half the size may be off.
_MARGIN, _EDGE, _OFF = 2 * GRID, 4, 3


@dataclass(frozen=True)
class Moving:
    """Something that moves over the picture and may be burnt in."""

    start: int
    """The first frame in which it was followed."""
    end: int
    """The frame after the last one."""
    shape: tuple[int, int]
    """Height and width of the network's values."""
    look: tuple[float, float, float]
    """Logits of the network's median and greatest value over its edges, logarithm of its speed."""
    bits: bytes
    """The pixels that it passes over, compressed."""

    def covered(self) -> Bool[np.ndarray, "h w"]:
        """The pixels that it passes over."""
        height, width = self.shape
        bits = np.frombuffer(zlib.decompress(self.bits), np.uint8)
        return np.unpackbits(bits, count=height * width).reshape(height, width) > 0


class MovingFinder:
    """Feed some frames of a shot in order, as to a `MomentFinder`, and call `close` at its end."""

    def __init__(self, network: str) -> None:
        self.network = network
        self._numbers: list[int] = []
        self._samples: list[Sample] = []
        self._dropped, self._next = 0, _REACH
        self.found: list[Moving] = []

    def take(self, number: int, sample: Sample) -> None:
        """Take the frame `number`."""
        self._numbers.append(number)
        self._samples.append(sample)
        if self._next + _REACH < self._dropped + len(self._samples):
            self._judge()
            gone = min(self._next - _REACH - self._dropped, len(self._samples))
            del self._numbers[:gone], self._samples[:gone]
            self._dropped += gone

    def cut(self, number: int) -> None:
        """Give up the frames from `number` on, which turned out to be another shot's: a cut is known with delay."""
        first = bisect_left(self._numbers, number)
        del self._numbers[first:], self._samples[first:]
        self.found = [one for one in self.found if one.end <= number]

    def close(self) -> list[Moving]:
        """What was found in the shot, whose last frame was fed."""
        last = self._dropped + len(self._samples) - 1
        if self._next > last and not self._dropped:
            self._next = last // 2
        if self._samples and self._next <= last:
            self._judge()
        return self.found

    def _judge(self) -> None:
        here = self._next - self._dropped
        around = {n - here: n for n in range(max(0, here - _REACH), min(len(self._samples), here + _REACH + 1))}
        samples = {gap: self._samples[n] for gap, n in around.items()}
        self._next += _STRIDE
        if len(samples) < _LEAST:
            return
        edges = {gap: orientations(sample) for gap, sample in samples.items()}
        beside = {gap: tolerant(one) for gap, one in edges.items() if gap}
        own = _own_edges(edges[0], beside, samples)
        near = {gap: one for gap, one in beside.items() if abs(gap) <= _NEAREST}
        for mover in movers(own, near, _MOST):
            places = _exact_places(mover, follow(mover, beside), samples)
            way = [places[max(places)][side] - places[min(places)][side] for side in (0, 1)]
            if len(places) >= _LEAST and math.hypot(*way) >= _FAR:
                value_hw = _values(mover, places, samples, self.network)
                numbers = [self._numbers[around[gap]] for gap in (min(places), max(places))]
                self.found.append(_moving(mover, places, value_hw, (numbers[0], numbers[1] + 1)))


def _own_edges(edges_hw: Bits, beside: Mapping[int, Bits], samples: Mapping[int, Sample]) -> Bits:
    """The edges of the moment that neither stand still nor move with the camera."""
    near = sorted(gap for gap in samples if abs(gap) <= _NEAREST)
    first, last = near[0], near[-1]
    matrix = camera_motion(halved(samples[first].grey), halved(samples[last].grey))
    still = edges_hw.copy()
    for gap, bits in beside.items():
        if matrix is None:
            still &= bits
        elif abs(gap) <= _NEAREST:
            still &= _moved_back(bits, matrix, gap / (last - first))
    return edges_hw & ~still


def _moved_back(bits_hw: Bits, matrix: np.ndarray, share: float) -> Bits:
    """The bits where they would be without a share of the camera's motion."""
    stays = np.eye(2, 3)
    part = (stays + (matrix - stays) * share).astype(np.float32)
    return cv2.warpAffine(bits_hw, part, bits_hw.shape[::-1], flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP)


def _exact_places(mover: Mover, places: Mapping[int, Place], samples: Mapping[int, Sample]) -> dict[int, Place]:
    """The places in the network's pixels: where the mover's gradients agree best."""
    height, width = samples[0].grey.shape
    edges = np.zeros((height // 2, width // 2), np.uint8)
    edges[mover.rows, mover.columns] = 1
    rows, columns = (_around(one, _EDGE, side) for one, side in ((mover.rows, height), (mover.columns, width)))
    whole = cv2.resize(cv2.dilate(edges, np.ones((3, 3), np.uint8)), (width, height), interpolation=cv2.INTER_NEAREST)
    mask = whole[rows, columns].astype(np.float32)
    template = [part * mask for part in _gradients(samples[0].grey[rows, columns])]
    size = mask.shape[1] + 2 * _OFF, mask.shape[0] + 2 * _OFF
    exact = {}
    for gap, (x, y) in places.items():
        corner = columns.start + 2 * x - _OFF, rows.start + 2 * y - _OFF
        there = _gradients(_cut(samples[gap].grey, corner, size))
        agree = sum(cv2.matchTemplate(one, other, cv2.TM_CCORR) for one, other in zip(there, template, strict=True))
        _, _, _, (right, down) = cv2.minMaxLoc(np.asarray(agree))
        exact[gap] = (2 * x + right - _OFF, 2 * y + down - _OFF) if gap else (0, 0)
    return exact


def _gradients(picture: np.ndarray) -> list[np.ndarray]:
    return [cv2.Sobel(picture, cv2.CV_32F, 1 - axis, axis) for axis in (0, 1)]


def _around(places: np.ndarray, margin: int, side: int) -> slice:
    """From the least to the greatest of some rows or columns at half the size, with a margin; even."""
    return slice(max(0, 2 * int(places.min()) - margin), min(side // 2 * 2, 2 * int(places.max()) + 2 + margin))


def _cut(picture: np.ndarray, corner: tuple[float, float], size: tuple[int, int]) -> np.ndarray:
    """A part of a picture from a corner (x, y), of a width and height; what lies beyond it is as its border."""
    matrix = np.array([[1, 0, corner[0]], [0, 1, corner[1]]], np.float32)
    way = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(picture, matrix, size, flags=way, borderMode=cv2.BORDER_REPLICATE)


def _values(mover: Mover, places: Mapping[int, Place], samples: Mapping[int, Sample], network: str) -> np.ndarray:
    """The network's values around a mover, in pictures that move along with it, float32 `h w`, elsewhere 0."""
    height, width = samples[0].grey.shape
    rows, columns = (_around(one, _MARGIN, side) for one, side in ((mover.rows, height), (mover.columns, width)))
    wide, high = columns.stop - columns.start, rows.stop - rows.start
    parts = []
    for gap, (x, y) in places.items():
        left, top = columns.start + x, rows.start + y
        colours = [_cut(plane, (left / 2, top / 2), (wide // 2, high // 2)) for plane in samples[gap].colours]
        parts.append(Sample(_cut(samples[gap].grey, (left, top), (wide, high)), np.stack(colours)))
    channels = maps(parts, list(places).index(0), Window(rows.start, columns.start, height, width))
    net = network_of(network)
    net.setInput(padded(channels)[None])
    values = np.zeros((height // 2, width // 2), np.float32)
    inside = values[rows.start // 2 : rows.stop // 2, columns.start // 2 : columns.stop // 2]
    inside[:] = net.forward()[0, 0, : high // 2, : wide // 2]
    return values


def _moving(mover: Mover, places: Mapping[int, Place], value_hw: np.ndarray, span: tuple[int, int]) -> Moving:
    on = value_hw[mover.rows, mover.columns]
    reached = (value_hw >= LEVELS[0]).astype(np.uint8)
    reached[mover.rows, mover.columns] = 1
    passed = np.zeros_like(reached)
    for x, y in places.values():
        matrix = np.array([[1, 0, x / 2], [0, 1, y / 2]], np.float32)
        there = cv2.warpAffine(reached, matrix, reached.shape[::-1], flags=cv2.INTER_NEAREST)
        passed = np.maximum(passed, there)
    way = [places[max(places)][side] - places[min(places)][side] for side in (0, 1)]
    speed = math.log(1 + math.hypot(*way) / (max(places) - min(places)))
    look = logit(float(np.median(on))), logit(float(on.max())), speed
    height, width = value_hw.shape
    return Moving(*span, (height, width), look, zlib.compress(np.packbits(passed).tobytes(), 1))
