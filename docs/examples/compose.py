"""A clip model and a low-resolution model of your own, composed and sampled at four times the clips' length.

The data are Gaussian, so that the best denoisers are known: each video has a brightness of its own, and each pixel
differs from it. Sixteen frames don't say how bright the video is fifty frames later; the low-resolution view does.
"""

from functools import partial

import torch
from torch import Tensor

from vidboot import method

BRIGHTNESS, DETAIL = 0.5, 0.2  # standard deviations


def best(x: Tensor, sigma: Tensor, detail: float) -> Tensor:
    """E[x0 | x]: your network's place. What all pixels share and what sets them apart are denoised each for itself."""
    noise, mean = sigma.reshape(-1, 1, 1, 1, 1) ** 2, x.mean((1, 2, 3, 4), keepdim=True)
    shared = BRIGHTNESS**2 * x[0].numel() + detail**2
    return shared / (shared + noise) * mean + detail**2 / (detail**2 + noise) * (x - mean)


clip_model, low_res_model = partial(best, detail=DETAIL), partial(best, detail=DETAIL / 4)  # of means over 4×4 pixels
clips, low_res = method.windows(num_frames=64, length=16, overlap=8), method.low_resolution(num_frames=64, scales=[4])
sigmas = method.karras_sigmas(18, sigma_min=0.02, sigma_max=80.0)
for name, views in {"clips alone": clips, "clips and low resolution": clips + low_res}.items():
    models = method.by_scale({1: clip_model, 4: low_res_model})
    denoise = method.ComposedDenoiser(method.region_graph(views), models)
    noise = torch.randn(64, 1, 64, 16, 16, generator=torch.Generator().manual_seed(0))
    videos = method.sample_heun(denoise, method.initial_state(denoise, noise, 80.0), sigmas)  # B C T H W
    start, end = videos[:, :, :8].mean((1, 2, 3, 4)), videos[:, :, -8:].mean((1, 2, 3, 4))
    same = torch.corrcoef(torch.stack([start, end]))[0, 1]
    print(f"{name}: brightness {start.std():.2f}, correlation of start and end {same:.2f}")
print(f"data: brightness {BRIGHTNESS:.2f}, correlation of start and end 1.00")
