"""Linear denoisers as matrices W, and their exact errors on Gaussian videos.

For D(x; σ) = W x and x = x0 + σ n with x0 ~ N(0, C):

    E‖D(x) − x0‖² = tr (W − I) C (W − I)ᵀ + σ² tr W Wᵀ,

divided by N, so per pixel and frame. It is least for W* = C (C + σ² I)⁻¹.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from vidboot.experiments.gaussian.gaussian import GaussianVideo
from vidboot.method.composition import Denoiser


def as_matrix(denoise: Denoiser, shape: tuple[int, int, int, int], sigma: float) -> Float[Tensor, "N N"]:
    """W of a linear denoiser of videos of shape C T H W, column by column."""
    size = torch.Size(shape).numel()
    basis = torch.eye(size, dtype=torch.float64).reshape(size, *shape)
    return denoise(basis, basis.new_full((size,), sigma)).flatten(1).T


def mean_square_error(w: Float[Tensor, "N N"], covariance: Float[Tensor, "N N"], sigma: float) -> float:
    """E‖W x − x0‖² / N, exactly."""
    off = w - torch.eye(len(w), dtype=w.dtype)
    return float(((off @ covariance) * off).sum() + sigma**2 * (w**2).sum()) / len(w)


def excess_percent(w: Float[Tensor, "N N"], video: GaussianVideo, sigma: float) -> float:
    """Excess error over the best possible, in % of the least mean-square error."""
    least = video.minimum_error(sigma)
    return 100 * (mean_square_error(w, video.covariance, sigma) - least) / least
