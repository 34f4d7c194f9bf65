"""Stand-ins for trained view networks on Gaussian videos: linear, learnt from finitely many clips and low-res videos.

Like networks they have errors, which signed sums add up. And the clip network can be run at full length, where each
frame depends on no more frames than a clip has. Calibration is there for both.
"""

from functools import lru_cache

import torch
from torch import Tensor

from vidboot.experiments.gaussian.gaussian import GaussianVideo
from vidboot.experiments.gaussian.ridge import RidgeLearner
from vidboot.method.composition import Denoiser, per_item
from vidboot.method.regions import ViewPlan
from vidboot.method.views import View


class TrainedViews:
    """The denoiser of any view of a stationary `video`, learnt from `count` samples of views of that size.

    There is one linear network for each scale and number of frames. At full resolution and more frames than a clip it
    is a sliding window: each frame comes from the clip that has it in the middle.
    """

    def __init__(self, video: GaussianVideo, plan: ViewPlan, count: int, generator: torch.Generator) -> None:
        self.plan, self.videos = plan, video.sample(count, generator)
        self.learner = lru_cache(maxsize=None)(self._learner)
        self.matrix = lru_cache(maxsize=None)(self._matrix)
        self.denoiser_of = lru_cache(maxsize=None)(self._denoiser_of)

    def __call__(self, view: View) -> Denoiser:
        """The denoiser of `view`."""
        return self.denoiser_of(view.scale, view.num_frames)

    def _denoiser_of(self, scale: int, num_frames: int) -> Denoiser:
        if scale == 1 and num_frames > self.plan.length:
            return self._sliding
        return lambda y, sigma: _apply(self.matrix(scale, num_frames, _level(y, sigma)), y)

    def _matrix(self, scale: int, num_frames: int, sigma: float) -> Tensor:
        learner = self.learner(scale, num_frames)
        skip = torch.eye(len(learner.all.matrix), dtype=self.videos.dtype) / (1 + sigma**2)
        return learner.fit(skip, sigma)[0]

    def _learner(self, scale: int, num_frames: int) -> RidgeLearner:
        return RidgeLearner(View(range(num_frames), scale).project(self.videos).flatten(1))

    def _sliding(self, x: Tensor, sigma: Tensor) -> Tensor:
        length, num_frames = self.plan.length, x.shape[2]
        clip = self.denoiser_of(1, length)
        starts = [min(max(t - length // 2, 0), num_frames - length) for t in range(num_frames)]
        return torch.stack([clip(x[:, :, s : s + length], sigma)[:, :, t - s] for t, s in enumerate(starts)], dim=2)


def _level(y: Tensor, sigma: Tensor) -> float:
    """The noise level of a batch, which must be one: a matrix is learnt for each. Raises `ValueError` for several."""
    levels = set(per_item(sigma, y).tolist())
    if len(levels) != 1:
        raise ValueError(f"these denoisers take one noise level at a time, got {sorted(levels)}")
    return levels.pop()


def _apply(w: Tensor, y: Tensor) -> Tensor:
    """W y for each item."""
    return (y.flatten(1) @ w.T).reshape(y.shape)
