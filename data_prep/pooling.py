"""Overlays that several videos of one source share: the only honest answer for cameras that do not move.

Each video gives its mean gradients. Scenes differ from video to video, so their edges point anywhere at any one place;
an overlay's point the same way in nearly all of them.
"""

import zipfile
import zlib
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from data_prep.overlays import RING_DEVIATES, grouped_overlays

# Videos of one source needed, and most that are looked at.
POOL_LEAST, _MOST = 6, 24
# A video has an edge where its mean gradient (grey levels a pixel) exceeds this; share of the videos that must.
_HAS, _SHARE = 1.5, 0.8
# How well the directions agree (length of the mean unit vector), here and beside an overlay; strength of the mean.
_AGREE, _AGREE_WEAK, _EDGE = 0.93, 0.8, 3.0
# Chance edges are few: side of a window (pixels) and the share of it that an overlay's edges fill.
_WINDOW, _DENSE = 11, 0.15
# Videos of one and the same scene tell nothing: grey levels that a pixel deviates from video to video, share that does.
_DEVIATES, _DIFFERENT = 12.0, 0.6


def pooled_overlay(files: Sequence[Path]) -> np.ndarray | None:
    """Covered pixels, bool `H W`, from the mean maps of videos of one source; None if they are too few or too alike."""
    maps = list(islice((one for one in map(_maps, files) if one is not None), _MOST))
    if len(maps) < POOL_LEAST:
        return None
    grads = np.stack([[m[name].astype(np.float32) / 8 for name in ("dx", "dy")] for m in maps])  # N 2 H W
    deviation = np.stack([m["grey"].astype(np.float32) for m in maps]).std(axis=0)
    if (deviation > _DEVIATES).mean() < _DIFFERENT:
        return None
    length = np.hypot(grads[:, 0], grads[:, 1])
    has = length > _HAS
    common = has.mean(axis=0) >= _SHARE
    units = grads / np.maximum(length, 1e-3)[:, None] * has[:, None]
    agreement = np.hypot(*units.sum(axis=0)) / np.maximum(has.sum(axis=0), 1)
    mean = grads.mean(axis=0)
    edges = common & (agreement > _AGREE) & (np.hypot(*mean) > _EDGE)
    edges &= cv2.blur(edges.astype(np.float32), (_WINDOW, _WINDOW)) > _DENSE
    return grouped_overlays(mean, edges, edges, common & (agreement > _AGREE_WEAK), deviation > RING_DEVIATES)


def _maps(file: Path) -> dict[str, np.ndarray] | None:
    """The maps of one video, or None if the file has gone or is damaged."""
    try:
        with np.load(file) as data:
            return {name: data[name] for name in ("dx", "dy", "grey")}
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error):
        return None
