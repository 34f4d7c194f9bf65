"""Conditioning: a linear observation of a video, and denoisers that agree with it.

First frames, the clean pixels of a damaged video and a low-resolution version of it are all linear: y = A x0. With
orthonormal rows, A Aᵀ = I, the formulas need only the projection P = AᵀA and the video Aᵀy, which has the observed
values and is 0 elsewhere. Networks trained with a context take observed pixels as an input
(`VideoModel.conditioned_on`). For other observations, and for any denoiser D, there are two corrections, whose results
are denoisers for any sampler:

    D'(x; σ) = D + Aᵀ(y − A D)                                range–null-space correction (DDNM, arXiv 2212.00490)
    D'(x; σ) = D + J Aᵀ (A J Aᵀ)⁻¹ (y − A D),   J = ∂D/∂x      moment matching (ΠGDM, Song et al. 2023; TMPD, arXiv
                                                              2310.06721; solved as in MMPS, arXiv 2405.13712)

The second is E[x0 | x, y] exactly if the data are Gaussian, because then Cov[x0 | x] = σ² J. It costs backward passes.
"""

import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from vidboot.method.composition import Denoiser


@dataclass(frozen=True)
class Observation:
    """Observed parts of videos of shape B C T H W: some pixels, and means of r×r blocks in some frames.

    Each tensor has one item for all videos, or one for each item of a batch. Values are in [-1, 1]. If a block contains
    observed pixels, its row of A covers the other pixels only, so that the rows of A are orthonormal.
    """

    pixels: Bool[Tensor, "b 1 T H W"]
    """True at observed pixels."""
    values: Float[Tensor, "b C T H W"]
    """Their values; 0 elsewhere."""
    blocks: Float[Tensor, "b C T h w"] | None = None
    """Block means (a low-resolution video in its natural range)."""
    block_frames: Bool[Tensor, "T"] | None = None
    """True at frames whose block means are observed; given together with `blocks`."""

    @classmethod
    def of_pixels(cls, video: Float[Tensor, "b C T H W"], mask: Bool[Tensor, "b 1 T H W"]) -> "Observation":
        """The pixels of `video` where `mask` is true."""
        return cls(mask, torch.where(mask, video, torch.zeros_like(video)))

    @classmethod
    def of_first_frames(cls, frames: Float[Tensor, "b C t H W"], num_frames: int) -> "Observation":
        """The first frames of a video of `num_frames`. Raises `ValueError` if there are more."""
        more = num_frames - frames.shape[2]
        if more < 0:
            raise ValueError(f"{frames.shape[2]} frames are known of a video of {num_frames}")
        mask = torch.ones_like(frames[:, :1], dtype=torch.bool)
        return cls(F.pad(mask, (0, 0, 0, 0, 0, more)), F.pad(frames, (0, 0, 0, 0, 0, more)))

    @classmethod
    def of_low_resolution(cls, low: Float[Tensor, "b C T h w"], scale: int) -> "Observation":
        """All frames of a video, mean-pooled by `scale`."""
        shape = (*low.shape[:3], low.shape[3] * scale, low.shape[4] * scale)
        nothing = torch.zeros((shape[0], 1, *shape[2:]), dtype=torch.bool, device=low.device)
        every = torch.ones(low.shape[2], dtype=torch.bool, device=low.device)
        return cls(nothing, low.new_zeros(shape), low, every)

    def __and__(self, other: "Observation") -> "Observation":
        """Both observations; the left one counts where both have a pixel. Raises `ValueError` for two low-res ones."""
        if self.blocks is not None and other.blocks is not None:
            raise ValueError("only one low-resolution video can be given")
        low = self if self.blocks is not None else other
        pixels, values = self.pixels | other.pixels, torch.where(self.pixels, self.values, other.values)
        return Observation(pixels, values, low.blocks, low.block_frames)

    def frames(self, start: int, end: int) -> "Observation":
        """The observation of frames `start` to `end` − 1; frames beyond the last are unobserved."""
        beyond = (0, 0, 0, 0, 0, max(0, end - max(start, self.pixels.shape[2])))

        def cut(tensor: Tensor) -> Tensor:
            return F.pad(tensor[:, :, start:end], beyond) if beyond[-1] else tensor[:, :, start:end]

        part = Observation(cut(self.pixels), cut(self.values))
        if self.blocks is None or self.block_frames is None or not self.block_frames[start:end].any():
            return part
        return replace(part, blocks=cut(self.blocks), block_frames=F.pad(self.block_frames[start:end], beyond[4:]))

    def to(self, device: torch.device | str, dtype: torch.dtype = torch.float32) -> "Observation":
        """Move to a device, with values of this data type."""
        blocks = None if self.blocks is None else self.blocks.to(device, dtype)
        frames = None if self.block_frames is None else self.block_frames.to(device)
        return Observation(self.pixels.to(device), self.values.to(device, dtype), blocks, frames)

    def project(self, x: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B C T H W"]:
        """P x = AᵀA x: x at observed pixels, else the mean over the unobserved pixels of an observed block, else 0."""
        kept, low = torch.where(self.pixels, x, torch.zeros_like(x)), self._low_res(x.dtype)
        return kept if low is None else kept + low.rest * low.mean(x)

    @property
    def lifted(self) -> Float[Tensor, "b C T H W"]:
        """Aᵀ y: the video in the range of P that agrees with the observation."""
        if (low := self._low_res(self.values.dtype)) is None:
            return self.values
        left = low.blocks * low.scale**2 - low.sum(self.values)
        return self.values + low.rest * low.spread(left * low.share)

    def impose(self, x: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B C T H W"]:
        """x + Aᵀ(y − A x): the video nearest to x that agrees with the observation."""
        return x + (self.lifted - self.project(x))

    def within_range(self, x: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B C T H W"]:
        """`x`, which agrees with the observation, brought into [-1, 1]; observed block means are kept.

        In a block that leaves the range, the unobserved pixels are drawn towards their mean, as little as needed.
        """
        if (low := self._low_res(x.dtype)) is None:
            return x.clamp(-1, 1)
        mean = low.mean(x)
        apart = low.rest * (x - mean)
        room = mean.clamp(-1, 1)
        above, below = (low.spread(low.largest(side)).clamp(min=1e-12) for side in (apart, -apart))
        factor = torch.minimum((1 - room) / above, (1 + room) / below).clamp(max=1)
        return torch.where(low.rest > 0, room + factor * apart, x.clamp(-1, 1))

    def _low_res(self, dtype: torch.dtype) -> "_LowRes | None":
        if self.blocks is None or self.block_frames is None:
            return None
        scale = self.pixels.shape[-1] // self.blocks.shape[-1]
        return _LowRes(self.blocks, scale, (~self.pixels & self.block_frames[:, None, None]).to(dtype))


@dataclass(frozen=True)
class _LowRes:
    """Observed means of r×r blocks, and the pixels that their rows of A cover."""

    blocks: Float[Tensor, "b C T h w"]
    scale: int
    rest: Float[Tensor, "b 1 T H W"]
    """1 at unobserved pixels of frames with observed blocks, else 0."""

    @property
    def share(self) -> Float[Tensor, "b 1 T h w"]:
        """One over the number of these pixels in each block, 0 for none."""
        count = self.sum(self.rest)
        return torch.where(count > 0, 1 / count.clamp(min=1), torch.zeros_like(count))

    def sum(self, x: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B C T h w"]:
        """The sum over each block."""
        return F.avg_pool3d(x, (1, self.scale, self.scale)) * self.scale**2

    def mean(self, x: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B C T H W"]:
        """The mean over the unobserved pixels of each block, at all pixels of the block."""
        return self.spread(self.sum(self.rest * x) * self.share)

    def largest(self, x: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B C T h w"]:
        """The maximum over each block."""
        return F.max_pool3d(x, (1, self.scale, self.scale))

    def spread(self, y: Float[Tensor, "B C T h w"]) -> Float[Tensor, "B C T H W"]:
        """The value of each block at all of its pixels."""
        return y.repeat_interleave(self.scale, -1).repeat_interleave(self.scale, -2)


class Corrected:
    """D + Aᵀ(y − A D): the range–null-space correction. It needs no backward pass. At unobserved pixels it is D."""

    def __init__(self, denoise: Denoiser, observation: Observation) -> None:
        self.denoise, self.observation = denoise, observation

    def __call__(self, x: Float[Tensor, "B C T H W"], sigma: Float[Tensor, "B"]) -> Float[Tensor, "B C T H W"]:
        """Denoise `x`; the result agrees with the observation."""
        return self.observation.impose(self.denoise(x, sigma))


class AnnealedConditioning:
    """A denoiser conditioned on less and less as the noise falls: `denoisers[k]` where k of the `sigmas` lie below σ.

    `sigmas` ascend, and each denoiser is conditioned on all that the one before it is, and more. A condition dropped
    at σ has fixed all but the detail that noise of σ hides. That detail then comes from the other conditions, so that
    a dropped region has no sharp edge.
    """

    def __init__(self, denoisers: Sequence[Denoiser], sigmas: Sequence[float]) -> None:
        self.denoisers, self.sigmas = list(denoisers), list(sigmas)

    def __call__(self, x: Float[Tensor, "B C T H W"], sigma: Float[Tensor, "B"]) -> Float[Tensor, "B C T H W"]:
        """Denoise `x`, all of whose items are at one noise level."""
        return self.denoisers[bisect.bisect_left(self.sigmas, float(sigma[0]))](x, sigma)


class MomentMatched:
    """D + J Aᵀ (A J Aᵀ)⁻¹ (y − A D), the conditional mean from first and second moments, then imposed.

    The system is solved by conjugate residuals from zero: `iterations` products with J = ∂D/∂x, each a backward pass,
    and one more for the result. The J of a real network is not quite symmetric and positive, and conjugate gradients
    need that: on moving digits they made errors larger from the fourth iteration on.
    """

    def __init__(self, denoise: Denoiser, observation: Observation, iterations: int) -> None:
        self.denoise, self.observation, self.iterations = denoise, observation, iterations

    def __call__(self, x: Float[Tensor, "B C T H W"], sigma: Float[Tensor, "B"]) -> Float[Tensor, "B C T H W"]:
        """Denoise `x`; the result agrees with the observation."""
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            x0 = self.denoise(x, sigma)

        def times_jacobian(v: Tensor) -> Tensor:
            return torch.autograd.grad(x0, x, v, retain_graph=True)[0]

        plain = x0.detach()
        residual = self.observation.lifted - self.observation.project(plain)
        u = conjugate_residuals(lambda v: self.observation.project(times_jacobian(v)), residual, self.iterations)
        return self.observation.impose(plain + times_jacobian(u))


def conjugate_residuals(
    times: Callable[[Tensor], Tensor], b: Float[Tensor, "B ..."], iterations: int
) -> Float[Tensor, "B ..."]:
    """An approximate solution u of M u = b for each item of the batch.

    It converges to the solution for a symmetric M ≥ 0. Each step minimises the residual b − M u along one direction,
    so the residual never grows, whatever M is.
    """
    u, residual = torch.zeros_like(b), b.clone()
    direction, image = residual, times(residual)
    size = _dot(image, image)
    for iteration in range(iterations):
        if iteration:
            # The next direction: the residual, less the part whose image is parallel to the last image.
            fresh = times(residual)
            share = _ratio(_dot(fresh, image), size)
            direction, image = residual - share * direction, fresh - share * image
            size = _dot(image, image)
        step = _ratio(_dot(residual, image), size)
        u, residual = u + step * direction, residual - step * image
    return u


def _ratio(a: Float[Tensor, "B 1 ..."], b: Float[Tensor, "B 1 ..."]) -> Float[Tensor, "B 1 ..."]:
    """a / b, and 0 where b is 0, as it is for a solved item."""
    return torch.where(b > torch.finfo(b.dtype).tiny, a / b, torch.zeros_like(a))


def _dot(a: Float[Tensor, "B ..."], b: Float[Tensor, "B ..."]) -> Float[Tensor, "B 1 ..."]:
    return (a * b).flatten(1).sum(1).reshape(-1, *[1] * (a.dim() - 1))
