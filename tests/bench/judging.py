"""Judge what somebody found in a clip against boxes drawn by hand: what of them is masked, and what else is.

A finder is a function from a video's path to a `Found`. Boxes are [left, top, right, bottom] in pixels of 640×360; each
belongs to an overlay that is shown from `start` to `end` (seconds; null: from the first or to the last frame). One that
moves has `boxes` instead, pairs of a time and a box, between which it moves evenly. `ignore` marks what one can argue
about (bars, frames, inserted pictures, thin graphics): it need not be masked, and may be.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binomtest

BOXES_HEIGHT, BOXES_WIDTH = 360, 640
# An overlay counts as masked if this share of its box is, on average over the frames that show it; a clip has a false
# mask if more than the second share of its pixels is masked beside the boxes. Both as in the first count by hand.
MASKED, FALSE = 0.4, 0.002
# Pixels by which boxes are grown before what is masked beside them is counted: masks are wider than letters.
_GROWN = 6
# Outermost pixels that are not counted as false masks: 8 of the 61 clips have a dark line along an edge.
_MARGIN = 2
# The more serious, the later.
_SAID = ("clean", "uncertain", "masked")

Overlay = dict[str, Any]


@dataclass(frozen=True)
class Found:
    """What a finder says of a video."""

    frames: int
    fps: float
    kept: tuple[int, int, int, int]
    """Top, left, height and width of the picture without bars, in pixels of `covered`."""
    shots: list[tuple[int, int, str, str]]
    """First frame, frame after the last, verdict (clean, uncertain, masked) and its reason, of every shot."""
    covered: Callable[[int], np.ndarray]
    """The masked pixels of a frame, bool `H W`."""


Finder = Callable[[Path], Found]


def box_at(overlay: Overlay, seconds: float) -> tuple[float, float, float, float] | None:
    """Where an overlay is at a time, None if it isn't shown."""
    if seconds < (overlay["start"] or 0) or (overlay["end"] is not None and seconds >= overlay["end"]):
        return None
    if "box" in overlay:
        return tuple(overlay["box"])
    times, boxes = zip(*overlay["boxes"], strict=True)
    return tuple(float(np.interp(seconds, times, side)) for side in np.transpose(boxes))


def area(box: tuple[float, float, float, float], shape: tuple[int, int], grown: int = 0) -> tuple[slice, slice]:
    """Rows and columns of a box, in a picture of this height and width."""
    down, across = shape[0] / BOXES_HEIGHT, shape[1] / BOXES_WIDTH
    left, top, right, bottom = box
    rows = slice(max(0, round((top - grown) * down)), max(1, round((bottom + grown) * down)))
    return rows, slice(max(0, round((left - grown) * across)), max(1, round((right + grown) * across)))


def judge(found: Found, overlays: list[Overlay]) -> dict[str, Any]:
    """What of each overlay is masked, what else is, and what was said about the clip."""
    shares: list[list[float]] = [[] for _ in overlays]
    shown: list[list[int]] = [[] for _ in overlays]
    over, cropped = np.zeros(found.frames), 0.0
    for number in range(found.frames):
        covered = found.covered(number)
        beside, inside = covered.copy(), _inside(covered.shape, found.kept)
        bars = ~inside
        for index, overlay in enumerate(overlays):
            box = box_at(overlay, number / found.fps)
            if box is not None:
                where = area(box, covered.shape)
                # What is cropped away with a bar is gone as well.
                shares[index].append(float((covered | ~inside)[where].mean()))
                shown[index].append(number)
                around = area(box, covered.shape, _GROWN)
                beside[around] = bars[around] = False
        over[number] = (beside & inside & _inside(covered.shape, margin=_MARGIN)).mean()
        cropped += bars.mean() / found.frames
    return {
        "verdict": _worst([shot[2] for shot in found.shots]),
        "shots": [list(shot) for shot in found.shots],
        "frames": found.frames,
        "overlays": [
            {**_name(overlay), "share": float(np.mean(share)) if share else None, "verdict": _said(found, frames)}
            for overlay, share, frames in zip(overlays, shares, shown, strict=True)
            if not overlay.get("ignore")
        ],
        "over": float(over.mean()),
        "peak": [int(over.argmax()), float(over.max())] if found.frames else [0, 0.0],
        "cropped": cropped,
    }


def _name(overlay: Overlay) -> Overlay:
    return {key: overlay[key] for key in ("kind", "says", "start", "end") if key in overlay}


def _inside(shape: tuple[int, ...], kept: tuple[int, int, int, int] | None = None, margin: int = 0) -> np.ndarray:
    """The pixels of the kept picture, or all but a margin, bool `H W`."""
    top, left, height, width = kept or (margin, margin, shape[0] - 2 * margin, shape[1] - 2 * margin)
    inside = np.zeros(shape, bool)
    inside[top : top + height, left : left + width] = True
    return inside


def _said(found: Found, frames: list[int]) -> str:
    """The verdict on the shots that show an overlay in these frames; the least serious, as that is what misleads."""
    said = [verdict for start, end, verdict, _ in found.shots if any(start <= n < end for n in frames)]
    return min(said, key=_SAID.index, default="uncertain")


def _worst(verdicts: list[str]) -> str:
    return max(verdicts, key=_SAID.index, default="uncertain")


def fold_of(name: str, folds: int) -> int:
    """The fold of a clip, by its name alone, so that adding clips moves none."""
    return int(hashlib.sha256(Path(name).name.encode()).hexdigest(), 16) % folds


def share(count: int, total: int) -> dict[str, Any]:
    """A share with its 95 % interval (Wilson)."""
    if not total:
        return {"count": 0, "of": 0}
    low, high = binomtest(count, total).proportion_ci(method="wilson")
    return {"count": count, "of": total, "share": count / total, "from": float(low), "to": float(high)}


def summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    """The figures of many judged clips."""
    judged = [one for one in results if "error" not in one]
    overlays = [overlay for one in judged for overlay in one["overlays"] if overlay["share"] is not None]
    missed = [overlay for overlay in overlays if overlay["share"] < MASKED]
    clean = [one for one in judged if not one["overlays"]]
    rest = [one for one in judged if one["overlays"]]
    return {
        "masked": share(len(overlays) - len(missed), len(overlays)),
        **{f"missed in {said}": share(sum(o["verdict"] == said for o in missed), len(overlays)) for said in _SAID},
        "clean clips with a false mask": share(sum(one["over"] > FALSE for one in clean), len(clean)),
        "over-mask of clean clips": _mean([one["over"] for one in clean]),
        "over-mask beside overlays": _mean([one["over"] for one in rest]),
        **{f"clean clips called {s}": share(sum(one["verdict"] == s for one in clean), len(clean)) for s in _SAID},
        "clips that failed": len(results) - len(judged),
    }


def _mean(values: list[float]) -> dict[str, Any]:
    """A mean with its 95 % interval over clips (bootstrap)."""
    if not values:
        return {"of": 0}
    drawn = np.random.default_rng(0).choice(values, (2000, len(values))).mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return {"mean": float(np.mean(values)), "of": len(values), "from": float(low), "to": float(high)}
