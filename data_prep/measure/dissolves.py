"""Find dissolves: one scene goes over into the next, and the frames between are blends of both.

In a blend of two unrelated pictures A and B with weights 1 − α and α, brightness is the mean of both, weighted so. But
the energy of the gradients is (1 − α)² E_A + α² E_B: below the weighted mean by α (1 − α) (E_A + E_B). Moving cameras
make no such deficit, of that height and course, at all places of the picture at once. Energies hardly change while
things move, so moving scenes are found as well as still ones.
"""

from collections import deque
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from data_prep.measure.cuts import Thumb

# The picture is divided into so many parts in each direction.
_GRID = 4
# Lengths of dissolves that are tried, frames at about 30 per second or fewer.
_LENGTHS = (2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 19, 22, 26, 30, 35, 40, 46, 52, 60)
_TRIED_FPS = 30.0
# In the middle of a dissolve the energy is lower by a quarter of both scenes' sum. Lengths with less than this share of
# it are not looked at further.
_LEAST_DIP = 0.12
# Frames before and after it whose mean is taken for the scenes.
_ENDS = 3
# Among 10,723 stretches without a dissolve, of films and of still cameras, none passes these limits, of 175 dissolves
# between them all but one. Height of the deficit as a multiple of what is expected, share of it that is explained,
# farthest brightness from its course, brightness beside it.
_HEIGHT, _EXPLAINED, _COURSE, _BESIDE = (0.6, 1.5), 0.6, 0.25, 0.3
# Texts that change word by word make deficits too, but in their own places and by jumps. The deficit has at least this
# height in this share of the parts that are not empty; of all changes of the energy, the largest eighth of the steps
# between frames makes at most this share (asked for the longer ones). Of 61 false dissolves
# in 132 clips with drawn word captions these limits leave one; of 120 true dissolves without captions all are found.
_SHARE, _PART_HEIGHT = 0.7, 0.35
_JUMPS, _LONG = 0.6, 8
# Where brightness has no such course, because things move fast, height and share (at all places; or somewhat less
# there, but of the whole picture's energy) have narrower limits: all are still refused.
_SURE_HEIGHT, _SURE, _SURE_PARTS, _SURE_WHOLE = (0.75, 1.3), 0.8, 0.7, 0.95
# Errors below this are noise.
_NOISE = 0.02
# Scenes differ by at least this many grey levels and are less alike than this (correlation): else something fades, or
# light changes. Scenes with less energy than this (squared grey levels) are as good as empty.
_DIFFERENT, _ALIKE, _EMPTY = 12.0, 0.6, 1.0
# Over the frames taken for a scene its brightness changes by at most so many grey levels.
_STEADY = 15.0
# Blends up to this length may be taken for hard cuts.
_SHORT = 8
# A picture of a blend is at most so much darker than both scenes, grey levels.
_DARKER = 4.0
# Of a blend that was found, beginning and end are each searched for again within this share of its length, and at least
# so many frames, and again from there, so many times: set on 25 dissolves of 3 to 36 frames in five composed films. The
# test of shots has others.
_SEARCHED, _NEAREST, _TIMES = 1 / 3, 4, 3


@dataclass(frozen=True)
class _Frame:
    energy: Float[np.ndarray, " P"]
    means: Float[np.ndarray, " Q"]
    total: float
    """Mean energy."""
    thumb: Thumb


@dataclass(frozen=True)
class _Fit:
    """The last frame before a blend, the first frame after it, and how far it is from an ideal one."""

    before: int
    after: int
    error: float


class DissolveFinder:
    """Feed every frame in order; a dissolve is known some frames after its end."""

    def __init__(self, fps: float) -> None:
        self._stride = max(1, round(fps / _TRIED_FPS))
        # A dissolve is known half of its length after its end, and frames before it are looked at again then.
        self._frames: deque[_Frame] = deque(maxlen=2 * _LENGTHS[-1] + 2 * _ENDS)
        self._best: _Fit | None = None
        self._fed = 0
        self._cuts: deque[int] = deque(maxlen=_LENGTHS[-1])

    def feed(self, number: int, image_HWC: UInt8[np.ndarray, "H W 3"], thumb: Thumb) -> list[tuple[int, int]]:
        """Take a frame (BGR) and its thumb; the blends that are known now: first frame, frame after the last."""
        if number % self._stride:
            return []
        self._frames.append(_measured(image_HWC, thumb))
        self._fed += 1
        found = self._fit()
        known = []
        if self._best is not None and (
            found.before >= self._best.after if found is not None else self._fed > _settled(self._best)
        ):
            known, self._best = [self._span(self._best)], None
        if found is not None and (self._best is None or found.error < self._best.error):
            self._best = found
        return known

    def cut(self, number: int) -> None:
        """State that a hard cut was found before this frame: only a short blend, which looks like one, lies there."""
        self._cuts.append(-(-number // self._stride))

    def _first(self) -> int:
        """The place, among the frames that were looked at, of the first that is kept."""
        return self._fed - len(self._frames)

    def finish(self) -> list[tuple[int, int]]:
        """The blend that was not known yet."""
        return [] if self._best is None else [self._span(self._best)]

    def _span(self, fit: _Fit) -> tuple[int, int]:
        before, after = fit.before, fit.after
        for _ in range(_TIMES):
            near = max(_NEAREST, int(_SEARCHED * (after - before - 1)))
            earliest = max(self._first(), before - near - 2)
            frames = list(self._frames)[earliest - self._first() : after + near + 3 - self._first()]
            found = _edges(frames, before - earliest, after - earliest, near)
            if (found[0] + earliest, found[1] + earliest) == (before, after):
                break
            before, after = found[0] + earliest, found[1] + earliest
        return before * self._stride + 1, after * self._stride

    def _fit(self) -> _Fit | None:
        """The best fit of a dissolve that ended just before the last frames."""
        frames, best = self._frames, None
        end = len(frames) - _ENDS
        for length in _LENGTHS:
            start = end - length - 1
            if start < _ENDS - 1:
                break
            if length > _SHORT and any(start < cut - self._first() <= end for cut in self._cuts):
                break
            one, other = frames[start], frames[end]
            ends = one.total + other.total
            if min(one.total, other.total) < _EMPTY or ends / 2 - frames[(start + end) // 2].total < _LEAST_DIP * ends:
                continue
            # Between pictures that are both brighter, the film fades through black.
            least = min(one.thumb.brightness, other.thumb.brightness) - _DARKER
            if any(frames[k].thumb.brightness < least for k in range(start + 1, end)):
                continue
            if one.thumb.difference(other.thumb) < _DIFFERENT or one.thumb.likeness(other.thumb) > _ALIKE:
                continue
            # Both scenes are there for some frames: a flash is not.
            if any(_flickers(frames[k], frames[k + _ENDS - 1]) for k in (start - _ENDS + 1, end)):
                continue
            error = _error([frames[k] for k in range(start - _ENDS + 1, end + _ENDS)])
            if error is not None and (best is None or error < best.error):
                best = _Fit(start + self._first(), end + self._first(), error)
        return best


def _measured(image_HWC: UInt8[np.ndarray, "H W 3"], thumb: Thumb) -> _Frame:
    grey = cv2.cvtColor(image_HWC, cv2.COLOR_BGR2GRAY).astype(np.float32)
    across, down = grey[:-1, 1:] - grey[:-1, :-1], grey[1:, :-1] - grey[:-1, :-1]
    energy = cv2.resize(across * across + down * down, (_GRID, _GRID), interpolation=cv2.INTER_AREA).ravel()
    means = cv2.resize(thumb.image, (_GRID, _GRID), interpolation=cv2.INTER_AREA).astype(np.float32).ravel()
    return _Frame(energy, means, float(energy.mean()), thumb)


def _flickers(one: _Frame, other: _Frame) -> bool:
    return abs(one.thumb.brightness - other.thumb.brightness) > _STEADY


def _settled(fit: _Fit) -> int:
    """After so many frames no better fit of the same dissolve is to come."""
    return fit.after + _ENDS + (fit.after - fit.before) // 2


def _edges(frames: list[_Frame], before: int, after: int, near: int) -> tuple[int, int]:
    """Where among frames a blend fits best: the last one before it and the first one after it.

    Both are tried up to `near` frames from those given. With α from 0 to 1 between them, the energies are a sum of
    (1 − α)² and α², brightness of 1 − α and α, with one factor for each scene and place. The residuals of both are
    normal with deviations that aren't known, so the likelihood is greatest where the product of their sums of squares
    is least.
    """
    starts, ends = np.meshgrid(
        np.arange(max(0, before - near), before + near + 1),
        np.arange(after - near, min(len(frames) - 1, after + near) + 1),
        indexing="ij",
    )
    starts, ends = starts[ends - starts > 1], ends[ends - starts > 1]
    if not len(starts):
        return before, after
    energies, means = np.stack([frame.energy for frame in frames]), np.stack([frame.means for frame in frames])
    alpha = np.clip((np.arange(len(frames)) - starts[:, None]) / (ends - starts)[:, None], 0, 1)
    wrong = [
        _left_over(np.stack([(1 - alpha) ** 2, alpha**2], axis=-1), energies / np.maximum(energies.mean(axis=0), 1.0)),
        _left_over(np.stack([1 - alpha, alpha], axis=-1), means),
    ]
    best = int(np.argmin(np.log(np.maximum(wrong, 1e-6)).sum(axis=0)))
    return int(starts[best]), int(ends[best])


def _left_over(bases: Float[np.ndarray, "N T 2"], values: Float[np.ndarray, "T P"]) -> Float[np.ndarray, " N"]:
    """For each of N pairs of courses over time, the sum of squares that no sum of both explains."""
    products = np.einsum("nti,ntj->nij", bases, bases) + 1e-9 * np.eye(2)
    shares = np.einsum("nti,tp->nip", bases, values)
    explained = np.einsum("nip,nip->n", shares, np.linalg.solve(products, shares))
    return float((values**2).sum()) - explained


def _error(frames: list[_Frame]) -> float | None:
    """How far frames are from a dissolve between their first and their last three; None if they are none.

    A longer dissolve has a smaller error: of a dissolve into a smooth picture, each later part fits as well.
    """
    energy = np.stack([frame.energy for frame in frames])
    inside, length = slice(_ENDS, -_ENDS), len(frames) - 2 * _ENDS
    alpha = (np.arange(1, length + 1) / (length + 1))[:, None]
    one, other = energy[:_ENDS].mean(axis=0), energy[-_ENDS:].mean(axis=0)
    deficit = (1 - alpha) * one + alpha * other - energy[inside]
    expected = alpha * (1 - alpha) * (one + other)
    height, explained = _explained(deficit, expected)
    if not _HEIGHT[0] < height < _HEIGHT[1] or explained < _EXPLAINED:
        return None
    if not _everywhere(deficit, expected) or _jumps(energy[_ENDS - 1 : 1 - _ENDS].mean(axis=1)):
        return None
    if _is_light([frame.thumb.brightness for frame in frames], energy.mean(axis=1), (deficit - expected).mean(axis=1)):
        return None
    course, beside = _course(np.stack([frame.means for frame in frames]), alpha[:, 0])
    whole = _explained(deficit.mean(axis=1), expected.mean(axis=1))[1]
    surely = explained >= _SURE or (explained >= _SURE_PARTS and whole >= _SURE_WHOLE)
    surely = surely and _SURE_HEIGHT[0] < height < _SURE_HEIGHT[1]
    if not surely and (np.abs(course).max() > _COURSE or beside > _BESIDE):
        return None
    wrong = ((deficit - expected) ** 2).sum() / (expected**2).sum() + 0.25 * min(
        1.0, (course**2).sum() / (alpha**2).sum()
    )
    return float(wrong + _NOISE) / length


def _explained(deficit: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """The height of a deficit as a multiple of the expected one, and the share of it that this explains."""
    height = float((deficit * expected).sum() / (expected**2).sum())
    return height, 1 - float(((deficit - height * expected) ** 2).sum() / max((deficit**2).sum(), 1e-9))


def _everywhere(deficit: Float[np.ndarray, "N P"], expected: Float[np.ndarray, "N P"]) -> bool:
    """Whether the deficit is there in most of the picture: where a text changes, it is in the text's place alone."""
    norms = (expected**2).sum(axis=0)
    heights = (deficit * expected).sum(axis=0) / np.maximum(norms, 1e-9)
    # Both scenes' sum is the expected deficit in the middle, four times.
    shown = 4 * expected.max(axis=0) > 2 * _EMPTY
    return bool(np.quantile(heights[shown], 1 - _SHARE) >= _PART_HEIGHT) if shown.any() else False


def _jumps(energy: Float[np.ndarray, " N"]) -> bool:
    """Whether the energy goes by a few jumps, as where a word is replaced: a blend differs from frame to frame."""
    steps = np.sort(np.abs(np.diff(energy)))
    return len(steps) > _LONG and float(steps[-(len(steps) // 8) :].sum()) > _JUMPS * float(steps.sum())


def _is_light(brightness: list[float], energy: np.ndarray, wrong: np.ndarray) -> bool:
    """Whether light explains the energies better: the energy of one scene goes with the square of its brightness."""
    inside = slice(_ENDS, -_ENDS)
    lit = energy[_ENDS - 1] * (np.array(brightness[inside]) / max(brightness[_ENDS - 1], 1e-9)) ** 2
    return float(((energy[inside] - lit) ** 2).sum()) < float((wrong**2).sum())


def _course(means: Float[np.ndarray, "N Q"], alpha: np.ndarray) -> tuple[np.ndarray, float]:
    """How far brightness is from its straight course between both scenes, along it for each frame, and beside it."""
    first, last = means[:_ENDS].mean(axis=0), means[-_ENDS:].mean(axis=0)
    way = last - first
    length = max(float(way @ way), 1e-9)
    gone = (means[_ENDS:-_ENDS] - first) @ way / length
    beside = means[_ENDS:-_ENDS] - first - gone[:, None] * way
    return gone - alpha, float(np.sqrt((beside**2).sum(axis=1).mean() / length))
