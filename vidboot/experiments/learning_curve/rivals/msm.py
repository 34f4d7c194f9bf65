"""MSM, the measurement score-based diffusion model (Park et al. 2025, arXiv 2505.11853): partial scores, averaged.

The paper learns from partial measurements S x0 only, S a random choice of coordinates, and makes the score of the whole
from those of the parts: of random S the partial scores are put in place and added up, and what several S contain is
divided by how many,

    s(x; σ) = W · E_S[ Sᵀ s_S(S x; σ) ],      W = (E_S[ Sᵀ S ])⁻¹, a diagonal matrix

In sampling it draws a few S in each step; here the expectation is taken in full. Of denoisers it is the same sum, as
D = x + σ² s and W · E_S[Sᵀ S] = I.

Here S is a view. In the orthonormal basis of block means and what is left beside them, clips and low-resolution videos
both are choices of coordinates. So S is the low-resolution video of all frames with a probability p, else a clip of
full resolution, its first frame anywhere. p is chosen on the held-out videos. The partial scores are those of the view
networks; where the run has no low-resolution network, those of the clip network, which has learnt from such videos too
(with noise of its own beside that of the view, as in its training). Nothing is trained, and no full video is needed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from vidboot.data.datasets import held_out_windows
from vidboot.distributed import device
from vidboot.experiments.learning_curve.rows import MSM, Methods, Rows
from vidboot.method.composition import Denoiser, LowResDenoiser, Network, NoiseLevel, denoise_views, per_item
from vidboot.method.denoising_error import edm_weighted, fixed_noise
from vidboot.method.edm import add_noise, of_pixels, squared_error
from vidboot.method.network_inputs import NetworkInputs
from vidboot.method.regions import windows
from vidboot.method.views import add_frames_, pool, unpool

LOW_RES_SHARES = (0.0, 0.25, 0.5, 0.75)
"""Probabilities of the low-resolution view to choose from."""

OWN_NOISE = 1_000_002
"""Number of a noise that no held-out video has."""


@dataclass(frozen=True)
class PartialScores:
    """Partial denoisers' predictions of one batch."""

    clips: Float[Tensor, "B C T H W"]
    """E[Sᵀ D_S(S x)] over clips."""
    covered: Float[Tensor, "T"]
    """E[Sᵀ S] over clips: the probability of each frame."""
    low: Float[Tensor, "B C T h w"]
    """Of the low-resolution view."""
    scale: int

    def aggregated(self, share: float) -> Float[Tensor, "B C T H W"]:
        """W · E_S[Sᵀ D_S(S x)], with a `share` of low-resolution views."""
        covered = self.covered[:, None, None]
        fine = self.clips / covered  # beside the block means only clips have something to say
        of_clips = (1 - share) * pool(self.clips, self.scale)
        coarse = (share * self.low + of_clips) / (share + (1 - share) * covered)
        return fine + unpool(coarse - pool(fine, self.scale), self.scale)


class AggregatedScores:
    """The aggregate as a denoiser: of a `clip` denoiser of `length` frames, and of a `low` one of the low-res view."""

    def __init__(
        self, clip: Denoiser, low: Denoiser, length: int, scale: int, max_batch_frames: int | None = None
    ) -> None:
        self.clip, self.low, self.length, self.scale = clip, low, length, scale
        self.max_batch_frames, self.share = max_batch_frames, LOW_RES_SHARES[0]

    def __call__(self, x: Float[Tensor, "B C T H W"], sigma: NoiseLevel) -> Float[Tensor, "B C T H W"]:
        """Denoise `x` at noise level `sigma`, one per item."""
        return self.parts(x, sigma).aggregated(self.share)

    def parts(self, x: Float[Tensor, "B C T H W"], sigma: NoiseLevel) -> PartialScores:
        """The partial denoisers' predictions."""
        sigma = per_item(sigma, x)
        views = windows(x.shape[2], self.length, self.length - 1)
        total, covered = torch.zeros_like(x), x.new_zeros(x.shape[2])
        for view, denoised in denoise_views(views, x, sigma, lambda view: self.clip, self.max_batch_frames):
            add_frames_(total, denoised, view.frames, 1 / len(views))
            covered[list(view.frames)] += 1 / len(views)
        return PartialScores(total, covered, self.low(pool(x, self.scale), sigma), self.scale)


class LowResOfClipNetwork:
    """The denoiser of a low-resolution view that the clip network is, as it learnt to (see `low_res_loss`)."""

    def __init__(self, network: Network, scale: int) -> None:
        self.network, self.scale = network, scale

    def __call__(self, y: Float[Tensor, "B C T h w"], sigma: Float[Tensor, "B"]) -> Float[Tensor, "B C T h w"]:
        """Denoise the view; the noise that it lacks beside its frequencies is added, always the same."""
        r, at_view = self.scale, unpool(y, self.scale)
        noise = fixed_noise(at_view.shape[1:], OWN_NOISE, 0).to(y.device, y.dtype)[None]
        beside = noise - unpool(pool(noise, r), r)
        observed = y.new_full((1, 1, *at_view.shape[2:]), 1 / r**2)
        x0_hat = self.network(at_view + of_pixels(sigma) * beside, sigma, inputs=NetworkInputs(observed_mask=observed))
        return pool(x0_hat, r)


def msm(methods: Methods, work: Path) -> Rows:
    """The row of the aggregate, with the share of low-resolution views that is best on the held-out videos."""
    run, scale = methods.config.run, methods.config.full_length.scale
    networks = dict(zip(run.plan.scales, methods.model.views.values(), strict=True))
    low = LowResDenoiser(networks[scale], scale) if scale in networks else LowResOfClipNetwork(methods.clip, scale)
    denoise = AggregatedScores(methods.clip, low, run.clip.num_frames, scale, run.max_batch_frames)
    limit = run.evaluation.num_videos
    videos, _ = held_out_windows(methods.data.validation, run.video.num_frames, 1, limit, clean=True)
    errors = errors_by_share(denoise, videos, run.evaluation.sigmas)
    weighted = {share: edm_weighted(found, run.noise.sigma_data) for share, found in errors.items()}
    denoise.share = min(weighted, key=weighted.__getitem__)
    return {MSM: methods.score(denoise, low_res_share=denoise.share, validation=weighted[denoise.share])}


@torch.no_grad()
def errors_by_share(
    denoise: AggregatedScores, videos: Float[Tensor, "N C T H W"], sigmas: Sequence[float]
) -> dict[float, dict[float, float]]:
    """Mean square error at each σ for each share, with the fixed noise of held-out errors."""
    errors = {share: dict.fromkeys(sigmas, 0.0) for share in LOW_RES_SHARES}
    for n, video in enumerate(videos):
        x0 = video[None].to(device())
        for s, sigma in enumerate(sigmas):
            noise, level = fixed_noise(x0.shape[1:], n, s)[None].to(x0.device), x0.new_full((1,), sigma)
            parts = denoise.parts(add_noise(x0, level, noise), level)
            for share, found in errors.items():
                found[sigma] += float(squared_error(parts.aggregated(share), x0)) / len(videos)
    return errors
