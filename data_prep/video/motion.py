"""Estimate how the camera moves the picture from one sample to the next: the shift, rotation and zoom that most of the
tracked corners agree on. Corners, because the motion of an edge along itself can't be seen.
"""

import cv2
import numpy as np

# Corners are tracked on pictures shrunk by this factor; most corners, least distance between two (pixels), fewest.
_SHRINK, _CORNERS, _APART, _LEAST = 2, 100, 8, 12
# A corner agrees with the motion if it lands this near to where the motion puts it (shrunk pixels); share that must.
_LANDS, _AGREE = 1.0, 0.5
# The motion must explain the change: largest difference that it leaves, as a share of the difference without it.
_LEFT = 0.8


def camera_motion(before_HW: np.ndarray, image_HW: np.ndarray) -> np.ndarray | None:
    """The matrix `2 3` that maps points (x, y, 1), pixels, of one grey picture to the next; None if no motion explains
    the change.

    A static logo has fewer corners than the scene, so it does not decide. A static camera gives None, because no
    motion explains the change better than none.
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
    """By how many pixels (x and y) a map moves the middle of each square of side `grid`: float32 `2 H/grid W/grid`."""
    middle = (grid - 1) / 2
    xs, ys = np.arange(0, width, grid) + middle, np.arange(0, height, grid) + middle
    a, b, c = matrix.T[..., None, None]
    return (a * xs + b * ys[:, None] + c - np.stack(np.broadcast_arrays(xs, ys[:, None]))).astype(np.float32)
