"""The Fréchet distance of generated from real videos, with its interval and with its floor: real from real videos."""

from typing import NamedTuple

import numpy as np
import scipy.linalg
from jaxtyping import Float
from torch import Tensor

from vidboot.evaluation.features import FeatureNetwork
from vidboot.evaluation.intervals import ENOUGH, Interval, spread_of_log

SPLITS = 400
"""Random splits of the real videos for the floor: ten of them lie beyond each end of its interval."""

Features = Float[np.ndarray, "_ _ _"]
"""Features of videos, of the windows of each: V W D. Sets differ in V and W, so that the axes have no names."""


class Distance(NamedTuple):
    """What a Fréchet distance can be read by. Distance and floor are of the same numbers of videos."""

    value: Interval
    """The distance; its interval is by the bootstrap over videos."""
    floor: Interval
    """Mean over random splits of the real videos into two sets of these numbers, and the middle 95 % of the splits."""
    constant: float
    """The distance that a single point, in the middle of the real videos, would have: the trace of their covariance."""
    shown: bool
    """False if such numbers of videos can't tell."""
    sentence: str
    """What the distance says, or why it isn't shown."""


def frechet_distance(a: Float[np.ndarray, "n D"], b: Float[np.ndarray, "m D"]) -> float | None:
    """‖μ_a − μ_b‖² + tr(C_a + C_b − 2 (C_a C_b)^{1/2}): distance of the Gaussians fitted to two sets of features.

    Heusel et al. 2017 (arXiv 1706.08500). With C = XᵀX for the centred features X / √(n − 1), the trace of the root is
    the sum of the singular values of X_a X_bᵀ, which stays real with fewer samples than features. None if a set has
    fewer than two samples, too few for a covariance, or values that are not finite.
    """
    if min(len(a), len(b)) < 2 or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return None
    roots = [np.linalg.qr((x - x.mean(0)) / np.sqrt(len(x) - 1)).R for x in (a, b)]
    cross = scipy.linalg.svdvals(roots[0] @ roots[1].T).sum()
    shift = ((a.mean(0) - b.mean(0)) ** 2).sum()
    return max(0.0, float(shift + sum((root**2).sum() for root in roots) - 2 * cross))


def features_of(network: FeatureNetwork, videos: Float[Tensor, "_ C T H W"]) -> Features:
    """The features of each video's windows, which follow one another."""
    rows = network(videos)  # the first windows of all videos, then the second ones, …
    return rows.reshape(-1, len(videos), rows.shape[1]).swapaxes(0, 1)


def measure_distance(made: Features, real: Features, other: Features, seed: int = 0) -> Distance:
    """The distance of the generated from the real videos.

    `other` are further real videos, that is training videos: the floor takes both. Videos of one set must be
    independent, so that real ones come one from a shot. Longer videos give as many windows as the shortest, evenly
    spaced. If there are fewer real videos than the floor takes, both sets are made smaller.
    """
    windows = min(x.shape[1] for x in (made, real, other) if len(x))
    pool = np.concatenate([_thinned(real, windows), _thinned(other, windows)])
    left, right = _numbers(len(made), len(real), len(pool))
    made, real = _thinned(made, windows)[:left], _thinned(real, windows)[:right]
    refused = _refusal(made, real, left, right)
    if refused:
        return Distance(Interval(np.nan), Interval(np.nan), np.nan, False, refused)
    value = spread_of_log(_of_sets(made, real), _of_sets, (made, real), seed)
    floor = _floor(pool, left, right, seed)
    constant = float(_rows(pool).var(0, ddof=1).sum())
    if not floor.high < constant:
        return Distance(value, floor, constant, False, _too_near(left, right, floor, constant))
    return Distance(value, floor, constant, True, f"{left} against {right} videos: {_reading(value.mean, floor)}.")


def _numbers(made: int, real: int, pool: int) -> tuple[int, int]:
    """How many generated and real videos can be compared so that the pool can be split likewise."""
    if made + real <= pool:
        return made, real
    left = min(made, max(pool // 2, pool - real))
    return left, min(real, pool - left)


def _refusal(made: Features, real: Features, left: int, right: int) -> str | None:
    if made.shape[1] == 0:
        return "Not shown: the videos are shorter than the windows that the features are of."
    if min(left, right) < ENOUGH:
        return (
            f"Not shown: {left} against {right} videos, but fewer than {ENOUGH} independent ones on a side give no "
            "95 % interval; raise --samples, or give --data with more full shots."
        )
    if not (np.isfinite(made).all() and np.isfinite(real).all()):
        return "Not shown: some features are not finite."
    return None


def _too_near(left: int, right: int, floor: Interval, constant: float) -> str:
    return (
        f"Not shown: with {left} against {right} videos, real ones are up to {floor.high:.3g} from other real ones, "
        f"and even videos that are all alike could be at {constant:.3g}: too few to tell."
    )


def _reading(value: float, floor: Interval) -> str:
    """What a distance says beside its floor."""
    if value > floor.high:
        return "farther from real videos than real ones are from each other"
    if value < floor.low:
        return "nearer than real videos are to each other, so less varied than they are, or copied"
    return "no farther than real videos are from each other, so that such numbers show no difference"


def _floor(pool: Features, left: int, right: int, seed: int) -> Interval:
    """Distances between disjoint sets of real videos."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(SPLITS):
        order = rng.permutation(len(pool))
        found.append(_of_sets(pool[order[:left]], pool[order[left : left + right]]))
    return Interval(float(np.mean(found)), *map(float, np.quantile(found, (0.025, 0.975))))


def _of_sets(a: Features, b: Features) -> float:
    distance = frechet_distance(_rows(a), _rows(b))
    return np.nan if distance is None else distance


def _rows(features: Features) -> Float[np.ndarray, "n D"]:
    return features.reshape(-1, features.shape[2])


def _thinned(features: Features, windows: int) -> Features:
    """As many windows of each video, evenly spaced."""
    if not len(features):
        return features.reshape(0, windows, features.shape[2])
    return features[:, np.linspace(0, features.shape[1] - 1, windows).round().astype(int)]
