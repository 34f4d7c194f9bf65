"""Calibration and gate for videos with context: pixels without noise, like the first frames or all around a subtitle.

With context other estimates are best: a short window learns more from its own first frames than from the low-res view
of the whole video. So the base's weights and γ are fitted a second time, on videos with context as in training.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from vidboot.config import CalibrationConfig, RunConfig
from vidboot.data.datasets import LentMasks, draw_context
from vidboot.data.manifest import Shot
from vidboot.data.set_aside import SetAside
from vidboot.distributed import device, share_of, sum_over_ranks
from vidboot.method.calibration import Calibration
from vidboot.method.calibration_fit import ErrorCovariance, fit_weights, measure
from vidboot.method.conditioning import Observation
from vidboot.method.denoising_error import fixed_noise
from vidboot.method.gate import GateFit
from vidboot.method.network_inputs import NetworkInputs
from vidboot.model.video_model import VideoModel
from vidboot.seeds import torch_seed
from vidboot.training.covariances import merged, over_videos


def calibrate_with_context(
    model: VideoModel, settings: CalibrationConfig, videos: Float[Tensor, "N C T H W"], lenders: Sequence[Shot]
) -> Calibration:
    """The base's weights for videos with context, from held-out full videos; the context is drawn as in training.

    `lenders` are the shots whose masks hide the rest of a video. Where a low-res pixel is observed in part, its errors
    count at the observed pixels too, although the result has the observed values there.
    """
    config, sigmas, draws = model.config, sorted(settings.sigmas), settings.draws(len(videos))
    generator = torch.Generator().manual_seed(torch_seed(config.seed))

    def of_video(n: int) -> list[list[ErrorCovariance]]:
        """The covariances for one video, with another context in each draw."""
        per_draw = []
        for x0, observation in _with_context(config, videos[n], n, lenders, draws):
            observing = model.observing(torch.ones_like(observation.pixels), observation)
            limit, denoiser_of = config.max_batch_frames, observing.denoiser_of
            per_draw.append(measure(config.plan, denoiser_of, [x0], sigmas, generator, limit))
        return merged(per_draw, lambda of_draws: np.mean(of_draws, axis=0))

    return fit_weights(config.plan, sigmas, over_videos(of_video, videos, draws, generator))


@torch.no_grad()
def gate_with_context(
    model: VideoModel, network: nn.Module, videos: Float[Tensor, "N C T H W"], lenders: Sequence[Shot]
) -> GateFit:
    """What γ follows from for the pixels outside the context, from held-out full videos; the processes share them."""
    config = model.config
    fit = GateFit(config.evaluation.sigmas, len(videos))
    whole = VideoModel(config, model.views, network, calibration=model.calibration, context_fit=model.context_fit)
    for n in share_of(len(videos)):
        ((x0, observation),) = _with_context(config, videos[n], n, lenders, 1)
        observing = whole.observing(torch.ones_like(observation.pixels), observation)
        assert observing.residual is not None  # `whole` has one
        for s, sigma in enumerate(fit.sigmas):
            level = x0.new_full((1,), sigma)
            x = x0 + sigma * fixed_noise(x0.shape[1:], n, s).to(x0.device)
            base = observing.base(x, level)
            full = observing.residual(x, level, inputs=NetworkInputs(base=base))
            # The result has the observed values whatever γ is, so they must not count.
            base, full = (torch.where(observation.pixels, x0, prediction) for prediction in (base, full))
            fit.add(n, sigma, base, full, x0)
    fit.terms = sum_over_ranks(fit.terms.to(device())).cpu()
    return fit


def _with_context(
    config: RunConfig, video: Float[Tensor, "C T H W"], number: int, lenders: Sequence[Shot], draws: int
) -> Iterator[tuple[Float[Tensor, "1 C T H W"], Observation]]:
    """The video with this number and an observation of its context, for each draw; the same in every call."""
    lent, rng = LentMasks(lenders, SetAside(config.run_dir)), np.random.default_rng([config.seed, 2, number])
    x0 = video[None].to(device())
    for _ in range(draws):
        context = draw_context((1, *video.shape[1:]), lent, rng).to(device())[None]
        yield x0, Observation.of_pixels(x0, context)
