"""Gaussian videos: any covariance, samples, and the exact denoiser of every view.

Videos have one channel and are flattened to N = T·H·W numbers, time first, in float64.
"""

import math
from functools import cached_property, lru_cache

import numpy as np
import scipy.fft
import torch
from jaxtyping import Float
from torch import Tensor

from vidboot.method.composition import per_item
from vidboot.method.views import View

TIME_CONSTANT = 40.0
"""τ_f of the reference video at spatial frequency 0, in frames."""


def stationary_covariance(
    num_frames: int,
    variance_HW: Float[Tensor, "H W"],
    time_constant_HW: Float[Tensor, "H W"],
    long_range: float = 0.0,
    coupling: float = 0.0,
) -> Float[Tensor, "N N"]:
    """Covariance of a video that is stationary in time, given per spatial frequency (orthonormal DCT-II index).

    Frequency f has variance v_f and correlation (1 − ρ) exp(−Δt/τ_f) + ρ with ρ = `long_range`: an Ornstein–Uhlenbeck
    process plus a constant. κ = `coupling` in [0, 1] is the correlation between the noises that drive two frequencies,
    and between their constants, so frequencies f at time t and g at t' ≤ t covary by

        √(v_f v_g) κ [ (1 − ρ) 2√(τ_f τ_g)/(τ_f + τ_g) exp(−(t − t')/τ_f) + ρ ]

    which leaves each frequency's own law alone. Raises `ValueError` for ρ or κ outside [0, 1].
    """
    if not (0 <= long_range <= 1 and 0 <= coupling <= 1):
        raise ValueError(f"long-range share and coupling lie in [0, 1], got {long_range} and {coupling}")
    height, width = variance_HW.shape
    amplitude_F = variance_HW.double().flatten().sqrt()
    tau_F = time_constant_HW.double().flatten()
    time_T = torch.arange(num_frames, dtype=torch.float64)
    lag_TT = time_T[:, None] - time_T
    # exp(−|Δ|/τ) of the later one's τ: rows (first index) are f at t, columns g at t'.
    later_FTT = torch.exp(-lag_TT.clamp(min=0) / tau_F[:, None, None])
    decay_FGTT = torch.where(lag_TT >= 0, later_FTT[:, None], later_FTT.mT[None])
    overlap_FG = 2 * (tau_F[:, None] * tau_F).sqrt() / (tau_F[:, None] + tau_F)
    driven_FG = coupling + (1 - coupling) * torch.eye(len(tau_F), dtype=torch.float64)
    correlation = driven_FG[..., None, None] * (
        (1 - long_range) * overlap_FG[..., None, None] * decay_FGTT + long_range
    )
    covariance = amplitude_F[:, None, None, None] * amplitude_F[:, None, None] * correlation
    dct_FP = torch.from_numpy(np.kron(_dct(height), _dct(width)))
    pixels = torch.einsum("fgtu,fp,gq->tpuq", covariance, dct_FP, dct_FP)
    return pixels.reshape(num_frames * height * width, -1)


def _dct(size: int) -> Float[np.ndarray, "F P"]:
    """Orthonormal DCT-II of `size` pixels."""
    return scipy.fft.dct(np.eye(size), axis=0, norm="ortho")


def reference_covariance(
    num_frames: int = 32, size: int = 4, long_range: float = 0.3, coupling: float = 0.0
) -> Float[Tensor, "N N"]:
    """The reference video: v_f ∝ 1/(1+f)², τ_f = 40/(1+f), f the sum of both DCT indices; mean variance 1 a pixel."""
    index = torch.arange(size, dtype=torch.float64)
    f_HW = index[:, None] + index
    covariance = stationary_covariance(num_frames, (1 + f_HW) ** -2, TIME_CONSTANT / (1 + f_HW), long_range, coupling)
    return covariance * (len(covariance) / covariance.trace())


class WienerDenoiser:
    """The exact denoiser of a zero-mean Gaussian: D(x; σ) = C (C + σ² I)⁻¹ x, for items flattened to vectors."""

    def __init__(self, covariance: Float[Tensor, "n n"]) -> None:
        eigenvalues, self.basis = torch.linalg.eigh(covariance)
        self.eigenvalues = eigenvalues.clamp(min=0)

    def __call__(
        self, x: Float[Tensor, "B C T H W"], sigma: Float[Tensor, "..."] | float
    ) -> Float[Tensor, "B C T H W"]:
        """Denoise `x` at noise level `sigma`: one for each item, or one for all."""
        noise = per_item(sigma, x)[:, None] ** 2
        # At σ = 0 a direction without variance would give 0/0; the gain there is 0.
        gain = self.eigenvalues / (self.eigenvalues + noise).clamp(min=torch.finfo(x.dtype).tiny)
        return ((x.flatten(1) @ self.basis * gain) @ self.basis.T).reshape(x.shape)


class GaussianVideo:
    """A zero-mean Gaussian distribution of videos of shape 1 T H W, with its exact denoisers.

    Raises `ValueError` for a covariance of another size.
    """

    def __init__(self, covariance: Float[Tensor, "N N"], num_frames: int, height: int, width: int) -> None:
        self.covariance, self.shape = covariance, (1, num_frames, height, width)
        if len(covariance) != math.prod(self.shape):
            raise ValueError(f"a covariance of {len(covariance)} numbers doesn't fit videos of shape {self.shape}")
        self.denoiser_of = lru_cache(maxsize=None)(self._denoiser_of)

    @classmethod
    def reference(
        cls, num_frames: int = 32, size: int = 4, long_range: float = 0.3, coupling: float = 0.0
    ) -> "GaussianVideo":
        """The reference video of `reference_covariance`."""
        return cls(reference_covariance(num_frames, size, long_range, coupling), num_frames, size, size)

    def sample(self, count: int, generator: torch.Generator) -> Float[Tensor, "B C T H W"]:
        """Draw `count` videos."""
        noise = torch.randn(count, len(self.covariance), dtype=torch.float64, generator=generator)
        eigenvalues, basis = self._eigen
        return (noise @ (basis * eigenvalues.sqrt()).T).reshape(count, *self.shape)

    @cached_property
    def _eigen(self) -> tuple[Float[Tensor, "N"], Float[Tensor, "N N"]]:
        eigenvalues, basis = torch.linalg.eigh(self.covariance)
        return eigenvalues.clamp(min=0), basis

    def minimum_error(self, sigma: float) -> float:
        """The least mean-square denoising error per number: σ² tr C (C + σ² I)⁻¹ / N."""
        eigenvalues, _ = self._eigen
        return float((sigma**2 * eigenvalues / (eigenvalues + sigma**2)).mean())

    def covariance_of(self, view: View) -> Float[Tensor, "n n"]:
        """A C Aᵀ: the covariance of a view."""
        columns = view.project(self.covariance.reshape(-1, *self.shape)).flatten(1)
        return view.project(columns.T.reshape(-1, *self.shape)).flatten(1)

    def _denoiser_of(self, view: View) -> WienerDenoiser:
        """The exact denoiser of a view: that of a perfectly trained network."""
        return WienerDenoiser(self.covariance_of(view))

    @property
    def full_view(self) -> View:
        """All frames at full resolution."""
        return View(range(self.shape[1]))
