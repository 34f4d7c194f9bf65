"""Feed the pictures of a shot and get, about once a second, how probable it is that each pixel is burnt in."""

import zlib
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Self

import cv2
import numpy as np

from data_prep.finder.maps import LONG, Sample, maps, network_size, padded

# Samples a second; samples from one moment to the next; samples on each side of a moment that the long span reaches.
RATE, STRIDE, REACH = 5, 5, 20
# Probabilities below this, in steps of 1/255, are kept as 0: far below all thresholds.
_NEXT_TO_NONE = 13
# Something has come or gone where the probability passes from below the second value to above the first, or back.
_SEEN, _GONE = 0.6, 0.3


@dataclass(frozen=True)
class Moment:
    """How probable it is that each pixel is burnt in at frame `number`, at half the network's size.

    Kept compressed: those of two hours would take 400 MB.
    """

    number: int
    shape: tuple[int, int]
    _compressed: bytes

    @classmethod
    def of(cls, number: int, burnt_in_hw: np.ndarray) -> Self:
        """From probabilities `h w`, which are kept in steps of 1/255."""
        levels = np.round(burnt_in_hw * 255).astype(np.uint8)
        # What is next to impossible is made 0: noise there would take most of the memory.
        levels[levels < _NEXT_TO_NONE] = 0
        return cls(number, levels.shape, zlib.compress(levels.tobytes(), 1))

    def burnt_in(self) -> np.ndarray:
        """The probabilities, float32 `h w`."""
        levels = np.frombuffer(zlib.decompress(self._compressed), np.uint8).reshape(self.shape)
        return levels.astype(np.float32) / 255


@cache
def network_of(path: str) -> cv2.dnn.Net:
    """The network of a file."""
    return cv2.dnn.readNetFromONNX(path)


def shipped() -> str:
    """The file of the network that comes with the package."""
    return str(files("data_prep.finder") / "burnt_in.onnx")


def probabilities(samples: list[Sample], centre: int, network: str) -> np.ndarray:
    """Probability of *burnt in* at one of the samples of a shot, float32 `H/2 W/2`."""
    channels = maps(samples, centre)
    net = network_of(network)
    net.setInput(padded(channels)[None])
    height, width = channels.shape[1:]
    return net.forward()[0, 0, :height, :width].copy()


class MomentFinder:
    """Make samples of some frames of a shot, `RATE` a second, take them in order, and call `close` at its end."""

    def __init__(self, height: int, width: int, network: str) -> None:
        self.size, self.network = network_size(height, width), network
        self._samples: list[Sample] = []
        self._numbers: list[int] = []
        self._dropped, self._at, self._next = 0, -1, STRIDE // 2
        self._last: np.ndarray | None = None
        self.moments: list[Moment] = []

    def sample(self, grey_HW: np.ndarray, colours: Sequence[np.ndarray]) -> Sample:
        """The sample of a frame: its brightness and its two colours U and V, uint8 pictures of any size."""
        height, width = self.size
        shrinks = grey_HW.shape[0] > height
        way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        grey = grey_HW if grey_HW.shape == self.size else cv2.resize(grey_HW, (width, height), interpolation=way)
        half = width // 2, height // 2
        planes = [c if c.shape == half[::-1] else cv2.resize(c, half, interpolation=cv2.INTER_LINEAR) for c in colours]
        return Sample(grey, np.stack(planes))

    def take(self, number: int, sample: Sample) -> None:
        """Take the frame `number` as a sample."""
        self._samples.append(sample)
        self._numbers.append(number)
        self._work(len(self._samples) - 1 + self._dropped - REACH)

    def cut(self, number: int) -> list[tuple[int, Sample]]:
        """Give up the frames from `number` on, which turned out to be another shot's: a cut is known with delay."""
        first = bisect_left(self._numbers, number)
        later = list(zip(self._numbers[first:], self._samples[first:], strict=True))
        del self._numbers[first:], self._samples[first:]
        self.moments = [moment for moment in self.moments if moment.number < number]
        return later

    def close(self) -> list[Moment]:
        """The moments of the shot, whose last frame was fed."""
        last = len(self._samples) - 1 + self._dropped
        if last >= 0 and not self.moments:
            self._next = self._next if self._next <= last else last // 2
        self._work(last)
        if last - self._at > STRIDE // 2:
            # What comes just before the end is not overlooked.
            self._next = last
            self._work(last)
        return self.moments

    def _work(self, until: int) -> None:
        """Judge all moments up to the sample `until`, and forget the samples that no later one needs.

        Where something has come or gone since the moment before, all samples between the two are judged as well.
        """
        while self._next <= until:
            found = self._judge(self._next)
            if self._last is not None and changed(self._last, found):
                for sample in range(self._at + 1, self._next):
                    self.moments.append(Moment.of(self._number(sample), self._judge(sample)))
            self.moments.append(Moment.of(self._number(self._next), found))
            self._last, self._at = found, self._next
            self._next += STRIDE
        # The samples since the last moment are kept, and those that the long span around the first of them needs.
        keep = self._at + 1 - REACH - self._dropped
        if keep > 0:
            del self._samples[:keep], self._numbers[:keep]
            self._dropped += keep

    def _number(self, sample: int) -> int:
        return self._numbers[sample - self._dropped]

    def _judge(self, sample: int) -> np.ndarray:
        picked, place = spread_around(len(self._samples), sample - self._dropped)
        return probabilities([self._samples[n] for n in picked], place, self.network)


def changed(before_hw: np.ndarray, after_hw: np.ndarray) -> bool:
    """Whether something is burnt in at one of two moments, and next to certainly not at the other."""
    higher, lower = np.maximum(before_hw, after_hw), np.minimum(before_hw, after_hw)
    apart = ((higher >= _SEEN) & (lower < _GONE)).astype(np.uint8)
    # Edges of what stays waver by a pixel.
    return bool(cv2.erode(apart, np.ones((3, 3), np.uint8)).any())


def spread_around(count: int, centre: int) -> tuple[list[int], int]:
    """At most `LONG` of `count` samples, spread over the long span around one, and the place of that one among them."""
    first, last = max(0, centre - REACH), min(count - 1, centre + REACH)
    if last - first < LONG:
        return list(range(first, last + 1)), centre - first
    # The neighbours of the centre stay, as they are the short span; the others are evenly spread.
    near = set(range(max(first, centre - 2), min(last, centre + 2) + 1))
    others = [n for n in range(first, last + 1) if n not in near]
    step = np.linspace(0, len(others) - 1, LONG - len(near))
    picked = sorted(near | {others[round(float(n))] for n in step})
    return picked, picked.index(centre)
