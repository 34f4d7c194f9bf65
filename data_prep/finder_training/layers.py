"""Layers: what is laid over the frames of a scene, and its composition with them."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from data_prep.finder_training.words import INK, Look

# A layer counts as shown from this difference that it makes (grey levels, at its 90th percentile) on.
_VISIBLE = 7.0


@dataclass(frozen=True)
class Layer:
    """A thing over the picture: for each frame its look, the place of its top left corner (y, x), its opacity."""

    looks: Sequence[Look]
    places: np.ndarray
    """int `T 2`."""
    opacity: np.ndarray
    """float `T`."""

    @classmethod
    def fixed(cls, look: Look, place: tuple[int, int], opacity: np.ndarray) -> "Layer":
        """A layer that stays in its place."""
        return cls([look] * len(opacity), np.tile(np.array(place, int), (len(opacity), 1)), opacity)


def lay_over(frame_HWC: np.ndarray, layer: Layer, number: int) -> tuple[tuple[slice, slice], np.ndarray] | None:
    """Draw a layer on the frame `number`, in place; where (rows, columns), and the area there that it visibly takes.

    None if nothing of it is in the picture, or too little to be seen.
    """
    look, strength = layer.looks[number], float(layer.opacity[number])
    height, width = look.alpha.shape
    top, left = (int(value) for value in layer.places[number])
    rows = slice(max(0, top), min(frame_HWC.shape[0], top + height))
    columns = slice(max(0, left), min(frame_HWC.shape[1], left + width))
    if rows.start >= rows.stop or columns.start >= columns.stop or strength <= 0:
        return None
    part = np.s_[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    alpha = look.alpha[part] * strength
    under = frame_HWC[rows, columns].astype(np.float32)
    over = under + (look.colour[part] - under) * alpha[..., None]
    frame_HWC[rows, columns] = np.clip(over, 0, 255).astype(np.uint8)
    # numpy reduces over a last axis of three slowly.
    apart = cv2.absdiff(over, under)
    change = np.maximum(np.maximum(apart[..., 0], apart[..., 1]), apart[..., 2])
    drawn = look.alpha[part] > INK
    if not drawn.any() or np.percentile(change[drawn], 90) < _VISIBLE:
        return None
    return (rows, columns), look.area[part]


def times(count: int, first: int, last: int, fade: int) -> np.ndarray:
    """Opacity over `count` frames of something that is shown from `first` to `last` (exclusive) and fades."""
    t = np.arange(count)
    rise = (t - first + 1) / (fade + 1)
    fall = (last - t) / (fade + 1)
    return np.clip(np.minimum(rise, fall), 0, 1)
