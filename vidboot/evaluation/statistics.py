"""Statistics of sets of videos: motion, autocorrelation, seams and drift."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from torch import Tensor


def motion(videos: Float[Tensor, "N C T H W"]) -> Float[np.ndarray, "N"]:
    """Each video's amount of motion: root mean square change of a value, which lies in [-1, 1], to the next frame."""
    return videos.double().diff(dim=2).square().flatten(1).mean(1).sqrt().numpy()


def autocorrelation(
    videos: Float[Tensor, "N C T H W"], mean: Float[Tensor, "C 1 H W"], lags: Sequence[int]
) -> dict[int, float]:
    """For each lag τ, the mean of ⟨f_t − μ, f_{t+τ} − μ⟩ over all pairs of frames, divided by its value at lag 0.

    `mean` is the mean frame μ of real videos, for generated videos too. Lags beyond the videos' length are left out.
    """
    centred = (videos - mean).double()
    power = (centred**2).mean()
    length = videos.shape[2]
    return {
        lag: float((centred[:, :, : length - lag] * centred[:, :, lag:]).mean() / power) for lag in lags if lag < length
    }


def seam_ratio(videos: Float[Tensor, "N C T H W"], borders: Sequence[int]) -> float | None:
    """Mean squared change from frame t − 1 to t where t is a border of windows, over that elsewhere; 1 = no seams.

    None if there are no borders, nothing but borders, or no change elsewhere.
    """
    change = videos.double().diff(dim=2).square().mean((0, 1, 3, 4)).numpy()
    at_border = np.isin(np.arange(1, videos.shape[2]), list(borders))
    if not at_border.any() or not change[~at_border].any():
        return None
    return float(change[at_border].mean() / change[~at_border].mean())


def drift(videos: Float[Tensor, "N C T H W"]) -> dict[str, float]:
    """Mean absolute change of a video's brightness and contrast from its first quarter to its last."""
    quarter = max(1, videos.shape[2] // 4)
    first, last = videos[:, :, :quarter].flatten(2), videos[:, :, -quarter:].flatten(2)
    return {
        "brightness": float((last.mean(2) - first.mean(2)).abs().mean()),
        "contrast": float((last.std(2) - first.std(2)).abs().mean()),
    }
