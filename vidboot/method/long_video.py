"""A denoiser of T frames as one of any length: the short model is itself a view of the longer video.

    D(x; σ) = Σ_R A_Rᵀ c_R D_R(A_R x; σ)        with  Σ_R c_R(t) = 1  at every frame t

over windows of T frames and the overlaps of neighbours. With counting numbers (windows 1, overlaps −1:
`vidboot.method.regions`) a window's weight drops to 0 at once where its last frame ends. At high noise, where frames
are not Markov given the overlap, that makes a visible seam. So c_R depends on the frame here. At a share u of the way
across an overlap, the window before counts min(1, 2(1 − u)), the one after min(1, 2u), and the overlap counts what is
missing to 1: −1 in its middle, 0 at its ends. On Gaussian videos this is closer to the best denoiser than counting
numbers are up to about the σ of the data, and about as close above.

Windows begin at other frames at each noise level, so that an error that one step of the sampler makes at a border is
corrected in the next steps, where the same frames lie in the middle of a window.

A few windows are denoised at a time, and each result is added to the sampler's video at once. So memory is that of the
video and of the sum, plus a constant, and the time per frame does not depend on the length.
"""

import itertools
from collections.abc import Callable, Iterator

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vidboot.method.composition import Denoiser, NoiseLevel, in_batches, per_item
from vidboot.method.regions import windows
from vidboot.method.views import View, add_frames_, take_frames

Counts = tuple[float, ...]
"""c_R at each frame of a region."""


class LongDenoiser:
    """Windows of `length` frames minus the `overlap` frames that neighbours share, tapered, for any number of frames.

    `denoiser_of` gives each window, of `length` frames or fewer, its denoiser. Windows with the same denoiser go
    through it together, at most `max_batch_frames` frames (but at least one window) at a time. A video no longer than
    `length` is one window. Source: arXiv 2505.11825; DiffCollage, 2303.17076.
    """

    def __init__(
        self, denoiser_of: Callable[[View], Denoiser], length: int, overlap: int, max_batch_frames: int
    ) -> None:
        self.denoiser_of, self.length, self.overlap = denoiser_of, length, overlap
        self.max_batch_frames = max_batch_frames

    def __call__(self, x: Float[Tensor, "B C T H W"], sigma: NoiseLevel) -> Float[Tensor, "B C T H W"]:
        """Denoise `x` at noise level `sigma`, one per item."""
        if x.shape[2] <= self.length:
            return self._denoised(self.denoiser_of(View(range(x.shape[2]))), x, per_item(sigma, x))
        return self.add_to_(torch.zeros_like(x), x, sigma)

    def add_to_(
        self,
        total: Float[Tensor, "B C T H W"],
        x: Float[Tensor, "B C T H W"],
        sigma: NoiseLevel,
        weight: float = 1.0,
    ) -> Float[Tensor, "B C T H W"]:
        """Total ← total + weight · D(x; σ), in place, region by region: D as a whole is never in memory."""
        if x.shape[2] <= self.length:
            return total.add_(self(x, sigma), alpha=weight)
        sigma = per_item(sigma, x)
        level, *others = set(sigma.tolist())
        if others:  # each item has windows of its own
            for item in range(len(x)):
                self.add_to_(total[item : item + 1], x[item : item + 1], sigma[item : item + 1], weight)
            return total
        for denoise, group in self._groups(x.shape[2], len(x), window_shift(level, self.length - self.overlap)):
            noisy = torch.cat([take_frames(x, view.frames) for view, _ in group])
            denoised = self._denoised(denoise, noisy, sigma.repeat(len(group)))
            for (view, count), part in zip(group, torch.split(denoised, len(x)), strict=True):
                add_frames_(total, part * part.new_tensor(count)[:, None, None], view.frames, weight)
        return total

    def _denoised(self, denoise: Denoiser, x: Float[Tensor, "B C t H W"], sigma: Float[Tensor, "B"]) -> Tensor:
        return in_batches(denoise, x, sigma, self.max_batch_frames, x.shape[2])

    def _groups(self, num_frames: int, batch: int, shift: int) -> Iterator[tuple[Denoiser, list[tuple[View, Counts]]]]:
        """Regions of equal length with the same denoiser, in groups of at most `max_batch_frames` frames."""
        regions = tapered(num_frames, self.length, self.overlap, shift)
        with_denoisers = ((self.denoiser_of(view), view, count) for view, count in regions)
        for (denoise, size), same in itertools.groupby(with_denoisers, key=lambda each: (each[0], each[1].num_frames)):
            pending = [(view, count) for _, view, count in same]
            at_once = max(1, self.max_batch_frames // (size * batch))
            for start in range(0, len(pending), at_once):
                yield denoise, pending[start : start + at_once]


def window_shift(sigma: float, step: int) -> int:
    """By how many frames, 0 to `step` − 1, windows begin earlier at this noise level: pseudo-random.

    The shift is the same for the same level, so that the denoiser is a function of x and σ.
    """
    return int(np.random.default_rng(int(np.float32(sigma).view(np.uint32))).integers(step))


def tapered(num_frames: int, length: int, overlap: int, shift: int) -> list[tuple[View, Counts]]:
    """Windows and overlaps over `num_frames` frames, longest first, each with its c_R at each of its frames.

    At each overlap, all windows so far count as one video, which fades into the next window as the first window would.
    """
    done: list[tuple[View, list[float]]] = []
    end = 0
    for view in windows(num_frames, length, overlap, shift=shift):
        start = view.frames[0]
        shared = range(start, end)
        u = [(t - start + 1) / (len(shared) + 1) for t in shared]
        before, after = [min(1.0, 2 * (1 - v)) for v in u], [min(1.0, 2 * v) for v in u]
        for earlier, count in reversed(done):
            if earlier.frames[0] + length <= start:
                break
            for t in set(earlier.frames) & set(shared):
                count[t - earlier.frames[0]] *= before[t - start]
        if any(left := [1 - a - b for a, b in zip(before, after, strict=True)]):
            done.append((View(shared), left))
        done.append((view, after + [1.0] * (view.num_frames - len(shared))))
        end = view.frames[-1] + 1
    return sorted(((view, tuple(count)) for view, count in done), key=lambda each: -each[0].num_frames)
