"""Overlays that several videos of one source share: the only honest answer for cameras that do not move.

Each video gives its mean gradients. What most of the videos have at the same place is no scene; so the median over
videos replaces the mean over frames.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data_prep.overlays import grouped_overlays

# Videos of one source needed, and most that are looked at.
POOL_LEAST, _MOST = 6, 24
# Median gradient (grey levels a pixel) and consistency of an overlay's edge over the videos.
_EDGE, _CONSISTENT = 1.25, 0.6


def pooled_overlay(files: Sequence[Path]) -> np.ndarray | None:
    """Covered pixels, bool `H W`, from the mean maps of videos of one source; None if they are too few."""
    if len(files) < POOL_LEAST:
        return None
    maps = [np.load(file) for file in files[:_MOST]]
    dx, dy = (np.stack([m[name].astype(np.float32) / 8 for m in maps]) for name in ("dx", "dy"))
    deviation = np.stack([m["grey"].astype(np.float32) for m in maps]).std(axis=0)
    shared = np.stack([np.median(dx, axis=0), np.median(dy, axis=0)])
    size = np.hypot(*shared)
    edges = (size > _EDGE) & (size > _CONSISTENT * np.hypot(dx, dy).mean(axis=0))
    return grouped_overlays(shared, edges, np.zeros_like(edges), deviation)
