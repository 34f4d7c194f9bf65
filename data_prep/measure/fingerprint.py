"""Find videos that look the same though their bytes differ: re-encoded, scaled, or in another container.

A video's fingerprint is a list of perceptual hashes, of about one picture per second. The 64 bits of a hash say which
of the picture's 8 × 8 lowest cosine frequencies are above their median. Two videos look the same if they have the same
length and their hashes differ in few bits.
"""

import math
from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from jaxtyping import Int, UInt64

# Most hashes of a video; side of the picture that a hash is made from, pixels; cosine frequencies per side.
_MOST, _SIDE, _WAVES = 64, 32, 8
# Bits (of 64) that may differ on average, and share by which the lengths may. Unrelated pictures differ in about 32.
_BITS, _LENGTH = 6.0, 0.02
# Look-alikes are searched for by parts of so many bits of the hashes at these places: a hash of a video that looks
# alike has a part with no other bit, most often. Of all videos with such a part, and of about the same number of
# hashes, each is compared with the first few only.
_PART, _PLACES, _COMPARED = 21, (*range(16), *range(16, 64, 4)), 4
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


def alike(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether two videos with these hashes look the same from beginning to end."""
    one, other = sorted((one, other), key=len)
    # Of two videos of nearly the same length, one may have twice the stride of the other.
    if len(one) > _MOST // 2 and len(other) > _HALVED * len(one):
        other = other[::2]
    if not one or abs(len(one) - len(other)) > 1 + _LENGTH * len(one):
        return False
    pairs = zip(one, other, strict=False)
    differ = [(int(a, 16) ^ int(b, 16)).bit_count() for a, b in pairs]
    return bool(differ) and float(np.mean(differ)) <= _BITS


def near_twins(found: Mapping[str, tuple[float, Sequence[str]]]) -> dict[str, str]:
    """For each video that looks like an earlier one, the earlier one; `found` is (seconds, hashes) by name.

    Only videos are compared of which a part of a hash is the same at the same place, so that the time grows with their
    number, not with its square.
    """
    twins: dict[str, str] = {}
    names = list(found)
    for later, earlier in _candidates([hashes for _, hashes in found.values()]):
        name, other = names[later], names[earlier]
        (seconds, hashes), (others_seconds, others_hashes) = found[name], found[other]
        close = abs(others_seconds - seconds) <= max(1.0, _LENGTH * seconds)
        if name not in twins and other not in twins and close and alike(others_hashes, hashes):
            twins[name] = other
    return twins


def _candidates(prints: Sequence[Sequence[str]]) -> list[tuple[int, int]]:
    """Pairs (later, earlier) of numbers of videos that may look alike, in order."""
    owners, keys = _keys(prints)
    # Stable: within a key, videos stay in their order.
    order = np.argsort(keys, kind="stable")
    owners, keys = owners[order], keys[order]
    firsts = np.flatnonzero(np.diff(keys, prepend=keys[:1] - 1)) if len(keys) else np.zeros(0, int)
    begin = np.repeat(firsts, np.diff(firsts, append=len(keys)))
    pairs = []
    for place in range(_COMPARED):
        earlier = owners[np.minimum(begin + place, len(keys) - 1)]
        inside = begin + place < np.arange(len(keys))
        pairs.append(np.stack([owners[inside], earlier[inside]], axis=1))
    both = np.unique(np.concatenate(pairs), axis=0)
    return [(int(a), int(b)) for a, b in both if a > b]


def _sizes(count: int) -> tuple[int, int]:
    """Classes of numbers of hashes: two numbers that `alike` accepts have at least one in common."""
    exact = 2 * math.log2(count + 2)
    return int(exact) // 2 * 2, (int(exact) + 1) // 2 * 2 + 1


def _keys(prints: Sequence[Sequence[str]]) -> tuple[Int[np.ndarray, " K"], UInt64[np.ndarray, " K"]]:
    """Parts of some hashes of each video, with their places, as numbers; and the video that each is of."""
    owners, keys = [np.zeros(0, int)], [np.zeros(0, np.uint64)]
    shifts, places = np.arange(0, 64 - _PART + 1, _PART, dtype=np.uint64), np.array(_PLACES)
    for number, hashes in enumerate(prints):
        # Of a long video half of the hashes too: another one of nearly its length may have twice the stride.
        for way in (hashes, hashes[::2]) if len(hashes) > _MOST // 2 else (hashes,):
            at = places[places < len(way)]
            values = np.array([int(way[place], 16) for place in at], np.uint64)
            parts = (values[:, None] >> shifts) % np.uint64(2**_PART)
            for size in _sizes(len(way)):
                where = np.arange(len(shifts)) + 4 * (at[:, None] + 64 * size)
                keys.append((parts + where.astype(np.uint64) * np.uint64(2**_PART)).ravel())
                owners.append(np.full(parts.size, number))
    return np.concatenate(owners), np.concatenate(keys)
