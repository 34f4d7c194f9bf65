"""The method's claims on Gaussian videos, each as a function that returns plain numbers.

The compositions are the library's own (`vidboot.method.composition`, `vidboot.method.calibration`); exact denoisers
stand in for networks. Errors are excess errors in % of the least mean-square error, exact for given samples.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.stats import linregress
from torch import Tensor
from tqdm import tqdm

from vidboot.experiments.gaussian.gaussian import GaussianVideo
from vidboot.experiments.gaussian.linear import as_matrix, excess_percent
from vidboot.experiments.gaussian.networks import TrainedViews
from vidboot.experiments.gaussian.ridge import RidgeLearner
from vidboot.method.calibration import CalibratedDenoiser, Calibration, Estimate, counting_weights
from vidboot.method.calibration_fit import fit_calibration
from vidboot.method.composition import AveragedWindows, ComposedDenoiser, Denoiser, disjoint_windows
from vidboot.method.regions import Region, ViewPlan, low_resolution, region_graph, windows
from vidboot.method.views import View

Rows = list[dict[str, Any]]
PLAN = ViewPlan(length=8, overlap=4, low_res=(2,))
"""Clips of 8 frames with overlap 4, and the whole video at half the resolution."""


def rules(video: GaussianVideo, plan: ViewPlan = PLAN) -> dict[str, Denoiser]:
    """Ways to combine the views without fitting, over all frames of a stationary `video`."""
    num_frames, exact = video.shape[1], video.denoiser_of
    clips, disjoint = windows(num_frames, plan.length, plan.overlap), disjoint_windows(num_frames, plan.length)
    low = [Region(view, 1) for view in low_resolution(num_frames, plan.low_res)]
    return {
        "plain sum of views": score_sum(disjoint + low, exact),
        "disjoint clips": ComposedDenoiser(disjoint, exact),
        "averaged windows": AveragedWindows(plan.length, plan.overlap, exact(clips[0])),
        "windows − overlaps": ComposedDenoiser(region_graph(clips), exact),
        "counting numbers": ComposedDenoiser(plan.regions(num_frames), exact),
    }


def score_sum(regions: Sequence[Region], denoiser_of: Callable[[View], Denoiser]) -> Denoiser:
    """The sum of the views' scores, which counts what they share twice: D(x) = x + Σ_R A_Rᵀ (D_R(A_R x) − A_R x)."""
    summed, unchanged = (ComposedDenoiser(regions, of) for of in (denoiser_of, lambda view: lambda x, sigma: x))
    return lambda x, sigma: x + summed(x, sigma) - unchanged(x, sigma)


def rule_table(sigmas: Sequence[float] = (0.3, 1.0, 3.0, 10.0)) -> Rows:
    """Excess error of each rule at each noise level, on the reference video."""
    video = GaussianVideo.reference()
    return [
        {"sigma": sigma} | {name: _excess(video, rule, sigma) for name, rule in rules(video).items()}
        for sigma in tqdm(sigmas, desc="rules", unit="σ")
    ]


def _excess(video: GaussianVideo, denoise: Denoiser, sigma: float) -> float:
    """Excess error of a denoiser, in %."""
    return excess_percent(as_matrix(denoise, video.shape, sigma), video, sigma)


def data_efficiency(
    seed: int,
    counts: Sequence[int] = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096),
    sigmas: Sequence[float] = (0.3, 1.0, 3.0),
    draws: int = 3,
) -> Rows:
    """Claim 1: excess error against the number of full videos, for direct training, the base and base + residual.

    Direct training shrinks towards c_skip x, as an EDM-preconditioned network does. That is the stronger rival:
    shrinking towards 0 is 1.0–9 × worse. `ratio` is how many full videos direct training needs for the excess of base +
    residual, over the number that the latter had; a lower bound if even the largest count is too few.
    """
    video = GaussianVideo.reference()
    bases = {sigma: as_matrix(rules(video)["counting numbers"], video.shape, sigma) for sigma in sigmas}
    rows: Rows = [
        {"sigma": sigma, "count": count, "direct": [], "residual": []} for sigma in sigmas for count in counts
    ]
    drawn = [video.sample(max(counts), torch.Generator().manual_seed(seed + d)).flatten(1) for d in range(draws)]
    for videos, count in tqdm([*itertools.product(drawn, counts)], desc="data efficiency", unit="fit"):
        learner = RidgeLearner(videos[:count])
        for row in (row for row in rows if row["count"] == count):
            direct, residual = _learnt(video, learner, bases[row["sigma"]], row["sigma"])
            row["direct"].append(direct)
            row["residual"].append(residual)
    for row in rows:
        row["base"] = excess_percent(bases[row["sigma"]], video, row["sigma"])
        row |= {f"mean_{kind}": float(np.mean(row[kind])) for kind in ("direct", "residual")}
    for row in rows:
        of_sigma = [other for other in rows if other["sigma"] == row["sigma"]]
        errors = [other["mean_direct"] for other in of_sigma]
        needed, bound = videos_needed([other["count"] for other in of_sigma], errors, row["mean_residual"])
        row |= {"ratio": needed / row["count"], "ratio_is_lower_bound": bound == ">"}
    return rows


def _learnt(
    video: GaussianVideo, learner: RidgeLearner, base: Float[Tensor, "N N"], sigma: float
) -> tuple[float, float]:
    """Excess error of direct training and of a residual on the base, learnt from the same full videos."""
    skip = torch.eye(len(base), dtype=base.dtype) / (1 + sigma**2)
    direct, residual = (excess_percent(learner.fit(centre, sigma)[0], video, sigma) for centre in (skip, base))
    return direct, residual


def videos_needed(counts: Sequence[int], errors: Sequence[float], target: float) -> tuple[float, str]:
    """How many videos reach the error `target`, by log–log interpolation of `errors` at rising `counts`.

    Returns the number, and `=`; or `>` if even the largest count isn't enough, `<` if the smallest is more than enough.
    """
    below = [n for n, error in enumerate(errors) if error <= target]
    if not below:
        return float(counts[-1]), ">"
    upper = below[0]
    if upper == 0:
        return float(counts[0]), "=" if errors[0] == target else "<"
    span = slice(upper - 1, upper + 1)
    needed = np.exp(np.interp(-np.log(target), -np.log(errors[span]), np.log(counts[span])))
    return float(needed), "="


def residual_hardness(
    seed: int,
    long_ranges: Sequence[float] = (0.0, 0.1, 0.3, 0.6, 0.9),
    couplings: Sequence[float] = (0.0, 0.5, 0.9),
    sigmas: Sequence[float] = (0.3, 1.0, 3.0),
    count: int = 64,
    draws: int = 2,
) -> dict[str, Any]:
    """Claim 2: the excess error that base + residual has with `count` full videos, against that of the base alone.

    This is measured under many laws of video. Returns the rows and, for each noise level, a straight line
    through excess (residual) against excess (base) and one through their logarithms.
    """
    rows = []
    laws = [(rho, kappa) for rho in long_ranges for kappa in couplings]
    for rho, kappa in tqdm(laws, desc="residual against what the views miss", unit="law"):
        video = GaussianVideo.reference(long_range=rho, coupling=kappa)
        drawn = [video.sample(count, torch.Generator().manual_seed(seed + draw)).flatten(1) for draw in range(draws)]
        learners = [RidgeLearner(videos) for videos in drawn]
        for sigma in sigmas:
            base = as_matrix(rules(video)["counting numbers"], video.shape, sigma)
            direct, residual = np.mean([_learnt(video, learner, base, sigma) for learner in learners], axis=0)
            row = {"sigma": sigma, "long_range": rho, "coupling": kappa, "count": count}
            row |= {"base": excess_percent(base, video, sigma)}
            rows.append(row | {"direct": float(direct), "residual": float(residual)})
    return {"rows": rows, "fits": [_line(sigma, [r for r in rows if r["sigma"] == sigma]) for sigma in sigmas]}


def _line(sigma: float, rows: Rows) -> dict[str, float]:
    """Straight lines through the rows of one noise level."""
    base, residual = np.array([[row["base"], row["residual"]] for row in rows]).T
    plain, logs = linregress(base, residual), linregress(np.log(base), np.log(residual))
    return {
        "sigma": sigma,
        "slope": float(plain.slope),
        "r2": float(plain.rvalue**2),
        "log_slope": float(logs.slope),
        "log_r2": float(logs.rvalue**2),
    }


def overlap_trade(
    overlaps: Sequence[int] = (0, 1, 2, 3, 4), sigmas: Sequence[float] = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
) -> Rows:
    """What smaller overlaps save and lose: frames that the networks denoise, and excess error by counting numbers.

    `clip_cost` is in passes of the clip network over the whole video; `cost` adds those of the low-res network, at
    equal cost per pixel.
    """
    video, rows = GaussianVideo.reference(), []
    num_frames = video.shape[1]
    for overlap in tqdm(overlaps, desc="overlaps", unit="overlap"):
        regions = ViewPlan(PLAN.length, overlap, PLAN.low_res).regions(num_frames)
        frames = [(region.view.scale, region.view.num_frames) for region in regions]
        row = {"overlap": overlap, "clip_cost": sum(n for scale, n in frames if scale == 1) / num_frames}
        row["cost"] = sum(n / scale**2 for scale, n in frames) / num_frames
        base = ComposedDenoiser(regions, video.denoiser_of)
        rows.append(row | {"excess": {str(sigma): _excess(video, base, sigma) for sigma in sigmas}})
    return rows


def calibration_check(
    seed: int, count: int = 16, sigmas: Sequence[float] = (0.1, 0.3, 1.0, 3.0, 10.0), clips: int = 1000
) -> Rows:
    """Exact excess error of the calibrated base and of each single rule, with networks learnt from `clips` clips.

    The calibration is fitted on `count` full videos that the networks were not trained on.
    """
    video, generator = GaussianVideo.reference(), torch.Generator().manual_seed(seed)
    networks = TrainedViews(video, PLAN, clips, generator)
    full = video.sample(count, generator)
    calibration = fit_calibration(PLAN, networks, [full], sigmas, generator)
    candidates = {name: Calibration(PLAN, (1.0,), (bands,)) for name, bands in uniform_rules(PLAN).items()}
    candidates["calibrated"] = calibration
    return [
        {"sigma": sigma}
        | {name: _excess(video, CalibratedDenoiser(c, networks), sigma) for name, c in candidates.items()}
        for sigma in tqdm(sigmas, desc="calibration", unit="σ")
    ]


def uniform_rules(plan: ViewPlan) -> dict[str, tuple[dict[Estimate, float], ...]]:
    """The single rules, as weights for each band: the counting numbers, one estimate in all bands, or two estimates of
    which the low-res one is for the coarser bands."""
    levels = range(len(plan.scales))
    short = ("joined", "averaged", "whole")
    everywhere = {str(Estimate(rule, 1)): tuple({Estimate(rule, 1): 1.0} for _ in levels) for rule in short}
    below = tuple({Estimate("whole", plan.scales[level]): 1.0} for level in levels[1:])
    low = {f"low-res + {rule}@1 above it": ({Estimate(rule, 1): 1.0}, *below) for rule in short}
    return {"counting numbers": tuple(counting_weights(plan, level) for level in levels)} | everywhere | low
