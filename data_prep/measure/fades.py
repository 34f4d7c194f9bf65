"""Find fades: between two shots the picture goes over into one colour, mostly black or white, and shows nothing."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import UInt8

from data_prep.measure.cuts import Thumb

# Standard deviation of the pixels, grey levels (mean of the colours), below which a picture shows nothing: compression
# leaves less of a black or white one, and of a scene that fades a twentieth is left.
_FLAT = 2.0
# Empty pictures that last this long (seconds) part what is before from what is after, whatever that is: flashes are
# shorter. So do so many that are darker than the second value (grey levels): fewer may be lost pictures.
_LONG, _DARK, _LEAST = 0.5, 12.0, 3
# Below this likeness, the pictures before and after a shorter stretch are of different scenes, as on both sides of a
# cut (`cuts`); so are two neighbours in a fade, unless their contrast is so low that noise decides.
_ALIKE, _FAINT = 0.6, 8.0
# While a scene fades, its contrast falls from picture to picture, but for this share; for this long at most (seconds).
_NOISE, _LONGEST = 0.02, 2.5


@dataclass(frozen=True)
class Fade:
    """A stretch of empty pictures between two shots, and the pictures beside it that fade."""

    first: int
    """First frame that fades out, or else the first empty one."""
    start: int
    """First empty frame."""
    end: int
    """Frame after the last empty one."""
    last: int
    """Frame after the last one that fades in, or else after the last empty one."""


@dataclass
class _Picture:
    number: int
    brightness: float
    contrast: float
    thumb: Thumb


@dataclass
class _Stretch:
    """Empty pictures, the last one before them and the fading one farthest before them, and what follows."""

    start: int
    last: _Picture
    before: _Picture
    brightest: float
    end: int
    after: list[_Picture]


class FadeFinder:
    """Feed every frame in order, then call `finish`; a fade is known some seconds after its end."""

    def __init__(self, fps: float) -> None:
        self._long, self._longest = max(_LEAST + 1, round(_LONG * fps)), round(_LONGEST * fps)
        self._recent: deque[_Picture] = deque(maxlen=self._longest)
        self._stretch: _Stretch | None = None
        self.empty: list[bool] = []
        """For each frame, whether it shows nothing."""

    def feed(self, number: int, image_HWC: UInt8[np.ndarray, "H W 3"], thumb: Thumb) -> Iterator[Fade]:
        """Take a frame and its thumb; the fades that are known now."""
        mean, deviation = cv2.meanStdDev(image_HWC)
        picture = _Picture(number, float(mean.mean()), float(deviation.mean()), thumb)
        self.empty.append(picture.contrast < _FLAT)
        if self.empty[-1]:
            yield from self._begin_or_go_on(picture)
        elif self._stretch is not None:
            self._stretch.after.append(picture)
            if len(self._stretch.after) >= self._longest:
                yield from self.finish()
        self._recent.append(picture)

    def _begin_or_go_on(self, picture: _Picture) -> Iterator[Fade]:
        if self._stretch is not None and self._stretch.after:
            yield from self.finish()
        if self._stretch is None and self._recent and not self.empty[picture.number - 1]:
            before = _farthest_fading(reversed(self._recent))
            self._stretch = _Stretch(picture.number, self._recent[-1], before, 0.0, 0, [])
        if self._stretch is not None:
            self._stretch.brightest = max(self._stretch.brightest, picture.brightness)
            self._stretch.end = picture.number + 1

    def finish(self) -> Iterator[Fade]:
        """The fade that was not known yet."""
        one, self._stretch = self._stretch, None
        if one is None or not one.after:
            return
        after, length = _farthest_fading(one.after), one.end - one.start
        black = length >= _LEAST and one.brightest < _DARK
        # A scene that moves fast is best known by the pictures that are nearest to a flash.
        pairs = ((one.before, after), (one.last, one.after[0]))
        unlike = all(a.thumb.likeness(b.thumb) < _ALIKE for a, b in pairs)
        if black or length >= self._long or unlike:
            yield Fade(one.before.number + 1, one.start, one.end, after.number)


def _farthest_fading(away: Iterable[_Picture]) -> _Picture:
    """Of pictures in order, away from an empty stretch, the first that has the whole contrast of its scene."""
    pictures = iter(away)
    highest = before = next(pictures)
    for picture in pictures:
        other_scene = picture.contrast > _FAINT and picture.thumb.likeness(before.thumb) < _ALIKE
        if other_scene or picture.contrast < (1 - _NOISE) * highest.contrast:
            break
        if picture.contrast > (1 + _NOISE) * highest.contrast:
            highest = picture
        before = picture
    return highest
