"""Cut a video into shots with PySceneDetect's detectors, frame by frame: exact at any frame rate."""

import itertools

import cv2
import numpy as np
from scenedetect import FrameTimecode
from scenedetect.detectors import AdaptiveDetector, ThresholdDetector

from data_prep.config import ShotSettings

# Width of the pictures in which cuts are found: small ones are faster and have less compression noise.
SHOT_WIDTH = 160
# Two cuts closer than this are a flash, not a shot.
_MIN_SCENE_LEN = 3
# Frames with a mean brightness below this show nothing; they are trimmed from the ends of shots.
_BLANK = 2.0


class ShotFinder:
    """Feed every frame in order, then call `spans`."""

    def __init__(self, settings: ShotSettings, fps: float) -> None:
        self._fps = fps
        self._adaptive = AdaptiveDetector(
            adaptive_threshold=settings.ratio, min_content_val=settings.min_change, min_scene_len=_MIN_SCENE_LEN
        )
        self._fades = ThresholdDetector(threshold=settings.black, min_scene_len=_MIN_SCENE_LEN)
        self._cuts: set[int] = set()
        self._last_cut = 0
        self._brightness: list[float] = []

    def feed(self, number: int, image_HWC: np.ndarray) -> None:
        """Take one frame, uint8 `H W C` BGR."""
        height, width = image_HWC.shape[:2]
        if width > SHOT_WIDTH:
            size = (SHOT_WIDTH, max(1, round(height * SHOT_WIDTH / width)))
            image_HWC = cv2.resize(image_HWC, size, interpolation=cv2.INTER_AREA)
        # Times from frame numbers: with the true times of a variable rate, cuts would move.
        clock = FrameTimecode(number, fps=self._fps)
        for detector in (self._adaptive, self._fades):
            for cut in detector.process_frame(clock, image_HWC):
                self._cuts.add(cut.frame_num)
                self._last_cut = max(self._last_cut, cut.frame_num)
        self._brightness.append(float(image_HWC.mean()))

    @property
    def last_cut(self) -> int:
        """The last cut so far, 0 before the first; a cut is known a few frames after it."""
        return self._last_cut

    def spans(self) -> list[tuple[int, int]]:
        """Shots as (first frame, frame after the last), without the blank frames at their ends."""
        total = len(self._brightness)
        edges = [0, *sorted(c for c in self._cuts if 0 < c < total), total]
        trimmed = (self._trim(start, end) for start, end in itertools.pairwise(edges))
        return [(start, end) for start, end in trimmed if start < end]

    def _trim(self, start: int, end: int) -> tuple[int, int]:
        while start < end and self._brightness[start] < _BLANK:
            start += 1
        while start < end and self._brightness[end - 1] < _BLANK:
            end -= 1
        return start, end
