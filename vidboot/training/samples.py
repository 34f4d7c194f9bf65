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
from vidboot.seeds import torch_seed


def write_sample(
    denoise: Denoiser,
    path: Path,
    shape_CTHW: tuple[int, int, int, int],
    sigmas: Float[Tensor, "levels"],
    seed: int,
    fps: float,
) -> None:
    """Write a video of a denoiser. The same seed gives the same noise, so samples of one run can be compared."""
    noise = torch.randn((1, *shape_CTHW), generator=torch.Generator().manual_seed(torch_seed(seed))).to(device())
    video = sample_heun(denoise, initial_state(denoise, noise, float(sigmas[0])), sigmas)
    write_video(path, to_frames(video[0]), fps)
