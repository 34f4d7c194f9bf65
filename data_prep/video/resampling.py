"""One frame rate for all shots: frames of faster videos are left out, so that every shot shows its true speed."""

import base64
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from vidboot.data.clock import display_times, rate_of

# A rate this close to the wanted one is it: 23.976 for 24, 29.97 for 30.
_NEAR = 0.01
# The clock's unit, seconds, in which times are kept: as fine as any container's.
_UNIT = 1e-6


@dataclass(frozen=True)
class Resampling:
    """How a shot comes to its stored rate."""

    timing: str
    """A value of the manifest's column `timing`."""
    kept: Int[np.ndarray, " N"]
    """Numbers of the stored frames, counted from the shot's first."""
    own_fps: float
    """Frames per second before."""


def resample(seconds: Sequence[float], declared: float, wanted: float | None) -> Resampling:
    """Choose the frames of a shot with these times, in a file of `declared` frames per second, for the rate `wanted`.

    Each wanted moment takes the frame that is nearest to it. `timing` is `own` without a wanted rate, `near` if the
    shot's own is within 1 % of it, `slower` if the shot has too few frames, else `dropped`.
    """
    every = np.arange(len(seconds))
    own = rate_of(seconds, _UNIT, [declared]) or declared
    if wanted is None:
        return Resampling("own", every, own)
    if abs(own / wanted - 1) <= _NEAR:
        return Resampling("near", every, own)
    if own < wanted:
        return Resampling("slower", every, own)
    times = np.asarray(display_times(seconds, own))
    count = max(1, round((times[-1] + 1 / own) * wanted))
    middles = (times[1:] + times[:-1]) / 2
    nearest = np.searchsorted(middles, np.arange(count) / wanted, side="right")
    return Resampling("dropped", np.unique(nearest), own)


def pack_times(seconds: Sequence[float]) -> str:
    """Times of frames as text: regular ones take a few bytes."""
    ticks = np.round(np.asarray(seconds) / _UNIT).astype(np.int64)
    # Differences of differences: zeros wherever the clock goes evenly.
    return base64.b64encode(zlib.compress(np.diff(ticks, n=2, prepend=[0, 0]).tobytes())).decode()


def unpack_times(text: str) -> list[float]:
    """The times that `pack_times` made a text of, to a microsecond."""
    changes = np.frombuffer(zlib.decompress(base64.b64decode(text)), np.int64)
    return (np.cumsum(np.cumsum(changes)) * _UNIT).tolist()


def shot_resampling(times: str, declared: float, start: int, end: int, wanted: float | None) -> Resampling:
    """`resample` for frames `start` to `end` of a video with these packed `times`, which it has if a rate is wanted."""
    if wanted is None:
        return Resampling("own", np.arange(end - start), declared)
    return resample(unpack_times(times)[start:end], declared, wanted)
