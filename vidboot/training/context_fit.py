"""Calibration and gate where some pixels are told without noise: first frames, or all but what a mask hides.

Other estimates are the best there: what a short window knows of its own first frames settles more than the low-res
view of the whole video does. So the weights of the base, and γ, are fitted anew on videos that are told as in training.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from vidboot.config import RunConfig
from vidboot.data.datasets import LentMasks, draw_context
from vidboot.data.manifest import Shot
from vidboot.data.set_aside import SetAside
from vidboot.distributed import device, rank, sum_over_ranks, world_size
from vidboot.method.calibration import Calibration
from vidboot.method.calibration_fit import ErrorCovariance, fit_weights, measure
from vidboot.method.conditioning import Known
from vidboot.method.denoising_error import fixed_noise
from vidboot.method.edm import Preconditioned
from vidboot.method.gate import Gate, GateFit
from vidboot.model.video_model import VideoModel


def calibrate_told(
    config: RunConfig, model: VideoModel, videos: Float[Tensor, "N C T H W"], lenders: Sequence[Shot]
) -> Calibration:
    """The base's weights where pixels are told, from held-out full videos; what is told is drawn as in training.

    `lenders` are the shots whose masks hide the rest. What low-res views get wrong at known pixels beside unknown ones
    counts too, though it is put right in the end.
    """
    settings, sigmas = config.calibration, sorted(config.calibration.sigmas)
    draws = settings.draws(len(videos))
    generator = torch.Generator().manual_seed(config.seed)
    per_video = []
    for n in tqdm(range(len(videos)), desc="calibrating, told", unit="video", disable=rank() != 0):
        per_draw = []
        for x0, known in _told(config, videos[n], n, lenders, draws):
            told, limit = model.observing(torch.ones_like(known.pixels), known), config.max_batch_frames
            per_draw.append(measure(config.plan, told.denoiser_of, [x0], sigmas, generator, limit, progress=False))
        per_video.append(_merged(per_draw, lambda of_draws: np.mean(of_draws, axis=0)))
    return fit_weights(config.plan, sigmas, _merged(per_video, np.concatenate))


@torch.no_grad()
def told_gate(
    config: RunConfig,
    model: VideoModel,
    network: Preconditioned,
    videos: Float[Tensor, "N C T H W"],
    lenders: Sequence[Shot],
) -> Gate:
    """γ for the pixels that are not told, where others are, from held-out full videos shared out among processes."""
    fit = GateFit(config.evaluation.sigmas)
    told = VideoModel(config, model.views, network, calibration=model.calibration, told=model.told)
    for n in range(rank(), len(videos), world_size()):
        ((x0, known),) = _told(config, videos[n], n, lenders, 1)
        here = told.observing(torch.ones_like(known.pixels), known)
        for s, sigma in enumerate(fit.sigmas):
            level = x0.new_full((1,), sigma)
            x = x0 + sigma * fixed_noise(x0.shape[1:], n, s).to(x0.device)
            base = here.base(x, level)
            # Known pixels are put right in the end, whatever γ is.
            made = (torch.where(known.pixels, x0, one) for one in (base, here.residual(x, level, base=base)))
            fit.add(sigma, *made, x0)
    fit.sums = sum_over_ranks(fit.sums.to(device())).cpu()
    return fit.gate()


def _told(
    config: RunConfig, video: Float[Tensor, "C T H W"], number: int, lenders: Sequence[Shot], draws: int
) -> Iterator[tuple[Float[Tensor, "1 C T H W"], Known]]:
    """The video with this number and what is told of it, once for each draw: always the same."""
    lent, rng = LentMasks(lenders, SetAside(config.run_dir)), np.random.default_rng([config.seed, 2, number])
    x0 = video[None].to(device())
    for _ in range(draws):
        context = draw_context((1, *video.shape[1:]), lent, rng).to(device())[None]
        yield x0, Known.of_pixels(x0, context)


def _merged(
    parts: Sequence[Sequence[Sequence[ErrorCovariance]]], merge: Callable[[list[np.ndarray]], np.ndarray]
) -> list[list[ErrorCovariance]]:
    """Error covariances of the same noise levels and bands, merged."""
    return [
        [
            ErrorCovariance(same[0].estimates, merge([one.per_video for one in same]))
            for same in zip(*bands, strict=True)
        ]
        for bands in zip(*parts, strict=True)
    ]
