"""Statistics of sets of videos: Fréchet distance, autocorrelation, seams, drift, and confidence intervals."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.linalg
import scipy.stats
from jaxtyping import Float
from torch import Tensor


class Interval(NamedTuple):
    """A mean and its 95 % confidence interval."""

    mean: float
    low: float
    high: float


def confidence_interval(values: Float[np.ndarray, "n"]) -> Interval:
    """Student's t interval for the mean of independent values; infinite for a single value."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return Interval(mean, -np.inf, np.inf)
    half = float(scipy.stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return Interval(mean, mean - half, mean + half)


def frechet_distance(a: Float[np.ndarray, "n D"], b: Float[np.ndarray, "m D"]) -> float | None:
    """‖μ_a − μ_b‖² + tr(C_a + C_b − 2 (C_a C_b)^{1/2}): distance of the Gaussians fitted to two sets of features.

    Heusel et al. 2017 (arXiv 1706.08500). The trace of the root is computed as the sum of the singular values of
    C_a^{1/2} C_b^{1/2}, which stays real with fewer samples than features. None if a set has fewer than two samples,
    too few for a covariance, or values that are not finite.
    """
    if min(len(a), len(b)) < 2 or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return None
    covariances = [np.atleast_2d(np.cov(x, rowvar=False)) for x in (a, b)]
    roots = [_root(c) for c in covariances]
    cross = scipy.linalg.svdvals(roots[0] @ roots[1]).sum()
    shift = ((a.mean(0) - b.mean(0)) ** 2).sum()
    return float(shift + sum(np.trace(c) for c in covariances) - 2 * cross)


def _root(covariance: Float[np.ndarray, "D D"]) -> Float[np.ndarray, "D D"]:
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(values.clip(min=0))) @ vectors.T


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
