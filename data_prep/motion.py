"""How the camera moves the whole picture from one sample to the next: corners that are followed, and the shift, turn
and zoom that most of them agree on. Corners, because an edge does not tell how far it has moved along itself.
"""

import cv2
import numpy as np

# Followed on pictures shrunk by this factor; corners looked for, pixels between them, and corners needed.
_SHRINK, _CORNERS, _APART, _LEAST = 2, 100, 8, 12
# A corner agrees if it lands within so many (shrunk) pixels; share of the corners that must.
_LANDS, _AGREE = 1.0, 0.5
# The motion must explain the change: what is left after it as a share of the difference without it.
_LEFT = 0.8


def camera_motion(before_HW: np.ndarray, image_HW: np.ndarray) -> np.ndarray | None:
    """The map `2 3` of points (x, y, 1), pixels, from one grey picture to the next; None if none explains the change.

    A logo that stands still is outvoted by the scene; a camera that stands still gives None, because nothing is better
    explained by a motion.
    """
    before, image = (
        cv2.resize(one, None, fx=1 / _SHRINK, fy=1 / _SHRINK, interpolation=cv2.INTER_AREA)
        for one in (before_HW, image_HW)
    )
    corners = cv2.goodFeaturesToTrack(before, _CORNERS, 0.01, _APART)
    if corners is None or len(corners) < _LEAST:
        return None
    landed, status, _ = cv2.calcOpticalFlowPyrLK(
        before, image, corners, np.empty_like(corners), winSize=(15, 15), maxLevel=3
    )
    seen = status[:, 0] > 0
    if seen.sum() < _LEAST:
        return None
    matrix, agree = cv2.estimateAffinePartial2D(corners[seen], landed[seen], ransacReprojThreshold=_LANDS)
    if matrix is None or agree.sum() < _AGREE * len(corners):
        return None
    moved = cv2.warpAffine(before, matrix, before.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
    if cv2.norm(moved, image, cv2.NORM_L1) >= _LEFT * cv2.norm(before, image, cv2.NORM_L1):
        return None
    matrix[:, 2] *= _SHRINK
    return matrix


def displacements(matrix: np.ndarray, height: int, width: int, grid: int = 1) -> np.ndarray:
    """By how many pixels a map moves the middle of each square, `grid` pixels a side, x and y: float32 `2 H/g W/g`."""
    middle = (grid - 1) / 2
    xs, ys = np.arange(0, width, grid) + middle, np.arange(0, height, grid) + middle
    a, b, c = matrix.T[..., None, None]
    return (a * xs + b * ys[:, None] + c - np.stack(np.broadcast_arrays(xs, ys[:, None]))).astype(np.float32)
