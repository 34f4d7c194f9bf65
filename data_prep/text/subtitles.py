"""Find subtitles and titles: detected a few times per second, then tracked frame by frame while they are shown.

Detections can be wrong, so a text counts only with evidence that it is burnt in: its surroundings move while it is
static, or it appears or disappears while its surroundings stay the same. Without evidence (for example a sign in a
static scene) it is reported as not sure, and nothing is masked.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from data_prep.text.letters import LetterFinder
from data_prep.text.model import find_with_model
from data_prep.text.shape import darkened_box, drawn_box, grow_letters, text_shape
from data_prep.text.track import Box, Template, TextEvent, frames_shown

# Detections per second by letters and by the model; pictures in the window of the letters.
_LETTERS_RATE, _MODEL_RATE, _WINDOW = 8, 3, 5
# Seconds: to learn a template from, to look back for a text's start, to wait after its end; shortest text.
_LEARN, _BACK, _TAIL, _SHORTEST = 0.25, 2.0, 0.6, 0.5
# A pixel around a text moves if it deviates by so many grey levels while the text is shown; the surroundings move if
# this share of their pixels does.
_DEVIATES, _SHARE = 6.0, 0.5
# If a text appears or disappears within `_HARD` frames, the mean change of the picture must be below `_CUT` (no cut).
# If it fades, the median change of its surroundings must be below `_STILL`.
_HARD, _CUT, _STILL = 3, 25.0, 8.0
# Largest standard deviation of the presence while a text is fully shown: what is drawn on a picture does not vary.
_VARIES = 0.25
# Presence that a track must reach; least mean gradient (grey levels per pixel) of a text's edges.
_SHOWN_AT_ALL, _WEAKEST = 0.6, 14.0
# A text with weaker edges than this (mean gradient) must have been detected this many times.
_PLAIN, _DETECTIONS = 40.0, 3
# Most pictures kept of a text; with fewer than the second number, those from before its detection are used too.
_SAMPLES, _FEW = 12, 4
# Least share of a text's frames that show it fully, with a presence above the second value: something that drifts
# through the box is there only for a moment.
_PLATEAU, _FULL = 0.4, 0.7


@dataclass
class _Track:
    """A text that is being tracked; `centre` is the frame in which it was detected."""

    letters: Box
    template: Template
    centre: int
    back: list[float]
    """Presence in the frames from `centre` backwards."""
    presences: list[float]
    """Presence in the frames from `centre` on."""
    appears_alone: bool
    """Whether it appeared while its surroundings stayed the same."""
    samples: list[np.ndarray]
    """Some pictures that show it, spread over the time from `centre` on."""
    earlier: list[np.ndarray]
    """Some pictures that show it from before `centre`."""
    hidden: list[np.ndarray]
    """The last picture without it, if that shows the same scene."""
    changes: list[tuple[np.ndarray, np.ndarray]]
    """The first picture that shows it fully and the last one without it, if both show the same scene."""
    sudden: bool
    """Whether it appeared within `_HARD` frames."""
    came: int
    """The first frame that shows it, or -1 if it may have been shown before the oldest frame that was kept."""
    stride: int = 1
    """Of the pictures that could be samples, every `stride`-th is taken."""
    detections: int = 1
    """How many times it was detected."""


class SubtitleFinder:
    """Feed every frame in order (grey, uint8 `H W`), then call `finish`. Keeps only a few seconds of frames."""

    def __init__(self, fps: float, model: Path | None) -> None:
        self.fps, self.model = fps, model
        self._letters = LetterFinder(_WINDOW)
        self._tick = max(1, round(fps / _LETTERS_RATE))
        self._model_tick = max(1, round(fps / _MODEL_RATE / self._tick)) * self._tick
        self._learn = max(2, round(_LEARN * fps))
        self._frames: deque[np.ndarray] = deque(maxlen=round(_BACK * fps) + self._learn + self._tick * _WINDOW + 1)
        self._last = -1
        self._active: list[_Track] = []
        self._cuts: set[int] = set()
        self.events: list[TextEvent] = []

    def feed(self, image_HW: np.ndarray) -> None:
        """Take the next frame."""
        self._last += 1
        self._frames.append(image_HW)
        for track in list(self._active):
            self._follow(track, image_HW)
        if self._last % self._tick == 0:
            middle = self._last - self._tick * (_WINDOW // 2)
            for box in self._letters.feed(image_HW):
                self._start(box, middle)
        if self.model is not None and self._last % self._model_tick == 0 and self._last >= self._learn:
            centre = self._last - self._learn
            for box in find_with_model(self._frame(centre), self.model):
                self._start(box, centre)

    def standing(self, since: int) -> list[Box]:
        """Boxes of the texts known so far that the last frame shows and that appeared after the frame `since`."""
        return [t.template.box for t in self._active if t.presences[-1] > _FULL / 2 and t.came > since]

    def finish(self) -> list[TextEvent]:
        """End the texts that are still shown, and return all texts in order."""
        for track in list(self._active):
            self._end(track)
        self.events.sort(key=lambda e: (e.start, e.box))
        return self.events

    def _frame(self, number: int) -> np.ndarray:
        return self._frames[number - self._last - 1]

    def _oldest(self) -> int:
        return self._last - len(self._frames) + 1

    def _start(self, box: Box, centre: int) -> None:
        centre = max(centre, self._oldest())
        held = [track for track in self._active if _holds(track, box, centre)]
        for track in held:
            track.detections += 1
        if held:
            return
        height, width = self._frames[-1].shape
        pad = round(0.25 * (box[2] - box[0])) + 2
        padded = (max(0, box[0] - pad), max(0, box[1] - pad), min(height, box[2] + pad), min(width, box[3] + pad))
        step = max(1, self._learn // 4)
        after = [self._frame(n) for n in range(centre, min(centre + self._learn, self._last) + 1, step)]
        before = [self._frame(n) for n in range(max(centre - self._learn, self._oldest()), centre + 1, step)]
        template = Template.learn(after, padded) or Template.learn(before, padded)
        if template is None:
            return
        back = [template.presence(self._frame(n)) for n in range(centre, self._oldest() - 1, -1)]
        start = centre - frames_shown(back) + 1
        forward = [template.presence(self._frame(n)) for n in range(centre, self._last + 1)]
        local = self._comes_alone(template, back, start - 1, centre)
        full = max((n for n, value in enumerate(back[: centre - start + 1]) if value > _FULL), default=0)
        hidden = self._without(start - 1, centre - full)
        changes = [(self._frame(centre - full), image) for image in hidden]
        sudden = centre - full - (start - 1) <= _HARD
        first, earlier = [self._frame(centre)], self._stood(back, start, centre)
        came = start if start > self._oldest() else -1
        track = _Track(box, template, centre, back, forward, local, first, earlier, hidden, changes, sudden, came)
        self._active.append(track)

    def _stood(self, back: Sequence[float], start: int, centre: int) -> list[np.ndarray]:
        """Some pictures that show a text fully before its detection, which may come long after its first frame."""
        shown = [n for n in range(centre - self._tick, start - 1, -self._tick) if back[centre - n] > _FULL]
        step = max(1, -(-len(shown) // (_SAMPLES // 2)))
        return [self._frame(n) for n in shown[::step]]

    def cut(self, number: int) -> None:
        """State that a new shot begins with this frame; to be called as soon as that is known."""
        self._cuts.add(number)

    def _without(self, number: int, shown: int) -> list[np.ndarray]:
        """The frame of this number if it is still kept and in the same shot as the frame `shown`, else nothing."""
        if not self._oldest() <= number <= self._last or self._cut_between(number, shown):
            return []
        # If the whole scene fades in or out, the two frames can't be compared.
        image, other = self._frame(number), self._frame(max(shown, self._oldest()))
        return [image] if _scene_change(image, other) < _CUT else []

    def _cut_between(self, one: int, other: int) -> bool:
        return any(min(one, other) < cut <= max(one, other) for cut in self._cuts)

    def _comes_alone(self, template: Template, presences: Sequence[float], outside: int, centre: int) -> bool:
        """Whether a text appears (or disappears) while its surroundings stay; `outside`: the nearest frame without it.

        `presences` run from the frame `centre` towards `outside`. In the few frames of a sudden change even a moving
        scene changes little. In a slow one the surroundings must stay: a camera that comes to rest looks similar.
        """
        if not self._oldest() <= outside <= self._last:
            return False
        way = 1 if outside > centre else -1
        gone = abs(outside - centre)
        full = max((n for n in range(min(gone, len(presences))) if presences[n] > _FULL), default=0)
        inside = centre + way * full
        if inside < self._oldest() or self._cut_between(inside, outside):
            return False
        shown, hidden = self._frame(inside), self._frame(outside)
        if gone - full <= _HARD:
            return _scene_change(shown, hidden) < _CUT
        return _stays(template.box, shown, hidden)

    def _follow(self, track: _Track, image: np.ndarray) -> None:
        track.presences.append(track.template.presence(image))
        if self._last % (self._tick * track.stride) == 0 and track.presences[-1] > _FULL:
            track.samples.append(image)
            if len(track.samples) == _SAMPLES:
                track.samples, track.stride = track.samples[::2], 2 * track.stride
        tail = track.presences[-max(3, round(_TAIL * self.fps)) :]
        if len(track.presences) > len(tail) and max(tail) < 0.5:
            self._end(track)

    def _end(self, track: _Track) -> None:
        self._active.remove(track)
        # A template that was learnt while the text faded in is weaker than the text.
        scale = float(np.percentile(track.presences, 75))
        if scale < _SHOWN_AT_ALL:
            return
        history = [value / scale for value in [*track.back[:0:-1], *track.presences]]
        first, centre = track.centre - len(track.back) + 1, len(track.back) - 1
        # It may have been detected before it was fully shown.
        full = next((n for n in range(centre, len(history)) if history[n] > _FULL), centre)
        start = first + full - frames_shown(history[full::-1]) + 1
        end = min(first + full + frames_shown(history[full:]), self._last + 1)
        plateau = [value for value in history[start - first : end - first] if value > _FULL]
        if len(plateau) < max(_SHORTEST * self.fps, _PLATEAU * (end - start)) or np.std(plateau) > _VARIES:
            return
        if len(track.samples) < _FEW:
            track.samples = track.earlier + track.samples
        template = Template.learn(track.samples, track.template.box) or track.template
        strength = float(np.hypot(*template.values).mean())
        if strength < _WEAKEST:
            return
        last = max((n for n in range(start, end) if history[n - first] > _FULL), default=start)
        alone = track.appears_alone or self._comes_alone(track.template, history[full:], end, first + full)
        self._add(track, start, end, last, strength, alone)

    def _add(self, track: _Track, start: int, end: int, last: int, strength: float, alone: bool) -> None:
        """Add a text that ended. `last` is the last frame that shows it fully; `alone`: it came or went by itself."""
        # The boxes behind a text that this one replaces at once; while a text fades in, the one before has gone.
        replaced = [event for event in self.events if track.sudden and abs(event.end - 1 - start) <= _HARD]
        others = [box for event in replaced for box in event.boxes]
        after = self._without(end, max(start, end - 2))
        changes = [(*change, others) for change in track.changes]
        changes += [(self._frame(max(last, self._oldest())), image, []) for image in after]
        darkened = [box for change in changes if (box := darkened_box(track.letters, *change)) is not None]
        drawn = drawn_box(track.letters, np.stack(track.samples).mean(axis=0, dtype=np.float32))
        boxes = [box for box in (*darkened, drawn) if box is not None]
        hidden = track.hidden + after
        moves = _surroundings_move(track.template.box, track.earlier + track.samples)
        letters = track.letters
        # What appears and disappears with a text belongs to it if the scene moves all the time or stays the same.
        if hidden and (moves or any(_stays(track.template.box, track.samples[0], image) for image in hidden)):
            letters = grow_letters(letters, strength, track.samples, hidden)
        box, covered = text_shape(letters, strength, track.samples, hidden, boxes)
        # Eyes and leaves are taken for letters now and then, but not repeatedly.
        sure = (alone or moves or bool(darkened)) and (strength > _PLAIN or track.detections >= _DETECTIONS)
        # One frame more at both ends, because no trace may be trained on; but no text outlasts a cut.
        start -= start > 0 and start not in self._cuts
        end += end <= self._last and end not in self._cuts
        self.events.append(TextEvent(start, end, box, covered, boxes, sure))


def _holds(track: _Track, box: Box, frame: int) -> bool:
    """Whether a box detected in a frame belongs to this track already."""
    number = frame - track.centre
    if (
        number >= len(track.presences)
        or (number >= 0 and track.presences[number] < 0.5)
        or frame < track.centre - len(track.back)
    ):
        return False
    top, left, bottom, right = track.template.box
    rows = max(0, min(bottom, box[2]) - max(top, box[0]))
    columns = max(0, min(right, box[3]) - max(left, box[1]))
    return rows * columns >= 0.85 * (box[2] - box[0]) * (box[3] - box[1])


def _around(box: Box, image: np.ndarray) -> tuple[tuple[slice, slice], np.ndarray]:
    """A window around the box, larger by 1.5 lines on each side, and which of its pixels lie outside the box."""
    top, left, bottom, right = box
    pad = round(1.5 * (bottom - top))
    window = np.s_[max(0, top - pad) : bottom + pad, max(0, left - pad) : right + pad]
    outside = np.ones(image[window].shape, bool)
    first_row, first_column = min(pad, top), min(pad, left)
    outside[first_row : first_row + bottom - top, first_column : first_column + right - left] = False
    return window, outside


def _stays(box: Box, one: np.ndarray, other: np.ndarray) -> bool:
    """Whether most of what is around the box is the same in both pictures; other lines of text may differ."""
    window, outside = _around(box, one)
    change = cv2.absdiff(one[window], other[window])[outside]
    return bool(change.size and np.median(change) < _STILL)


def _scene_change(one: np.ndarray, other: np.ndarray) -> float:
    """Mean change of brightness over the whole picture, on a coarse grid."""
    return float(cv2.absdiff(one[::8, ::8], other[::8, ::8]).mean())


def _surroundings_move(box: Box, samples: list[np.ndarray]) -> bool:
    """Whether what is around the box moves from sample to sample."""
    window, outside = _around(box, samples[0])
    deviation = np.std([sample[window][outside] for sample in samples], axis=0)
    return bool(deviation.size and (deviation > _DEVIATES).mean() > _SHARE)
