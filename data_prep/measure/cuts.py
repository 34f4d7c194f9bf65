"""Find hard cuts: changes far larger than those around them, after which the old picture does not come back."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from data_prep.config import ShotSettings

# Size of the pictures that are compared across a cut.
_HEIGHT, _WIDTH = 18, 32
# Pictures whose small versions differ by less than this (grey levels) are one that is held, as in drawn films.
_HELD = 0.6
# A change is compared with this many changes between distinct pictures before it and after it, without the largest of
# them, which may be another cut; seconds within which they are searched for.
_AROUND, _NEAR = 3, 1.0
# Pictures that are more alike than this are of one scene, whatever its light.
_SAME = 0.8
# In fast motion, a change this many times the usual one is a cut if the pictures' likeness is below the second value
# and below that of all around it by the third.
_FASTEST, _UNLIKE, _DROP = 1.5, 0.35, 0.3
# Seconds before and after a change among which the old picture may come back, as after a flash. The time after it
# delays what is known, so it is short.
_BEFORE, _AFTER = 0.5, 0.35
# The old picture came back if one is this much like it, and differs from it by less than this share of the change and
# this many grey levels: unrelated scenes differ by some 50. Of two pictures that are both much brighter or darker than
# most on their side, by the last value, that is not asked: two flashes look alike.
_AGAIN, _BACK, _CLOSE, _ODD = 0.4, 0.5, 45.0, 20.0
# Two cuts closer than this are one.
_LEAST = 3


class Thumb:
    """The small version of a picture (BGR), in which what moves a little differs little."""

    def __init__(self, image_HWC: UInt8[np.ndarray, "H W 3"]) -> None:
        self.image = cv2.resize(image_HWC, (_WIDTH, _HEIGHT), interpolation=cv2.INTER_AREA)
        flat = self.image.ravel().astype(np.float32)
        self.brightness = float(flat.mean())
        flat -= self.brightness
        self._shape = flat / max(float(np.linalg.norm(flat)), 1e-9)

    def difference(self, other: "Thumb") -> float:
        """Mean difference of two pictures, grey levels."""
        return float(cv2.absdiff(self.image, other.image).mean())

    def likeness(self, other: "Thumb") -> float:
        """Correlation of two pictures: 1 for the same but for brightness and contrast, about 0 for unrelated ones."""
        return float(self._shape @ other._shape)


@dataclass(frozen=True)
class _Frame:
    number: int
    change: float
    """Mean change of hue, saturation and brightness since the frame before."""
    moved: float
    """Its thumb's difference from that of the frame before."""
    likeness: float
    """Its thumb's likeness to that."""
    thumb: Thumb


class CutFinder:
    """Feed every frame in order; cuts are known some frames later."""

    def __init__(self, settings: ShotSettings, fps: float) -> None:
        self._settings = settings
        self._near = max(4 * _AROUND, round(_NEAR * fps))
        self._before, self._after = max(_LEAST, round(_BEFORE * fps)), max(_LEAST, round(_AFTER * fps))
        self._kept: deque[_Frame] = deque(maxlen=2 * self._near + 2)
        self._waiting: deque[int] = deque()
        self._last: np.ndarray | None = None
        self._last_cut = 0

    def feed(self, number: int, image_HWC: UInt8[np.ndarray, "H W 3"], thumb: Thumb) -> Iterator[int]:
        """Take a frame (BGR) and its thumb; yields cuts, as numbers of first frames, that are known now."""
        colours = cv2.cvtColor(image_HWC, cv2.COLOR_BGR2HSV)
        change, moved, likeness = 0.0, 0.0, 1.0
        if self._last is not None:
            change = float(cv2.absdiff(colours, self._last).mean())
            before = self._kept[-1].thumb
            moved, likeness = thumb.difference(before), thumb.likeness(before)
        self._last = colours
        self._kept.append(_Frame(number, change, moved, likeness, thumb))
        if change >= self._settings.min_change:
            self._waiting.append(number)
        while self._waiting and self._is_due(self._waiting[0]):
            yield from self._decided(self._waiting.popleft())

    def finish(self) -> Iterator[int]:
        """The cuts among the last frames."""
        while self._waiting:
            yield from self._decided(self._waiting.popleft())

    def _is_due(self, number: int) -> bool:
        later = self._kept[-1].number - number
        moving = sum(frame.number > number and frame.moved > _HELD for frame in self._kept)
        return later >= self._near or (later + 1 >= self._after and moving >= _AROUND)

    def _decided(self, number: int) -> Iterator[int]:
        frames = list(self._kept)
        at = number - frames[0].number
        if number - self._last_cut >= _LEAST and self._stands_out(frames, at) and not self._comes_back(frames, at):
            self._last_cut = number
            yield number

    def _stands_out(self, frames: list[_Frame], at: int) -> bool:
        """Whether the change is far larger than those between distinct pictures around it.

        Where things move fast it need not be so much larger, if they are still recognised from picture to picture.
        """
        earlier = (k for k in range(at - 1, max(0, at - self._near) - 1, -1) if self._is_motion(frames, k))
        later = (k for k in range(at + 1, min(len(frames), at + 1 + self._near)) if self._is_motion(frames, k))
        near = (*islice(earlier, _AROUND), *islice(later, _AROUND))
        around = sorted((frames[k] for k in near), key=lambda frame: frame.change)
        around = around[:-1] if len(around) > 2 else around
        # A still picture before and after it has hardly any.
        usual = sum(frame.change for frame in around) / (len(around) if len(around) > 1 else 4)
        one = frames[at]
        if one.likeness > _SAME:
            return False
        if one.change >= self._settings.ratio * usual:
            return True
        unlike = one.likeness < min(_UNLIKE, min(frame.likeness for frame in around) - _DROP)
        return unlike and one.change >= _FASTEST * usual

    def _is_motion(self, frames: list[_Frame], at: int) -> bool:
        """Whether a picture is another one than that before it, and no flash begins or ends with it."""
        large = frames[at].change >= self._settings.min_change
        return frames[at].moved > _HELD and not (large and self._comes_back(frames, at))

    def _comes_back(self, frames: list[_Frame], at: int) -> bool:
        """Whether a picture from before the change is seen after it."""
        if at == 0:
            return False
        before, after = frames[max(0, at - self._before) : at], frames[at : at + self._after]
        asked = _usual(before)[:, None] | _usual(after)
        one, other = (np.stack([f.thumb.image.ravel() for f in side]).astype(np.float32) for side in (before, after))
        near = np.abs(one[:, None] - other[None]).mean(axis=2) < min(_CLOSE, _BACK * frames[at].moved)
        alike = np.array([[f.thumb.likeness(g.thumb) for g in after] for f in before])
        # A flash that fades is still bright when it lets the scene be seen.
        return bool((asked & (near & (alike > _AGAIN) | (alike > _SAME))).any())


def _usual(frames: list[_Frame]) -> Bool[np.ndarray, " N"]:
    """Which of the frames are about as bright as most."""
    brightness = np.array([frame.thumb.brightness for frame in frames])
    return np.abs(brightness - np.median(brightness)) <= _ODD
