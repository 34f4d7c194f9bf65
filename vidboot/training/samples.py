"""Sample videos made while a network trains."""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from vidboot.data.datasets import to_frames
from vidboot.data.video import write_video
from vidboot.distributed import device
from vidboot.method.composition import Denoiser
from vidboot.method.samplers import initial_state, sample_heun


def write_sample(
    denoise: Denoiser,
    path: Path,
    size_THW: tuple[int, int, int],
    sigmas: Float[Tensor, "steps+1"],
    seed: int,
    fps: float,
) -> None:
    """Write a video drawn from a denoiser; the same seed gives the same noise, so that progress shows."""
    noise = torch.randn((1, 3, *size_THW), generator=torch.Generator().manual_seed(seed)).to(device())
    video = sample_heun(denoise, initial_state(denoise, noise, float(sigmas[0])), sigmas)
    write_video(path, to_frames(video[0]), fps)
