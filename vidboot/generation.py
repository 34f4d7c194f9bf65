"""Making videos with a trained model: any length, reproducible from a seed."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from vidboot.model import VideoModel
from vidboot.samplers import sample_heun


def initial_noise(shape_CTHW: Sequence[int], seeds: Sequence[int]) -> Float[Tensor, "B C T H W"]:
    """Standard normal noise, each sample from its own seed on the CPU: the same in any batch and on any device."""
    return torch.stack([torch.randn(tuple(shape_CTHW), generator=torch.Generator().manual_seed(s)) for s in seeds])


def generate(
    model: VideoModel,
    num_frames: int,
    seeds: Sequence[int],
    num_steps: int = 18,
    on_step: Callable[[int], None] = lambda step: None,
) -> Float[Tensor, "B C T H W"]:
    """Sample one video for each seed, values in [-1, 1]; `num_frames` may exceed the training length.

    `on_step` is told the number of sampler steps done, of `num_steps`. Raises `ValueError` for no frames or steps.
    """
    if num_frames < 1 or num_steps < 1:
        raise ValueError(f"a video needs at least 1 frame and 1 step, got {num_frames} and {num_steps}")
    video = model.config.video
    sigmas = model.config.noise.steps(num_steps)
    noise = initial_noise((3, num_frames, video.height, video.width), seeds).to(model.device)
    return sample_heun(model.denoise, noise * float(sigmas[0]), sigmas, on_step).clamp(-1, 1)
