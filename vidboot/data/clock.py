"""How many pictures a second a video has, from the times of its frames: headers often say something else."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import accumulate, pairwise
from statistics import median

import av

TIMED_PACKETS = 200
"""How many packets' times are read to find the frame rate."""

# The clock went back, as between two parts of a recording, if a time lies this many steps before an earlier one:
# B-frames are at most 16 steps from their place (H.264 and H.265 reorder 16 frames).
_REORDERED = 16.5
# A step this many times the median one is a gap, not a frame's duration: the sound goes on, or a camera was paused.
_GAP = 4.0
# A clock's tick counts up to this share of a step: AVI's tick is a whole step, and two steps are not as long as one.
_COARSE = 0.4
# Steps that differ from the median one by this share, besides the clock's tick, are as long as it. Where at least the
# second share of all steps are so, and at most the third has no length, these steps alone give the rate.
_SAME, _REGULAR, _DUPLICATE = 0.02, 0.8, 0.1
# Rates in use. A measured rate that its clock is too coarse to tell from one of them is that one.
_USUAL = [
    *(float(rate) for rate in (10, 12, 12.5, 15, 16, 18, 20, 24, 25, 30, 48, 50, 60, 72, 90, 100, 120)),
    *(rate / 1.001 for rate in (12.0, 15.0, 24.0, 30.0, 48.0, 60.0, 120.0)),
]


def frame_rate(stream: av.VideoStream, shown: Iterable[int]) -> float:
    """Pictures per second: from the times `shown` of the first packets, else from the headers.

    Where a file states no rate, FFmpeg's mean rate is its time base (1000 for Matroska) or, for raw streams, 25.
    """
    said = [float(rate) for rate in (stream.average_rate, stream.guessed_rate) if rate]
    unit = float(stream.time_base or Fraction(0))
    measured = rate_of([time * unit for time in shown], unit, said)
    # A stream without times: what its coded headers say. The mean is then but FFmpeg's default.
    return measured or float(stream.codec_context.framerate or 0) or [25.0, *said][-1]


def rate_of(seconds: Sequence[float], tick: float, said: Sequence[float] = ()) -> float | None:
    """Frames per second of frames with these times, in any order that a decoder gives; None if no two times differ.

    Gaps, a first time that is far off, a clock that starts again, dropped frames and frames that share a time do not
    change the rate of the others. `tick` is the clock's unit in seconds: a rate of `said` (or else one in common use)
    that can't be told from the measured one with such a clock is taken instead of it.
    """
    every = _steps(seconds)
    longest = _longest(every)
    steps = [step for step in every if step <= longest]
    lasting = [step for step in steps if step > 0]
    if not lasting:
        return None
    usual = median(lasting)
    same = [step for step in lasting if abs(step - usual) <= min(tick, _COARSE * usual) + _SAME * usual]
    regular = len(same) >= _REGULAR * len(lasting) and len(lasting) >= (1 - _DUPLICATE) * len(steps)
    if regular:
        total, count = sum(same), len(same)
        # Both ends of each stretch of such steps may be half a tick off.
        error = tick * (1 + len(every) - len(steps) + len(lasting) - len(same)) / total
    else:
        total, count = sum(steps), len(steps)
        error = (max(steps) - min(steps) + tick) / total
    rate = count / total
    for known in (said, _USUAL if regular else ()):
        nearest = min(known, key=lambda one: abs(one - rate), default=None)
        if nearest is not None and abs(nearest - rate) <= error * rate:
            return nearest
    return rate


def display_times(seconds: Sequence[float], fps: float) -> list[float]:
    """Times of frames of about `fps` frames per second, ascending from 0, as they are to be shown.

    `seconds` may be out of order. A gap lasts one frame. Frames that share a time get `fps`, as all do if some do.
    """
    steps = _steps(seconds)
    longest = _longest(steps)
    doubled = sum(step == 0 for step in steps) > _DUPLICATE * len(steps)
    steps = [1 / fps if doubled or step > longest else step for step in steps]
    # Where the clock starts again, a step is missing.
    steps += [1 / fps] * (len(seconds) - 1 - len(steps))
    return list(accumulate(steps, initial=0.0))


def _longest(steps: Sequence[float]) -> float:
    """The longest step that is no gap."""
    return _GAP * median([step for step in steps if step > 0] or [0.0])


def _steps(seconds: Sequence[float]) -> list[float]:
    """The times from one frame to the next in display order; 0 for frames that share a time."""
    moves = [abs(b - a) for a, b in pairwise(seconds) if a != b]
    if not moves:
        return []
    unit, latest = median(moves), seconds[0]
    parts: list[list[float]] = [[]]
    for time in seconds:
        if time < latest - _REORDERED * unit:
            parts.append([])
            latest = time
        parts[-1].append(time)
        latest = max(latest, time)
    return [b - a for part in parts for a, b in pairwise(sorted(part))]
