"""Cut a video into shots, frame by frame: at cuts, at fades, and at dissolves, whose blends are left out."""

import itertools
from collections.abc import Iterable

import cv2
import numpy as np

from data_prep.config import ShotSettings
from data_prep.measure.cuts import CutFinder, Thumb
from data_prep.measure.dissolves import DissolveFinder
from data_prep.measure.fades import Fade, FadeFinder

# Width of the pictures in which cuts are found: small ones are faster and have less compression noise.
SHOT_WIDTH = 160
# A shot has at least so many frames.
_MIN_SCENE_LEN = 3


class ShotFinder:
    """Feed every frame in order, then call `spans`."""

    def __init__(self, settings: ShotSettings, fps: float) -> None:
        self._black = settings.black
        self._hard, self._dissolves = CutFinder(settings, fps), DissolveFinder(fps)
        # Fades through a picture that is dark, but not empty: first dark frame, first bright one after it.
        self._dips: list[tuple[int, int]] = []
        self._bright: int | None = None
        self._fades = FadeFinder(fps)
        self._through: list[Fade] = []
        self._cuts: set[int] = set()
        self._blends: list[tuple[int, int]] = []
        self._last_cut = 0
        self._brightness: list[float] = []

    def feed(self, number: int, image_HWC: np.ndarray) -> None:
        """Take one frame, uint8 `H W C` BGR."""
        height, width = image_HWC.shape[:2]
        if width > SHOT_WIDTH:
            size = (SHOT_WIDTH, max(1, round(height * SHOT_WIDTH / width)))
            image_HWC = cv2.resize(image_HWC, size, interpolation=cv2.INTER_AREA)
        thumb = Thumb(image_HWC)
        self._add(self._hard.feed(number, image_HWC, thumb), self._dissolves.feed(number, image_HWC, thumb))
        self._fade(self._fades.feed(number, image_HWC, thumb))
        self._brightness.append(float(image_HWC.mean()))
        self._dip(number)

    def _add(self, cuts: Iterable[int], blends: Iterable[tuple[int, int]]) -> None:
        for cut in cuts:
            self._cuts.add(cut)
            self._dissolves.cut(cut)
            self._last_cut = max(self._last_cut, cut)
        for blend in blends:
            self._blends.append(blend)
            self._last_cut = max(self._last_cut, blend[1])

    def _dip(self, number: int) -> None:
        if self._brightness[-1] < self._black:
            return
        # The film may begin dark: nothing fades there.
        if self._bright is not None and self._bright < number - 1:
            self._dips.append((self._bright + 1, number))
            self._last_cut = max(self._last_cut, sum(self._dips[-1]) // 2)
        self._bright = number

    def _fade(self, fades: Iterable[Fade]) -> None:
        for fade in fades:
            self._through.append(fade)
            self._last_cut = max(self._last_cut, fade.end)

    @property
    def last_cut(self) -> int:
        """The last cut so far, 0 before the first; a cut is known some frames after it."""
        return self._last_cut

    def spans(self) -> list[tuple[int, int]]:
        """Shots as (first frame, frame after the last), without blends and the empty frames at their ends.

        To be called once, after the last frame.
        """
        self._add(self._hard.finish(), self._dissolves.finish())
        self._fade(self._fades.finish())
        total = len(self._brightness)
        blends = [(start, min(end, total)) for start, end in self._blends if not self._fades_beside(start, end)]
        # What fades looks like a blend, or like a cut where little of it is left.
        left_out = [*blends, *((fade.start, fade.end) for fade in self._through)]
        whole = [*blends, *((fade.first, fade.last) for fade in self._through)]
        dips = {
            (a + b) // 2 for a, b in self._dips if not any(a < fade.end and b > fade.start for fade in self._through)
        }
        cuts = {
            cut
            for cut in self._cuts | dips
            if _MIN_SCENE_LEN <= cut < total and not any(a <= cut <= b for a, b in whole)
        }
        edges = sorted({0, total, *cuts, *itertools.chain(*left_out)})
        parts = [part for part in itertools.pairwise(edges) if not any(a <= part[0] < b for a, b in left_out)]
        trimmed = (self._trim(start, end) for start, end in parts)
        return [(start, end) for start, end in trimmed if start < end]

    def _fades_beside(self, start: int, end: int) -> bool:
        """Whether a blend is part of a fade: one is there, or the film is black as long before or after as it lasts."""
        if any(start < fade.last and end > fade.first for fade in self._through):
            return True
        length = end - start
        around = self._brightness[max(0, start - length - _MIN_SCENE_LEN) : end + length + _MIN_SCENE_LEN]
        return min(around) < self._black

    def _trim(self, start: int, end: int) -> tuple[int, int]:
        while start < end and self._fades.empty[start]:
            start += 1
        while start < end and self._fades.empty[end - 1]:
            end -= 1
        return start, end
