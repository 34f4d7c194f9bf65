"""Find videos that look the same though their bytes differ: re-encoded, scaled, or in another container.

A video's fingerprint is a list of perceptual hashes, of about one picture per second. The 64 bits of a hash say which
of the picture's 8 × 8 lowest cosine frequencies are above their median. Two videos look the same if they have the same
length and their hashes differ in few bits.
"""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

# Most hashes of a video; side of the picture that a hash is made from, pixels; cosine frequencies per side.
_MOST, _SIDE, _WAVES = 64, 32, 8
# Bits (of 64) that may differ on average, and share by which the lengths may. Unrelated pictures differ in about 32.
_BITS, _LENGTH = 6.0, 0.02
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
    """For each video that looks like an earlier one, the earlier one; `found` is (seconds, hashes) by name."""
    twins: dict[str, str] = {}
    names = list(found)
    for place, name in enumerate(names):
        seconds, hashes = found[name]
        for earlier in names[:place]:
            close = abs(found[earlier][0] - seconds) <= max(1.0, _LENGTH * seconds)
            if earlier not in twins and close and alike(found[earlier][1], hashes):
                twins[name] = earlier
                break
    return twins
