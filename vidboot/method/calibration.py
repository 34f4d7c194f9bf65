"""Calibration: how much each estimate of the video counts, at each noise level and in each band of resolution.

The networks of the views give several estimates of the same full video (`all_estimates`). Bands of resolution are
B_j = P_j − P_{j+1}, where P_j = AᵀA of the low-res factor r_j, P_0 = I and P_{J+1} = 0, so Σ_j B_j = I.
The calibrated base is

    D(x; σ) = Σ_j B_j Σ_k w_jk(σ) E_k(x; σ)          with Σ_k w_jk(σ) = 1

over the estimates k whose resolution contains band j. As σ → 0 each of them returns this band of x, and as σ → ∞ this
band of the mean video. So does D, at any number of frames, because the weights of a band sum to one. The base score by
counting numbers is one choice of weights (`Calibration.counting`); DiffCollage, MultiDiffusion and the clip network at
full length are others. `vidboot.method.calibration_fit` finds better ones from a few full videos.
"""

import bisect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, reduce
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from vidboot.method.composition import DenoiserOf, NoiseLevel, denoise_views, per_item
from vidboot.method.regions import ViewPlan, region_graph
from vidboot.method.views import View, add_frames_, pool, unpool


class Estimate(NamedTuple):
    """One estimate of the video at low-res factor `scale`, made by one rule from that scale's network.

    Rules: `joined` (windows − overlaps), `averaged` (windows, averaged where they overlap), `whole` (the network run at
    full length). Written `joined@1`.
    """

    rule: str
    scale: int

    def __str__(self) -> str:
        return f"{self.rule}@{self.scale}"

    @classmethod
    def parse(cls, name: str) -> "Estimate":
        """The inverse of `str`."""
        rule, scale = name.split("@")
        return cls(rule, int(scale))


def all_estimates(plan: ViewPlan) -> list[Estimate]:
    """Every estimate that the plan's networks give, finest scale first."""
    return [Estimate(rule, scale) for scale in plan.scales for rule in ("joined", "averaged", "whole")]


def visible(plan: ViewPlan, level: int) -> list[Estimate]:
    """The estimates that contain band `level`: those of its scale and of finer ones."""
    return [estimate for estimate in all_estimates(plan) if estimate.scale <= plan.scales[level]]


def counting_weights(plan: ViewPlan, level: int) -> dict[Estimate, float]:
    """The base score by counting numbers, as weights in band `level`.

    In the finest band these are the windows alone. In coarser bands they are `windows + low(whole) − low(windows)`,
    with the finest low-res network: coarser views of the whole video lie within its view, so they count 0.
    """
    weights = {Estimate("joined", 1): 1.0}
    if level > 0:
        weights |= {Estimate("whole", plan.scales[1]): 1.0, Estimate("joined", plan.scales[1]): -1.0}
    return weights


@dataclass(frozen=True)
class Calibration:
    """Weights w_jk(σ), given at the noise levels `sigmas` (ascending), linear in log σ between and constant outside.

    `weights[i][j]` maps the estimates used at `sigmas[i]` in band j (finest first) to their weights, which sum to one.
    `record` holds, for each noise level and band, how they were chosen and what error they left (plain values).
    """

    plan: ViewPlan
    sigmas: tuple[float, ...]
    weights: tuple[tuple[dict[Estimate, float], ...], ...]
    record: tuple[tuple[dict[str, Any], ...], ...] = field(default=(), compare=False)

    @classmethod
    def counting(cls, plan: ViewPlan) -> "Calibration":
        """The base score by counting numbers at every noise level: the choice without any full video."""
        return cls(plan, (1.0,), (tuple(counting_weights(plan, level) for level in range(len(plan.scales))),))

    @classmethod
    def whole(cls, plan: ViewPlan) -> "Calibration":
        """The clip network run at full length alone: the cheapest choice, one pass of one network."""
        return cls(plan, (1.0,), (tuple({Estimate("whole", 1): 1.0} for _ in plan.scales),))

    def at(self, sigma: float) -> tuple[dict[Estimate, float], ...]:
        """The weights at one noise level, for each band; estimates of weight zero are left out."""
        above = bisect.bisect_left(self.sigmas, sigma)
        if above == 0 or above == len(self.sigmas):
            return tuple(_without_zeros(band) for band in self.weights[min(above, len(self.sigmas) - 1)])
        low, high = self.sigmas[above - 1 : above + 1]
        share = math.log(sigma / low) / math.log(high / low)
        return tuple(_mix(a, b, share) for a, b in zip(*self.weights[above - 1 : above + 1], strict=True))

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings, for JSON."""
        return {
            "plan": {
                "length": self.plan.length,
                "overlap": self.plan.overlap,
                "low_res": list(self.plan.low_res),
            },
            "sigmas": list(self.sigmas),
            "weights": [[{str(k): w for k, w in band.items()} for band in bands] for bands in self.weights],
            "record": [list(bands) for bands in self.record],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Calibration":
        """The inverse of `to_dict`. Raises `ValueError` for weights or noise levels that don't fit the plan."""
        weights = tuple(
            tuple({Estimate.parse(k): float(w) for k, w in band.items()} for band in bands)
            for bands in values["weights"]
        )
        record = tuple(tuple(bands) for bands in values["record"])
        plan = ViewPlan(**(values["plan"] | {"low_res": tuple(values["plan"]["low_res"])}))
        sigmas = tuple(values["sigmas"])
        if not sigmas or len(weights) != len(sigmas) or list(sigmas) != sorted(set(sigmas)) or sigmas[0] <= 0:
            raise ValueError("noise levels must rise, and have weights each")
        for bands in weights:
            if len(bands) != len(plan.scales):
                raise ValueError(f"{len(bands)} bands of {len(plan.scales)}")
            for level, band in enumerate(bands):
                if unknown := set(band) - set(visible(plan, level)):
                    raise ValueError(f"{min(map(str, unknown))} is no estimate of band {level}")
                if not math.isclose(sum(band.values()), 1, abs_tol=1e-4):
                    raise ValueError(f"the weights of band {level} don't sum to one")
        return cls(plan, sigmas, weights, record)


def _without_zeros(band: Mapping[Estimate, float]) -> dict[Estimate, float]:
    return {estimate: weight for estimate, weight in band.items() if weight != 0}


def _mix(a: Mapping[Estimate, float], b: Mapping[Estimate, float], share: float) -> dict[Estimate, float]:
    names = dict.fromkeys([*a, *b])
    return _without_zeros({name: (1 - share) * a.get(name, 0.0) + share * b.get(name, 0.0) for name in names})


class CalibratedDenoiser:
    """D(x; σ) = Σ_j B_j Σ_k w_jk(σ) E_k(x; σ): the calibrated base, for videos of any number of frames.

    `denoiser_of` gives each view its denoiser as in `ComposedDenoiser` (see `by_scale` there). Estimates of weight zero
    at every σ of the batch are not computed; each region is denoised once, however many estimates use it.
    """

    def __init__(self, calibration: Calibration, denoiser_of: DenoiserOf, max_batch_frames: int | None = None) -> None:
        self.calibration, self.denoiser_of, self.max_batch_frames = calibration, denoiser_of, max_batch_frames

    def __call__(self, x: Float[Tensor, "B C T H W"], sigma: NoiseLevel) -> Float[Tensor, "B C T H W"]:
        """Denoise `x` at noise level `sigma`, one per item."""
        sigma = per_item(sigma, x)
        plan = self.calibration.plan
        of_item = {s: self.calibration.at(s) for s in set(sigma.tolist())}
        items = [of_item[s] for s in sigma.tolist()]
        used = dict.fromkeys(k for bands in of_item.values() for band in bands for k in band)
        made = make_estimates(plan, list(used), self.denoiser_of, x, sigma, self.max_batch_frames)
        of_band = [[bands[level] for bands in items] for level in range(len(plan.scales))]
        # From the coarsest band to the finest: D_j = S_j + P_{j+1} (D_{j+1} − S_j).
        x0 = _weighted_sum(plan.scales[-1], of_band[-1], made)
        for level in reversed(range(len(plan.scales) - 1)):
            mixed = _weighted_sum(plan.scales[level], of_band[level], made)
            ratio = plan.scales[level + 1] // plan.scales[level]
            x0 = mixed + unpool(x0 - pool(mixed, ratio), ratio)
        return x0


def _weighted_sum(scale: int, weights: Sequence[Mapping[Estimate, float]], made: Mapping[Estimate, Tensor]) -> Tensor:
    """S_j = Σ_k w_jk E_k at one scale; `weights` holds those of each item of the batch."""
    of_items = {estimate: [band.get(estimate, 0.0) for band in weights] for estimate in made}
    terms = (
        pool(made[estimate], scale // estimate.scale) * made[estimate].new_tensor(w)[:, None, None, None, None]
        for estimate, w in of_items.items()
        if any(w)
    )
    return reduce(torch.add, terms)


def make_estimates(
    plan: ViewPlan,
    estimates: Sequence[Estimate],
    denoiser_of: DenoiserOf,
    x: Float[Tensor, "B C T H W"],
    sigma: Float[Tensor, "B"],
    max_batch_frames: int | None = None,
) -> dict[Estimate, Float[Tensor, "B C T h w"]]:
    """E_k(x; σ) for each of `estimates`, at its own scale as a view (r times the natural range)."""
    made: dict[Estimate, Tensor] = {}
    for scale in dict.fromkeys(estimate.scale for estimate in estimates):
        y = pool(x, scale)
        shares = {k: _shares(plan, k, x.shape[2]) for k in estimates if k.scale == scale}
        sums = {k: torch.zeros_like(y) for k in shares}
        views = dict.fromkeys(view for of_view in shares.values() for view in of_view)
        for view, denoised in denoise_views(list(views), y, sigma, denoiser_of, max_batch_frames):
            for k, of_view in shares.items():
                if view in of_view:
                    share = denoised.new_tensor(of_view[view])[:, None, None]
                    add_frames_(sums[k], denoised * share, view.frames)
        made |= sums
    return made


@lru_cache(maxsize=256)
def _shares(plan: ViewPlan, estimate: Estimate, num_frames: int) -> dict[View, tuple[float, ...]]:
    """The weight of each region in an estimate, at each of the region's frames."""
    rule, scale = estimate
    if rule == "whole":
        return {View(range(num_frames), scale): (1.0,) * num_frames}
    spans = plan.windows(num_frames, scale)
    if rule == "averaged":
        covered = [sum(t in span.frames for span in spans) for t in range(num_frames)]
        return {span: tuple(1 / covered[t] for t in span.frames) for span in spans}
    return {region.view: (float(region.count),) * region.view.num_frames for region in region_graph(spans)}
