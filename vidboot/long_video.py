"""A denoiser of T frames as one of any length: the short model is itself a view of the longer video.

    D(x; σ) = Σ_R c_R A_Rᵀ D_R(A_R x; σ)        over windows of T frames (c = 1) and their overlaps (c = −1)

as in `vidboot.score.ComposedDenoiser`, but a few windows at a time, so that beside the video itself and the result
memory does not grow with the length, nor does the time per frame.
"""

import itertools
from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from vidboot.regions import Region, region_graph, windows
from vidboot.score import Denoiser, in_batches, per_item
from vidboot.views import View, add_frames_, take_frames


class LongDenoiser:
    """Windows of `length` frames minus the `overlap` frames that neighbours share, for any number of frames.

    `denoiser_of` gives each window, of `length` frames or fewer, its denoiser; one that several share is given at most
    `max_batch_frames` at once (but at least one window). A video no longer than a window is one. Source: arXiv
    2505.11825; DiffCollage, 2303.17076.
    """

    def __init__(
        self, denoiser_of: Callable[[View], Denoiser], length: int, overlap: int, max_batch_frames: int
    ) -> None:
        self.denoiser_of, self.length, self.overlap = denoiser_of, length, overlap
        self.max_batch_frames = max_batch_frames

    def __call__(self, x: Float[Tensor, "B C T H W"], sigma: Float[Tensor, "B"]) -> Float[Tensor, "B C T H W"]:
        """Denoise `x` at noise level `sigma`, one per item."""
        if x.shape[2] <= self.length:
            denoise = self.denoiser_of(View(range(x.shape[2])))
            return in_batches(denoise, x, per_item(sigma, x), self.max_batch_frames, x.shape[2])
        sigma, total = per_item(sigma, x), torch.zeros_like(x)
        for denoise, group in self._groups(x.shape[2], len(x)):
            noisy = torch.cat([take_frames(x, region.view.frames) for region in group])
            denoised = in_batches(denoise, noisy, sigma.repeat(len(group)), self.max_batch_frames, noisy.shape[2])
            for region, part in zip(group, denoised.split(len(x)), strict=True):
                add_frames_(total, part, region.view.frames, region.count)
        return total

    def _groups(self, num_frames: int, batch: int) -> Iterator[tuple[Denoiser, list[Region]]]:
        """Regions of equal length with the same denoiser, together no longer than the limit allows."""
        regions = region_graph(windows(num_frames, self.length, self.overlap))
        told = ((self.denoiser_of(region.view), region) for region in regions)
        for (denoise, size), same in itertools.groupby(told, key=lambda pair: (pair[0], pair[1].view.num_frames)):
            pending = [region for _, region in same]
            at_once = max(1, self.max_batch_frames // (size * batch))
            for start in range(0, len(pending), at_once):
                yield denoise, pending[start : start + at_once]
