"""Somebody else's network, which predicts the noise in clips of 16 frames, as a view of videos of 64 frames.

Here it is a stand-in for a pretrained one: variance preserving, 1000 discrete timesteps, the best there is for Gaussian
data in which each frame is 0.9 of the frame before plus something new. So it is known what long videos should be like.
"""

import torch
from torch import Tensor

from vidboot import method

alphas_cumprod = (1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)).cumprod(0)


def their_network(z: Tensor, step: Tensor) -> Tensor:
    """E[n | z] for z = α x0 + √(1−α²) n of at most 16 frames."""
    num_frames = z.shape[2]
    assert num_frames <= 16, "trained on clips of 16 frames"
    t = torch.arange(num_frames)
    covariance = 0.25 * 0.9 ** (t[:, None] - t).abs()
    square = alphas_cumprod[step.round().long()].to(z.dtype)[:, None, None]
    inverse = torch.linalg.inv(square * covariance + (1 - square) * torch.eye(num_frames))
    return torch.einsum("b,bst,bcthw->bcshw", (1 - square).sqrt().flatten(), inverse, z)


denoise_clip = method.from_eps(their_network, time=method.timesteps(alphas_cumprod))
regions = method.region_graph(method.windows(num_frames=64, length=16, overlap=8))
denoise = method.ComposedDenoiser(regions, lambda view: denoise_clip)
noise = torch.randn(4, 3, 64, 16, 16, generator=torch.Generator().manual_seed(0))
sigmas = method.karras_sigmas(18, sigma_min=0.02, sigma_max=80.0)
video = method.sample_heun(denoise, method.initial_state(denoise, noise, 80.0), sigmas)  # B C T H W
print(f"standard deviation {video.std():.2f} (data: 0.50)")
for distance in (1, 4, 8):
    pairs = torch.stack([video[:, :, distance:].flatten(), video[:, :, :-distance].flatten()])
    print(f"correlation over {distance} frames {torch.corrcoef(pairs)[0, 1]:.2f} (data: {0.9**distance:.2f})")
