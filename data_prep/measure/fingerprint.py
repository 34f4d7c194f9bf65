"""Find videos that look the same though their bytes differ: re-encoded, scaled, or in another container.

A video's fingerprint is a list of perceptual hashes, of about one picture per second. The 64 bits of a hash say which
of the picture's 8 × 8 lowest cosine frequencies are above their median. Two videos look the same if they have the same
length and their hashes differ in few bits.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float64, Int, UInt64

# Most hashes of a video; side of the picture that a hash is made from, pixels; cosine frequencies per side.
_MOST, _SIDE, _WAVES = 64, 32, 8
# Bits (of 64) that may differ on average, and share by which the lengths may. Unrelated pictures differ in about 32.
_BITS, _LENGTH = 6.0, 0.02
# Look-alikes are searched for by parts of so many bits of the hashes at these places: a hash of a video that looks
# alike has a part with no other bit, most often. Of all videos with such a part, and of about the same number of
# hashes, each is compared with the first few only.
_PART, _PLACES, _COMPARED = 21, (*range(16), *range(16, 64, 4)), 4
# Two numbers, each below 2³¹, in one of 64 bits.
_HALF = 32
# Pairs that are compared at a time: their hashes take a kilobyte.
_AT_ONCE = 50_000
# If one list of hashes is longer than the other by this factor, it has half the stride.
_HALVED = 1.5


class Fingerprint:
    """Feed pictures in order, about one per second; `hashes` are those of every `stride`-th picture."""

    def __init__(self) -> None:
        self.hashes: list[str] = []
        self.stride = 1
        self._fed = 0

    def feed(self, image_HW: np.ndarray) -> None:
        """Take one grey picture, uint8 `H W`."""
        if self._fed % self.stride == 0:
            self.hashes.append(_hash(image_HW))
            if len(self.hashes) > _MOST:
                self.hashes, self.stride = self.hashes[::2], 2 * self.stride
        self._fed += 1


def _hash(image_HW: np.ndarray) -> str:
    small = cv2.resize(image_HW, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    waves = cv2.dct(small.astype(np.float32))[:_WAVES, :_WAVES]
    return np.packbits(waves > np.median(waves)).tobytes().hex()


@dataclass(frozen=True)
class _Prints:
    """The hashes of many videos, one after another. A long video is in it twice: with all hashes, and every second one.

    Another video of nearly its length may have twice its stride.
    """

    hashes: UInt64[np.ndarray, " H"]
    seconds: Float64[np.ndarray, " V"]
    first: Int[np.ndarray, " V"]
    """Where the hashes of each video begin."""
    count: Int[np.ndarray, " V"]
    """How many there are."""

    @classmethod
    def of(cls, found: Iterable[tuple[float, str]]) -> "_Prints":
        """From seconds and hashes, of 16 letters each, of each video."""
        seconds, texts = zip(*found, strict=True)
        hashes = np.frombuffer(bytes.fromhex("".join(texts)), ">u8").astype(np.uint64)
        count = np.array([len(text) // 16 for text in texts])
        return cls(hashes, np.array(seconds, float), np.cumsum(count) - count, count)

    def ways(self) -> tuple[Int[np.ndarray, " W"], Int[np.ndarray, " W"], Int[np.ndarray, " W"]]:
        """Video, stride and number of hashes of each of its ways to be read, ordered by video."""
        videos, strides = np.arange(len(self.count)), np.ones(len(self.count), int)
        long = np.flatnonzero(self.count > _MOST // 2)
        videos, strides = np.concatenate([videos, long]), np.concatenate([strides, np.full(len(long), 2)])
        order = np.argsort(videos, kind="stable")
        videos, strides = videos[order], strides[order]
        return videos, strides, -(-self.count[videos] // strides)


def near_twins(found: Mapping[str, tuple[float, str]]) -> dict[str, str]:
    """For each video that looks like an earlier one, the earlier one; `found` is (seconds, hashes) by name.

    Only videos are compared of which a part of a hash is the same at the same place, so that the time grows with their
    number, not with its square.
    """
    twins: dict[int, int] = {}
    names = list(found)
    prints = _Prints.of(found.values()) if found else None
    for later, earlier in _candidates(prints) if prints is not None else ():
        if later not in twins and earlier not in twins:
            twins[later] = earlier
    return {names[later]: names[earlier] for later, earlier in twins.items()}


def _candidates(prints: _Prints) -> list[tuple[int, int]]:
    """Pairs (later, earlier) of numbers of videos that look alike, in order."""
    videos, strides, counts = prints.ways()
    kept = [np.zeros((0, 2), int)]
    for place in _PLACES:
        there = counts > place
        owners = np.repeat(videos[there], 2)
        values = prints.hashes[(prints.first[videos] + place * strides)[there]]
        sizes = _sizes(counts[there]).ravel()
        pairs = []
        for shift in range(0, 64 - _PART + 1, _PART):
            parts = (values >> np.uint64(shift)) % np.uint64(2**_PART)
            pairs += _with_same(owners, sizes * 2**_PART + np.repeat(parts.astype(int), 2))
        every = _distinct(np.concatenate(pairs))
        kept.append(every[_close(prints, *every.T)])
    both = _distinct(np.concatenate(kept))
    parts = np.array_split(both, len(both) // _AT_ONCE + 1)
    return [(int(a), int(b)) for part in parts for a, b in alike(prints, part)]


def _distinct(pairs: Int[np.ndarray, "P 2"]) -> Int[np.ndarray, "Q 2"]:
    """Each pair once, in order."""
    packed = np.unique(pairs[:, 0] << _HALF | pairs[:, 1])
    return np.stack([packed >> _HALF, packed % 2**_HALF], axis=1)


def _with_same(owners: Int[np.ndarray, " K"], keys: Int[np.ndarray, " K"]) -> list[Int[np.ndarray, "P 2"]]:
    """Pairs (later, earlier) of owners of the same key: each with the first few.

    Key and place are sorted as one number: numpy has vector instructions for that, and none for an order of places.
    Within a key, videos stay in their order.
    """
    packed = np.sort(keys << _HALF | np.arange(len(keys)))
    keys, order = packed >> _HALF, packed % 2**_HALF
    begin = np.maximum.accumulate(np.where(np.diff(keys, prepend=-1) != 0, np.arange(len(keys)), 0))
    pairs = []
    for place in range(_COMPARED):
        inside = np.flatnonzero(begin + place < np.arange(len(keys)))
        pairs.append(np.stack([owners[order[inside]], owners[order[begin[inside] + place]]], axis=1))
    return pairs


def _sizes(counts: Int[np.ndarray, " W"]) -> Int[np.ndarray, "W 2"]:
    """Classes of numbers of hashes: two numbers that look alike have at least one in common."""
    exact = (2 * np.log2(counts + 2)).astype(int)
    return np.stack([exact // 2 * 2, (exact + 1) // 2 * 2 + 1], axis=1)


def _close(prints: _Prints, later: Int[np.ndarray, " P"], earlier: Int[np.ndarray, " P"]) -> Bool[np.ndarray, " P"]:
    """Whether the lengths differ by at most a second, or `_LENGTH`; false for a pair of a video with itself."""
    seconds = prints.seconds[later]
    return (later > earlier) & (np.abs(prints.seconds[earlier] - seconds) <= np.maximum(1.0, _LENGTH * seconds))


def alike(prints: _Prints, pairs: Int[np.ndarray, "P 2"]) -> Int[np.ndarray, "Q 2"]:
    """Those of the pairs that look the same from beginning to end."""
    short = np.take_along_axis(pairs, np.argsort(prints.count[pairs], axis=1, kind="stable"), axis=1)
    fewer, more = prints.count[short].T
    # Of two videos of nearly the same length, one may have twice the stride of the other.
    stride = np.where((fewer > _MOST // 2) & (more > _HALVED * fewer), 2, 1)
    more = -(-more // stride)
    right = (fewer > 0) & (np.abs(fewer - more) <= 1 + _LENGTH * fewer)
    pairs, short, stride = pairs[right], short[right], stride[right]
    number = np.minimum(fewer, more)[right]
    places = np.arange(number.max(initial=0))
    inside = places < number[:, None]
    one, other = (
        prints.hashes[np.where(inside, prints.first[who][:, None] + places * step[:, None], 0)]
        for who, step in ((short[:, 0], np.ones_like(stride)), (short[:, 1], stride))
    )
    differ = np.where(inside, np.bitwise_count(one ^ other), 0).sum(axis=1)
    return pairs[differ <= _BITS * number]
