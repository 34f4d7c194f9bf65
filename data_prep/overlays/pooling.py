"""Find overlays that several videos of one source share: the only reliable way if the camera is static.

Each video contributes its mean gradients. Scenes differ from video to video, so at a given pixel their gradients have
different directions. Those of an overlay have the same direction in nearly all videos.
"""

import io
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from itertools import islice

import cv2
import numpy as np

from data_prep.overlays.overlays import RING_DEVIATES, grouped_overlays

# Fewest videos of one source, and most that are used.
LEAST = 6
MOST = 24
# A video has an edge where its mean gradient (grey levels per pixel) exceeds this; share of the videos that must.
_HAS, _SHARE = 1.5, 0.8
# Least agreement of the directions (length of the mean unit vector) for an overlay's edge and for weak edges beside it;
# least strength of the mean gradient.
_AGREE, _AGREE_WEAK, _EDGE = 0.93, 0.8, 3.0
# Edges that agree by chance are sparse: side of a window (pixels), and least share of it that an overlay's edges fill.
_WINDOW, _DENSE = 11, 0.15
# Videos of a single scene can't be used: a pixel differs if it deviates by so many grey levels from video to video;
# least share of the pixels that differ.
_DEVIATES, _DIFFERENT = 12.0, 0.6


def packed_maps(maps: Mapping[str, np.ndarray]) -> bytes:
    """The maps of one video (`analysis.mean_maps`) as `pooled_overlay` takes them."""
    file = io.BytesIO()
    np.savez_compressed(file, dx=maps["dx"], dy=maps["dy"], grey=maps["grey"])
    return file.getvalue()


def pooled_overlay(packs: Iterable[bytes]) -> np.ndarray | None:
    """Covered pixels, bool `H W`, from `packed_maps` of a source's videos; None if they are too few or too similar."""
    maps = list(islice((one for one in map(_maps, packs) if one is not None), MOST))
    if len(maps) < LEAST:
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


def _maps(pack: bytes) -> dict[str, np.ndarray] | None:
    """The maps of one video, or None if they are damaged."""
    try:
        with np.load(io.BytesIO(pack)) as data:
            return {name: data[name] for name in ("dx", "dy", "grey")}
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error):
        return None
