"""Fitting the calibration's weights from a few full videos: ridge least squares, closed form.

The weights of a band sum to one, so its error is Σ_k w_k (E_k − x0), in mean square wᵀ M w, with M the estimates' error
covariance (Bates & Granger 1969, "The combination of forecasts"). The ridge pulls w towards a centre c, one of the
single rules:

    min_w  wᵀ M w + λ s ‖w − c‖²   subject to  1ᵀ w = 1,     s = mean eigenvalue of NᵀMN, N a basis of 1ᵀz = 0
    w = c − N (NᵀMN + λ s I)⁻¹ NᵀM c

The calibration must do no harm, so the counting numbers are left only for weights that are better beyond chance, by
differences paired over videos. The best single rule replaces them if it is better at one-sided 95 % confidence. The
fit, its centre and λ chosen by cross-validation over videos, replaces that rule if it is better by more than one
standard error. One video allows no comparison: then the counting numbers remain.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy  # loads each of its parts when that is first used
import torch
from jaxtyping import Float
from torch import Tensor

from vidboot.method.calibration import Calibration, Estimate, all_estimates, counting_weights, make_estimates, visible
from vidboot.method.composition import DenoiserOf
from vidboot.method.regions import ViewPlan
from vidboot.method.views import pool, unpool

STRENGTHS = (0.001, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""Ridge strengths λ tried, in units of the mean eigenvalue."""
COUNTING = 0
"""Index of the counting numbers among the single rules."""
FOLDS = 16
"""Folds of the cross-validation: leave one out for up to this many videos."""


@dataclass(frozen=True)
class ErrorCovariance:
    """M for each video: mean products of the estimates' errors in one band, `num_videos × K × K`."""

    estimates: tuple[Estimate, ...]
    per_video: Float[np.ndarray, "n K K"]


def fit_calibration(
    plan: ViewPlan,
    denoisers: DenoiserOf,
    videos: Iterable[Float[Tensor, "B C T H W"]],
    sigmas: Sequence[float],
    generator: torch.Generator,
    max_batch_frames: int | None = None,
    draws: int = 1,
) -> Calibration:
    """Weights for each noise level in `sigmas` and each band, from full videos in [-1, 1] that no view was trained on.

    `denoisers` are called without gradients, `draws` times for each batch and σ; the noise comes from `generator`.
    Raises `ValueError` if there is no video.
    """
    sigmas = tuple(sorted(float(sigma) for sigma in sigmas))
    return fit_weights(plan, sigmas, measure(plan, denoisers, videos, sigmas, generator, max_batch_frames, draws))


def fit_weights(
    plan: ViewPlan, sigmas: Sequence[float], covariances: Sequence[Sequence[ErrorCovariance]]
) -> Calibration:
    """Weights from the estimates' error covariances at each of `sigmas` (ascending) in each band."""
    fits = [[fit_band(plan, level, band) for level, band in enumerate(bands)] for bands in covariances]
    return Calibration(
        plan,
        tuple(sigmas),
        tuple(tuple(weights for weights, _ in bands) for bands in fits),
        tuple(tuple(record for _, record in bands) for bands in fits),
    )


@torch.no_grad()
def measure(
    plan: ViewPlan,
    denoisers: DenoiserOf,
    videos: Iterable[Float[Tensor, "B C T H W"]],
    sigmas: Sequence[float],
    generator: torch.Generator,
    max_batch_frames: int | None = None,
    draws: int = 1,
) -> list[list[ErrorCovariance]]:
    """The estimates' error covariances for each noise level and band (finest first). Arguments as `fit_calibration`.

    A video's covariance is the mean over `draws` draws of noise. With few videos, several draws lower its
    variance a lot.
    """
    products: list[list[list[np.ndarray]]] = [[[] for _ in plan.scales] for _ in sigmas]
    for x0 in videos:
        for draw in range(draws):
            noise = torch.randn(x0.shape, generator=generator, dtype=x0.dtype, device=generator.device).to(x0.device)
            for at_sigma, sigma in zip(products, sigmas, strict=True):
                levels, noisy = x0.new_full((len(x0),), sigma), x0 + sigma * noise
                made = make_estimates(plan, all_estimates(plan), denoisers, noisy, levels, max_batch_frames)
                for level, at_level in enumerate(at_sigma):
                    error = _error_products(plan, level, made, x0) / draws
                    if draw == 0:
                        at_level.append(error)
                    else:
                        at_level[-1] += error
    if not products[0][0]:
        raise ValueError("calibration needs at least one full video; without any, use the counting numbers")
    return [
        [ErrorCovariance(tuple(visible(plan, level)), np.concatenate(m)) for level, m in enumerate(at_sigma)]
        for at_sigma in products
    ]


def _error_products(plan: ViewPlan, level: int, made: dict[Estimate, Tensor], x0: Tensor) -> np.ndarray:
    """⟨B_j (E_k − x0), B_j (E_l − x0)⟩ for each item, per pixel of the full video."""
    scale = plan.scales[level]
    errors = []
    for estimate in visible(plan, level):
        error = pool(made[estimate], scale // estimate.scale) - pool(x0, scale)
        if level + 1 < len(plan.scales):
            ratio = plan.scales[level + 1] // scale
            error = error - unpool(pool(error, ratio), ratio)
        errors.append(error.flatten(1).double())
    e_BKN = torch.stack(errors, dim=1)
    return (e_BKN @ e_BKN.mT / x0[0].numel()).cpu().numpy()


def fit_band(plan: ViewPlan, level: int, band: ErrorCovariance) -> tuple[dict[Estimate, float], dict[str, Any]]:
    """The weights of one band at one noise level, and a record of how they were chosen and what error is left."""
    rules = single_rules(plan, level)
    names, centres = list(rules), np.array([_as_vector(rule, band.estimates) for rule in rules.values()])
    m_nKK = band.per_video
    rule_errors = np.einsum("rk,nkl,rl->rn", centres, m_nKK, centres)
    best = int(rule_errors.mean(axis=1).argmin())
    confident = scipy.special.stdtrit(max(1, len(m_nKK) - 1), 0.95)  # t quantile
    if _standard_errors(rule_errors[COUNTING] - rule_errors[best]) <= confident:
        best = COUNTING
    weights = centres[best]
    chosen: dict[str, Any] = {"centre": names[best], "strength": None, "error": float(rule_errors[best].mean())}
    if len(m_nKK) > 1:
        held_out = {
            (r, strength): cross_validate(m_nKK, centre, strength)
            for (r, centre), strength in itertools.product(enumerate(centres), STRENGTHS)
        }
        (r, strength), errors = min(held_out.items(), key=lambda item: item[1].mean())
        if _standard_errors(rule_errors[best] - errors) > 1:
            weights = combine(m_nKK.mean(axis=0), centres[r], strength)
            chosen = {"centre": names[r], "strength": strength, "error": float(errors.mean())}
    chosen["rule_errors"] = {name: float(error) for name, error in zip(names, rule_errors.mean(axis=1), strict=True)}
    used = zip(band.estimates, weights.tolist(), strict=True)
    return {estimate: weight for estimate, weight in used if weight != 0}, chosen


def _standard_errors(gain_n: Float[np.ndarray, "n"]) -> float:
    """The mean gain in units of its standard error; 0 without a gain, or with fewer than two videos."""
    if len(gain_n) < 2 or gain_n.mean() <= 0:
        return 0.0
    return float(gain_n.mean() / max(gain_n.std(ddof=1) / np.sqrt(len(gain_n)), np.finfo(float).tiny))


def single_rules(plan: ViewPlan, level: int) -> dict[str, dict[Estimate, float]]:
    """The rules that need no fitting, as weights in band `level`: the counting numbers first, then each estimate."""
    alone = {str(estimate): {estimate: 1.0} for estimate in visible(plan, level)}
    return {"counting": counting_weights(plan, level)} | alone


def _as_vector(weights: dict[Estimate, float], estimates: Sequence[Estimate]) -> np.ndarray:
    return np.array([weights.get(estimate, 0.0) for estimate in estimates])


def combine(
    m_KK: Float[np.ndarray, "... K K"], centre: Float[np.ndarray, "K"], strength: float
) -> Float[np.ndarray, "... K"]:
    """The ridge solution w for error covariance M: see the module's equation. Leading axes of `m_KK` are a batch."""
    basis = scipy.linalg.null_space(np.ones((1, len(centre))))
    reduced = basis.T @ m_KK @ basis
    gradient = basis.T @ m_KK @ centre
    size = np.trace(reduced, axis1=-2, axis2=-1) / max(1, basis.shape[1])
    # Estimates that agree to rounding (a video no longer than a window) are all as good: the floor keeps the centre.
    floor = 1e-9 * np.trace(m_KK, axis1=-2, axis2=-1) + np.finfo(float).tiny
    ridge = np.maximum(strength * size, floor)[..., None, None] * np.eye(basis.shape[1])
    step = np.linalg.solve(reduced + ridge, gradient[..., None])[..., 0]
    w: np.ndarray = centre - step @ basis.T
    return w


def cross_validate(
    m_nKK: Float[np.ndarray, "n K K"], centre: Float[np.ndarray, "K"], strength: float
) -> Float[np.ndarray, "n"]:
    """Each video's error with weights fitted on the folds that don't contain it."""
    fold = np.arange(len(m_nKK)) % min(FOLDS, len(m_nKK))
    rest = np.stack([m_nKK[fold != f].mean(axis=0) for f in range(fold.max() + 1)])
    w_nK = combine(rest, centre, strength)[fold]
    errors: np.ndarray = np.einsum("nk,nkl,nl->n", w_nK, m_nKK, w_nK)
    return errors
