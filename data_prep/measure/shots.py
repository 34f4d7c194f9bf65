"""Cut a video into shots, frame by frame: at cuts, fades through black, and dissolves, whose blends are left out."""

import itertools
from collections.abc import Iterable

import cv2
import numpy as np
from scenedetect import FrameTimecode
from scenedetect.detectors import ThresholdDetector

from data_prep.config import ShotSettings
from data_prep.measure.cuts import CutFinder, Thumb
from data_prep.measure.dissolves import DissolveFinder

# Width of the pictures in which cuts are found: small ones are faster and have less compression noise.
SHOT_WIDTH = 160
# Two fades closer than this, frames, are one.
_MIN_SCENE_LEN = 3
# Frames with a mean brightness below this show nothing; they are trimmed from the ends of shots.
_BLANK = 2.0


class ShotFinder:
    """Feed every frame in order, then call `spans`."""

    def __init__(self, settings: ShotSettings, fps: float) -> None:
        self._fps, self._black = fps, settings.black
        self._hard, self._dissolves = CutFinder(settings, fps), DissolveFinder(fps)
        self._fades = ThresholdDetector(threshold=settings.black, min_scene_len=_MIN_SCENE_LEN)
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
        # Times from frame numbers: with the true times of a variable rate, cuts would move.
        clock = FrameTimecode(number, fps=self._fps)
        self._add((cut.frame_num for cut in self._fades.process_frame(clock, image_HWC)), [])
        self._brightness.append(float(image_HWC.mean()))

    def _add(self, cuts: Iterable[int], blends: Iterable[tuple[int, int]]) -> None:
        for cut in cuts:
            self._cuts.add(cut)
            self._dissolves.cut(cut)
            self._last_cut = max(self._last_cut, cut)
        for blend in blends:
            self._blends.append(blend)
            self._last_cut = max(self._last_cut, blend[1])

    @property
    def last_cut(self) -> int:
        """The last cut so far, 0 before the first; a cut is known some frames after it."""
        return self._last_cut

    def spans(self) -> list[tuple[int, int]]:
        """Shots as (first frame, frame after the last), without blends and the blank frames at their ends.

        To be called once, after the last frame.
        """
        self._add(self._hard.finish(), self._dissolves.finish())
        total = len(self._brightness)
        blends = [(start, min(end, total)) for start, end in self._blends if not self._fades_beside(start, end)]
        cuts = {
            cut for cut in self._cuts if _MIN_SCENE_LEN <= cut < total and not any(a <= cut <= b for a, b in blends)
        }
        edges = sorted({0, total, *cuts, *itertools.chain(*blends)})
        parts = [part for part in itertools.pairwise(edges) if not any(a <= part[0] < b for a, b in blends)]
        trimmed = (self._trim(start, end) for start, end in parts)
        return [(start, end) for start, end in trimmed if start < end]

    def _fades_beside(self, start: int, end: int) -> bool:
        """Whether the film is black near a blend, as long before or after it as it lasts: it is part of a fade."""
        length = end - start
        around = self._brightness[max(0, start - length - _MIN_SCENE_LEN) : end + length + _MIN_SCENE_LEN]
        return min(around) < self._black

    def _trim(self, start: int, end: int) -> tuple[int, int]:
        while start < end and self._brightness[start] < _BLANK:
            start += 1
        while start < end and self._brightness[end - 1] < _BLANK:
            end -= 1
        return start, end
