"""The base score: view denoisers composed by counting numbers.

    D_base(x; σ) = Σ_R c_R · A_Rᵀ D_R(A_R x; σ)          with Σ_R c_R A_Rᵀ A_R = I

A denoiser is anything callable as `denoise(x, sigma) -> x0_hat` with `x` of shape B C T H W and `sigma` of shape B (or
a number); its score is (denoise(x, sigma) − x) / σ². All compositions here are denoisers like any other.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from vidboot.regions import Region, windows
from vidboot.views import View, add_frames_, pool, take_frames, unpool


class Denoiser(Protocol):
    """E[x0 | x0 + σ n = x], or an estimate of it."""

    def __call__(self, x: Float[Tensor, "B C T H W"], sigma: Float[Tensor, "B"]) -> Float[Tensor, "B C T H W"]:
        """Denoise `x`, whose item b has noise of standard deviation `sigma[b]`."""
        ...


def per_item(sigma: Float[Tensor, "..."] | float, x: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B"]:
    """σ as one number for each item of the batch `x`."""
    return torch.as_tensor(sigma, dtype=x.dtype, device=x.device).expand(x.shape[0])


class NaturalRange:
    """A low-res network, trained on mean-pooled video in its natural range, as a denoiser of the low-res *view*.

    The view is A x = r · mean_pool_r(x), r times the natural range, so D(y; σ) = r · D_low(y / r; σ / r).
    """

    def __init__(self, denoise: Denoiser, scale: int) -> None:
        self.denoise, self.scale = denoise, scale

    def __call__(self, y: Float[Tensor, "B C t h w"], sigma: Float[Tensor, "B"]) -> Float[Tensor, "B C t h w"]:
        """Denoise the view `y` = A x at the full video's σ."""
        return self.scale * self.denoise(y / self.scale, sigma / self.scale)


def by_scale(networks: Mapping[int, Denoiser]) -> Callable[[View], Denoiser]:
    """One network for each low-res factor (1: the clip network), for regions of any frames."""
    denoisers = {r: denoise if r == 1 else NaturalRange(denoise, r) for r, denoise in networks.items()}
    return lambda view: denoisers[view.scale]


class ComposedDenoiser:
    """D(x; σ) = Σ_R c_R A_Rᵀ D_R(A_R x; σ): the base score as a denoiser.

    `denoisers` gives each region's view its denoiser (a mapping or a function, see `by_scale`), which acts on the view
    itself, at the full video's σ. Regions that share a denoiser and a shape go through it in one batch, at most
    `max_batch_frames` frames (or one region of one item) at a time.
    """

    def __init__(
        self,
        regions: Sequence[Region],
        denoisers: Mapping[View, Denoiser] | Callable[[View], Denoiser],
        max_batch_frames: int | None = None,
    ) -> None:
        self.regions = list(regions)
        self.denoiser_of = denoisers.__getitem__ if isinstance(denoisers, Mapping) else denoisers
        self.max_batch_frames = max_batch_frames

    def __call__(self, x: Float[Tensor, "B C T H W"], sigma: Float[Tensor, "B"]) -> Float[Tensor, "B C T H W"]:
        """Denoise `x` at noise level `sigma`, one per item."""
        sigma = per_item(sigma, x)
        x0 = torch.zeros_like(x)
        by_scale: dict[int, list[Region]] = defaultdict(list)
        for region in self.regions:
            by_scale[region.view.scale].append(region)
        for scale, regions in by_scale.items():
            y = pool(x, scale)
            x0 += unpool(self._sum_at_scale(regions, y, sigma), scale)
        return x0

    def _sum_at_scale(self, regions: Sequence[Region], y: Tensor, sigma: Tensor) -> Tensor:
        """Σ_R c_R A_Rᵀ D_R(A_R y) over regions of one scale; `y` is the whole video at that scale already."""
        total = torch.zeros_like(y)
        for region, denoised in self.denoise_regions(regions, y, sigma):
            add_frames_(total, denoised, region.view.frames, region.count)
        return total

    def denoise_regions(self, regions: Sequence[Region], y: Tensor, sigma: Tensor):
        """Yield `(region, D_R(y[frames]; σ))`, batched over regions with the same denoiser and frame count."""
        groups: dict[tuple[Denoiser, int], list[Region]] = defaultdict(list)
        for region in regions:
            groups[self.denoiser_of(region.view), region.view.num_frames].append(region)
        for (denoise, num_frames), group in groups.items():
            noisy = torch.cat([take_frames(y, region.view.frames) for region in group])
            denoised = in_batches(denoise, noisy, sigma.repeat(len(group)), self.max_batch_frames, num_frames)
            yield from zip(group, denoised.split(y.shape[0]), strict=True)


def in_batches(denoise: Denoiser, x: Tensor, sigma: Tensor, max_batch_frames: int | None, num_frames: int) -> Tensor:
    """`denoise(x, sigma)`, at most `max_batch_frames` frames (but at least one item) at a time."""
    size = len(x) if max_batch_frames is None else max(1, max_batch_frames // num_frames)
    if size >= len(x):
        return denoise(x, sigma)
    return torch.cat([denoise(a, b) for a, b in zip(x.split(size), sigma.split(size), strict=True)])


def disjoint_windows(num_frames: int, length: int) -> list[Region]:
    """Baseline: clips side by side, each denoised alone. The last, shorter one holds what is left over."""
    starts = range(0, num_frames, length)
    return [Region(View(range(start, min(start + length, num_frames))), 1) for start in starts]


class AveragedWindows:
    """Baseline: overlapping windows, averaged (MultiDiffusion, arXiv 2302.08113; Gen-L-Video, arXiv 2305.18264)."""

    def __init__(self, length: int, overlap: int, denoise: Denoiser, max_batch_frames: int | None = None) -> None:
        self.length, self.overlap, self.denoise, self.max_batch_frames = length, overlap, denoise, max_batch_frames

    def __call__(self, x: Float[Tensor, "B C T H W"], sigma: Float[Tensor, "B"]) -> Float[Tensor, "B C T H W"]:
        """Denoise `x`: the mean over the windows that see a frame."""
        regions = [Region(view, 1) for view in windows(x.shape[2], self.length, self.overlap)]
        total = ComposedDenoiser(regions, lambda view: self.denoise, self.max_batch_frames)(x, sigma)
        covered = torch.zeros(x.shape[2], dtype=x.dtype, device=x.device)
        for region in regions:
            covered[list(region.view.frames)] += 1
        return total / covered[:, None, None]
