"""Correlation over time in generated videos, compared with real ones: within a clip and far beyond it."""

import torch
from jaxtyping import Float
from torch import Tensor

from vidboot.config import RunConfig
from vidboot.distributed import device
from vidboot.evaluation.statistics import autocorrelation
from vidboot.generation.sampling import initial_noise, seeded
from vidboot.method.composition import Denoiser
from vidboot.method.samplers import initial_state, sample_heun


def lags(config: RunConfig) -> list[int]:
    """Lags in frames: 0.5, 1.5 and 3 times a clip, as far as they fit into a full video."""
    clip = config.clip.num_frames
    return [lag for lag in (clip // 2, clip * 3 // 2, clip * 3) if 0 < lag < config.video.num_frames]


@torch.no_grad()
def correlation_errors(
    denoise: Denoiser, config: RunConfig, count: int, real: Float[Tensor, "N C T H W"]
) -> dict[str, float]:
    """|autocorrelation of `count` generated videos − that of the `real` ones|, by lag in frames.

    The videos have the seeds from 0 on and are drawn one by one, with Heun's method in `log.sample_steps` steps.
    """
    sigmas = config.noise.karras_sigmas(config.log.sample_steps)
    made = []
    for generator in seeded(range(count)):
        noise = initial_noise(real.shape[1:], [generator]).to(device())
        x = initial_state(denoise, noise, float(sigmas[0]))
        made.append(sample_heun(denoise, x, sigmas).clamp(-1, 1).cpu())
    mean = real.mean((0, 2))[:, None]
    truth, found = (autocorrelation(videos, mean, lags(config)) for videos in (real, torch.cat(made)))
    return {str(lag): abs(found[lag] - truth[lag]) for lag in truth}
