"""The region graph: where views overlap, and how often each region counts, so that every degree of freedom counts once.

The sum of the scores of overlapping views counts what they share more than once. So the set of views is closed under
intersection, and every region R gets the counting number

    c_R = 1 − Σ_{S ⊋ R} c_S          (inclusion–exclusion; Kikuchi 1951, Yedidia et al. 2005)

which makes Σ_R c_R A_Rᵀ A_R = I.
"""

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from vidboot.method.views import View

Cell = tuple[frozenset[int], int]
"""Frames and scale of a view."""


@dataclass(frozen=True)
class Region:
    """A view and its counting number c_R."""

    view: View
    count: int


def region_graph(views: Iterable[View]) -> list[Region]:
    """Close `views` under intersection, count by inclusion–exclusion, drop regions with c_R = 0.

    Views of the same frames at scales r and s meet in the scale lcm(r, s): the coarser one, if one divides the other.
    Largest regions come first.
    """
    return list(_region_graph(tuple(dict.fromkeys(views))))


@lru_cache(maxsize=256)
def _region_graph(views: tuple[View, ...]) -> tuple[Region, ...]:
    cells = _closure({(frozenset(view.frames), view.scale) for view in views})
    # Finer and larger regions first: those that contain a region come before it.
    ordered = sorted(cells, key=lambda cell: (cell[1], -len(cell[0]), sorted(cell[0])))
    counts: dict[Cell, int] = {}
    holding: dict[int, list[Cell]] = defaultdict(
        list
    )  # cells by frame: few cells hold a frame, however long the video is
    for frames, scale in ordered:
        above = (counts[f, s] for f, s in holding[min(frames)] if scale % s == 0 and frames <= f)
        counts[frames, scale] = 1 - sum(above)
        for frame in frames:
            holding[frame].append((frames, scale))
    return tuple(Region(View(sorted(frames), scale), c) for (frames, scale), c in counts.items() if c)


def _closure(cells: set[Cell]) -> set[Cell]:
    """All non-empty intersections of any number of the given cells."""
    holding: dict[int, list[Cell]] = defaultdict(list)
    for frames, scale in cells:
        for frame in frames:
            holding[frame].append((frames, scale))
    closed, fresh = set(cells), set(cells)
    while fresh:
        near = ((f, r, g, s) for f, r in fresh for g, s in set(itertools.chain(*(holding[frame] for frame in f))))
        met = {(f & g, math.lcm(r, s)) for f, r, g, s in near}
        fresh = met - closed
        closed |= fresh
    return closed


def windows(num_frames: int, length: int, overlap: int, scale: int = 1, shift: int = 0) -> list[View]:
    """Windows of `length` frames, each sharing `overlap` with the one before, over `num_frames`.

    All but the first and the last begin `shift` frames earlier (0 ≤ shift < length − overlap). The last window ends
    with the video, so it may share more frames with the one before. A video shorter than `length` is one window.
    Raises `ValueError` unless 0 ≤ overlap < length.
    """
    if not 0 <= overlap < length:
        raise ValueError(f"windows of {length} frames can't overlap by {overlap}")
    if num_frames <= length:
        return [View(range(num_frames), scale)]
    step = length - overlap
    starts = [0, *range(step - shift, num_frames - length, step), num_frames - length]
    return [View(range(start, start + length), scale) for start in starts]


def low_resolution(num_frames: int, scales: Sequence[int]) -> list[View]:
    """The whole video at each of the given low-res factors."""
    return [View(range(num_frames), scale) for scale in scales]


@dataclass(frozen=True)
class ViewPlan:
    """Which views a model has, for videos of any number of frames.

    The clip network gets windows of `length` frames, each sharing `overlap` frames with the one before. For each factor
    in `low_res` (ascending, each dividing the next) a low-res network gets the whole video. Raises `ValueError` for
    factors or an overlap that don't fit.
    """

    length: int
    overlap: int
    low_res: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "low_res", tuple(self.low_res))
        if any(b <= a or b % a for a, b in itertools.pairwise(self.scales)):
            raise ValueError(f"low-res factors ascend from 2 up, each dividing the next; got {self.low_res}")
        windows(self.length + 1, self.length, self.overlap)  # raises for an overlap that doesn't fit

    @property
    def scales(self) -> tuple[int, ...]:
        """Full resolution and the low-res factors, finest first."""
        return (1, *self.low_res)

    def windows(self, num_frames: int, scale: int = 1) -> list[View]:
        """The clip network's windows."""
        return windows(num_frames, self.length, self.overlap, scale)

    def regions(self, num_frames: int) -> list[Region]:
        """The region graph of all views over a video of `num_frames` frames."""
        return region_graph(self.windows(num_frames) + low_resolution(num_frames, self.low_res))
