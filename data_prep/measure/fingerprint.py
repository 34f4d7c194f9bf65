"""Find videos that look the same though their bytes differ: re-encoded, scaled, or in another container.

A video's fingerprint is a list of perceptual hashes, of about one picture per second. The 64 bits of a hash say which
of the picture's 8 × 8 lowest cosine frequencies are above their median. Two videos look the same if they have the same
length and their hashes differ in few bits.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

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
# A place's number is above the part of the hash, and the class of the number of hashes above both: 30 bits together.
_CLASS = _PART + 5
# Two numbers, each below 2³¹, in one of 64 bits.
_HALF, _LOW = 32, 2**32 - 1
# Hashes that are searched at a time, those of one place at least: few go with others of more places, because each call
# of numpy takes as long as some thousand of them.
_TOGETHER = 50_000
# Videos whose hashes are put together at a time, which the processor's cache can hold.
_TAKEN = 500
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
    def of(cls, found: Iterable[tuple[float, bytes]]) -> "_Prints":
        """From seconds and hashes of each video."""
        left, hashes, seconds, count = iter(found), [np.zeros(0, ">u8")], [np.zeros(0)], [np.zeros(0, int)]
        while some := list(islice(left, _TAKEN)):
            hashes.append(np.frombuffer(b"".join([each for _, each in some]), ">u8"))
            seconds.append(np.array([each for each, _ in some]))
            count.append(np.array([len(each) // 8 for _, each in some]))
        counts = np.concatenate(count)
        return cls(
            np.concatenate(hashes).astype(np.uint64), np.concatenate(seconds), np.cumsum(counts) - counts, counts
        )

    def ways(self) -> tuple[Int[np.ndarray, " W"], Int[np.ndarray, " W"], Int[np.ndarray, " W"]]:
        """Video, stride and number of hashes of each of its ways to be read, ordered by video."""
        videos, strides = np.arange(len(self.count)), np.ones(len(self.count), int)
        long = np.flatnonzero(self.count > _MOST // 2)
        videos, strides = np.concatenate([videos, long]), np.concatenate([strides, np.full(len(long), 2)])
        order = np.argsort(videos, kind="stable")
        videos, strides = videos[order], strides[order]
        return videos, strides, -(-self.count[videos] // strides)


def near_twins(found: Iterable[tuple[float, bytes]]) -> dict[int, int]:
    """For each video that looks like an earlier one, the earlier one; `found` has seconds and hashes of each.

    Only videos are compared of which a part of a hash is the same at the same place, so that the time grows with their
    number, not with its square.
    """
    twins: dict[int, int] = {}
    for later, earlier in _candidates(_Prints.of(found)):
        if later not in twins and earlier not in twins:
            twins[later] = earlier
    return twins


def _candidates(prints: _Prints) -> list[tuple[int, int]]:
    """Pairs (later, earlier) of numbers of videos that look alike, in order."""
    videos, strides, counts = prints.ways()
    classes = _sizes(counts) << _CLASS
    kept = [np.zeros((0, 2), int)]
    for places in _groups(counts):
        at = [np.flatnonzero(counts > place) for place in places]
        ways, number = np.concatenate(at), [len(each) for each in at]
        hashes = prints.hashes[prints.first[videos[ways]] + np.repeat(places, number) * strides[ways]].view(np.int64)
        tags = np.repeat(np.arange(len(places)) << _PART, number)
        for shift in range(0, 64 - _PART + 1, _PART):
            parts = hashes >> shift & (2**_PART - 1) | tags
            # Most parts are those of one hash only: what is left is searched again, by the number of hashes too.
            shared = _shared(parts)
            keys = classes[ways[shared]] | parts[shared, None]
            pairs = _with_same(np.repeat(videos[ways[shared]], 2), keys.ravel())
            kept.append(pairs[_close(prints, *pairs.T)])
    both = _distinct(np.concatenate(kept))
    blocks = np.array_split(both, len(both) // _AT_ONCE + 1)
    return [(int(a), int(b)) for block in blocks for a, b in alike(prints, block)]


def _groups(counts: Int[np.ndarray, " W"]) -> list[list[int]]:
    """The places that some hash is at, in groups of one, or of at most `_TOGETHER` hashes; `counts`: how many."""
    groups: list[list[int]] = []
    room = 0
    for place in _PLACES:
        number = int(np.count_nonzero(counts > place))
        if not number:
            break
        if number > room:
            groups.append([])
            room = max(_TOGETHER, number)
        groups[-1].append(place)
        room -= number
    return groups


def _distinct(pairs: Int[np.ndarray, "P 2"]) -> Int[np.ndarray, "Q 2"]:
    """Each pair once, in order."""
    # numpy's own `unique` looks each number up in a table, which takes longer the more there are.
    packed = np.sort(pairs[:, 0] << _HALF | pairs[:, 1])
    packed = packed[np.diff(packed, prepend=-1) != 0]
    return np.stack([packed >> _HALF, packed & _LOW], axis=1)


def _numbered(keys: Int[np.ndarray, " K"]) -> Int[np.ndarray, " K"]:
    """The keys in order, each with its place before that, as one number.

    numpy has vector instructions to sort numbers, and none for an order of places.
    """
    return np.sort(keys << _HALF | np.arange(len(keys)))


def _shared(keys: Int[np.ndarray, " K"]) -> Int[np.ndarray, " S"]:
    """Places of the keys that are there more than once; those of one key in order."""
    packed = _numbered(keys)
    same = (packed[1:] ^ packed[:-1]) <= _LOW
    several = np.zeros(len(keys), bool)
    several[1:] = same
    several[:-1] |= same
    return packed[several] & _LOW


def _with_same(owners: Int[np.ndarray, " K"], keys: Int[np.ndarray, " K"]) -> Int[np.ndarray, "P 2"]:
    """Pairs (later, earlier) of owners of the same key: each with the first few. Within a key, owners are in order."""
    packed = _numbered(keys)
    keys, order = packed >> _HALF, packed & _LOW
    begin = np.maximum.accumulate(np.where(np.diff(keys, prepend=-1) != 0, np.arange(len(keys)), 0))
    pairs = []
    for place in range(_COMPARED):
        inside = np.flatnonzero(begin + place < np.arange(len(keys)))
        pairs.append(np.stack([owners[order[inside]], owners[order[begin[inside] + place]]], axis=1))
    return np.concatenate(pairs)


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
