"""The base score: view denoisers composed by counting numbers.

    D_base(x; σ) = Σ_R c_R · A_Rᵀ D_R(A_R x; σ)          with Σ_R c_R A_Rᵀ A_R = I

A denoiser is anything callable as `denoise(x, sigma) -> x0_hat` with `x` of shape B C T H W and `sigma` of shape B (or
a number); its score is (denoise(x, sigma) − x) / σ². All compositions here are denoisers like any other.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from vidboot.method.network_inputs import NO_INPUTS, NetworkInputs
from vidboot.method.regions import Region, windows
from vidboot.method.views import View, add_frames_, pool, take_frames, unpool


@runtime_checkable
class Denoiser(Protocol):
    """E[x0 | x0 + σ n = x], or an estimate of it."""

    def __call__(self, x: Float[Tensor, "B C T H W"], sigma: Float[Tensor, "B"], /) -> Float[Tensor, "B C T H W"]:
        """Denoise `x`, whose item b has noise of standard deviation `sigma[b]`."""
        ...


@runtime_checkable
class AccumulatingDenoiser(Denoiser, Protocol):
    """A denoiser that can add D(x; σ) to a tensor piece by piece, so that D as a whole is never in memory."""

    def add_to_(
        self, total: Float[Tensor, "B C T H W"], x: Float[Tensor, "B C T H W"], sigma: Float[Tensor, "B"], weight: float
    ) -> Float[Tensor, "B C T H W"]:
        """Total ← total + weight · D(x; σ), in place."""
        ...


NoiseLevel = Float[Tensor, "B"] | Float[Tensor, ""] | float
"""σ of each item of a batch, or one number for all."""


def per_item(sigma: NoiseLevel, x: Float[Tensor, "B ..."]) -> Float[Tensor, "B"]:
    """σ as one number for each item of the batch `x`."""
    return torch.as_tensor(sigma, dtype=x.dtype, device=x.device).expand(x.shape[0])


@runtime_checkable
class Network(Protocol):
    """A denoiser with inputs besides the noisy video and σ."""

    def __call__(
        self, x: Float[Tensor, "B C T H W"], sigma: Float[Tensor, "B"], /, inputs: NetworkInputs = ...
    ) -> Float[Tensor, "B C T H W"]:
        """Denoise `x`, given `inputs`."""
        ...


class LowResDenoiser:
    """A low-res network, trained on mean-pooled video in its natural range, as a denoiser of the low-res *view*.

    The view is A x = r · mean_pool_r(x), r times the natural range, so D(y; σ) = r · D_low(y / r; σ / r).
    """

    def __init__(self, denoise: Network, scale: int) -> None:
        self.denoise, self.scale = denoise, scale

    def __call__(
        self, y: Float[Tensor, "B C t h w"], sigma: Float[Tensor, "B"], inputs: NetworkInputs = NO_INPUTS
    ) -> Float[Tensor, "B C t h w"]:
        """Denoise the view `y` = A x at the full video's σ."""
        # A plain denoiser has no `inputs`.
        more = {} if inputs.empty else {"inputs": inputs}
        return self.scale * self.denoise(y / self.scale, sigma / self.scale, **more)


def by_scale(networks: Mapping[int, Network]) -> Callable[[View], Network]:
    """One network for each low-res factor (1: the clip network), for regions of any frames."""
    denoisers: dict[int, Network] = {
        r: denoise if r == 1 else LowResDenoiser(denoise, r) for r, denoise in networks.items()
    }
    return lambda view: denoisers[view.scale]


DenoiserOf = Mapping[View, Denoiser] | Callable[[View], Denoiser]


class ComposedDenoiser:
    """D(x; σ) = Σ_R c_R A_Rᵀ D_R(A_R x; σ): the base score as a denoiser.

    `denoisers` gives each region's view its denoiser (a mapping or a function, see `by_scale`), which acts on the view
    itself, at the full video's σ. Regions that share a denoiser and a shape go through it in one batch, at most
    `max_batch_frames` frames (or one region of one item) at a time. Source: arXiv 2505.11825; for clips alone it is
    DiffCollage, arXiv 2303.17076.
    """

    def __init__(self, regions: Sequence[Region], denoisers: DenoiserOf, max_batch_frames: int | None = None) -> None:
        self.regions, self.denoisers, self.max_batch_frames = list(regions), denoisers, max_batch_frames
        self.num_frames = 1 + max(region.view.frames[-1] for region in self.regions)

    def __call__(self, x: Float[Tensor, "B C T H W"], sigma: NoiseLevel) -> Float[Tensor, "B C T H W"]:
        """Denoise `x` at noise level `sigma`, one per item. Raises `ValueError` if the regions have another length."""
        if x.shape[2] != self.num_frames:
            raise ValueError(f"the regions are those of {self.num_frames} frames, the video has {x.shape[2]}")
        sigma = per_item(sigma, x)
        x0 = torch.zeros_like(x)
        counts: dict[int, dict[View, int]] = defaultdict(dict)
        for region in self.regions:
            counts[region.view.scale][region.view] = region.count
        for scale, count_of in counts.items():
            y = pool(x, scale)
            total = torch.zeros_like(y)
            for view, denoised in denoise_views(list(count_of), y, sigma, self.denoisers, self.max_batch_frames):
                add_frames_(total, denoised, view.frames, float(count_of[view]))
            x0 += unpool(total, scale)
        return x0


def denoise_views(
    views: Sequence[View],
    y_BCThw: Float[Tensor, "B C T h w"],
    sigma: Float[Tensor, "B"],
    denoisers: DenoiserOf,
    max_batch_frames: int | None = None,
) -> Iterator[tuple[View, Float[Tensor, "B C t h w"]]]:
    """Yield `(view, D_view(y[frames]; σ))` for views of one scale; `y` is the whole video at that scale.

    Views with the same denoiser and number of frames go through it together, at most `max_batch_frames` at a time.
    """
    denoiser_of = denoisers.__getitem__ if isinstance(denoisers, Mapping) else denoisers
    groups: dict[tuple[Denoiser, int], list[View]] = defaultdict(list)
    for view in views:
        groups[denoiser_of(view), view.num_frames].append(view)
    for (denoise, num_frames), group in groups.items():
        noisy = torch.cat([take_frames(y_BCThw, view.frames) for view in group])
        denoised = in_batches(denoise, noisy, sigma.repeat(len(group)), max_batch_frames, num_frames)
        yield from zip(group, torch.split(denoised, len(y_BCThw)), strict=True)


def in_batches(denoise: Denoiser, x: Tensor, sigma: Tensor, max_batch_frames: int | None, num_frames: int) -> Tensor:
    """`denoise(x, sigma)`, at most `max_batch_frames` frames (but at least one item) at a time.

    With gradients (moment matching) activations are not kept but computed again in the backward pass, batch by batch.
    """
    size = len(x) if max_batch_frames is None else max(1, max_batch_frames // num_frames)
    if torch.is_grad_enabled() and x.requires_grad:
        denoise = partial(checkpoint, denoise, use_reentrant=False)
    if size >= len(x):
        return denoise(x, sigma)
    return torch.cat([denoise(a, b) for a, b in zip(torch.split(x, size), torch.split(sigma, size), strict=True)])


def disjoint_windows(num_frames: int, length: int) -> list[Region]:
    """Baseline: clips side by side, each denoised alone. The last one may be shorter."""
    starts = range(0, num_frames, length)
    return [Region(View(range(start, min(start + length, num_frames))), 1) for start in starts]


class AveragedWindows:
    """Baseline: overlapping windows, averaged (MultiDiffusion, arXiv 2302.08113; Gen-L-Video, arXiv 2305.18264)."""

    def __init__(self, length: int, overlap: int, denoise: Denoiser, max_batch_frames: int | None = None) -> None:
        self.length, self.overlap, self.denoise, self.max_batch_frames = length, overlap, denoise, max_batch_frames

    def __call__(self, x: Float[Tensor, "B C T H W"], sigma: NoiseLevel) -> Float[Tensor, "B C T H W"]:
        """Denoise `x`: at each frame the mean over the windows that contain it."""
        regions = [Region(view, 1) for view in windows(x.shape[2], self.length, self.overlap)]
        total = ComposedDenoiser(regions, lambda view: self.denoise, self.max_batch_frames)(x, sigma)
        covered = torch.zeros(x.shape[2], dtype=x.dtype, device=x.device)
        for region in regions:
            covered[list(region.view.frames)] += 1
        return total / covered[:, None, None]


class ResidualDenoiser:
    """D(x; σ) = D_base(x; σ) + γ(σ) · (D_θ(x, D_base; σ) − D_base(x; σ)): base plus gated residual.

    The network reads the base's prediction (`NetworkInputs.base`); `gate` gives γ for each item's σ (see
    `vidboot.method.gate`). Where γ is 0 for the whole batch the network is not run.
    """

    def __init__(self, base: Denoiser, network: Network, gate: Callable[[Tensor], Tensor]) -> None:
        self.base, self.network, self.gate = base, network, gate

    def __call__(self, x: Float[Tensor, "B C T H W"], sigma: NoiseLevel) -> Float[Tensor, "B C T H W"]:
        """Denoise `x` at noise level `sigma`, one per item."""
        sigma = per_item(sigma, x)
        base = self.base(x, sigma)
        gate = self.gate(sigma).reshape(-1, 1, 1, 1, 1)
        return torch.lerp(base, self.network(x, sigma, inputs=NetworkInputs(base=base)), gate) if gate.any() else base
