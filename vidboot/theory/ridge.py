"""Linear denoisers learnt from n full videos: direct, or as a residual on a base.

Training to the end on all noise of one level σ solves, with S the videos' second moment,

    min_W  E_n Σ_i ‖W (x0_i + σ n) − x0_i‖² / n + λ ‖W − W_b‖²
    W = W_b + (S − W_b (S + σ² I)) (S + σ² I + λ I)⁻¹

W_b = 0 is direct training with weight decay; W_b = the base is a residual, pulled towards it. λ is chosen by
cross-validation over the n videos: their truth is known to a trainer, the covariance is not.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

STRENGTHS = tuple(10.0 ** np.arange(-5, 7.01, 0.5))
"""Ridge strengths λ tried; the largest leaves the centre as it is."""
FOLDS = 4


@dataclass(frozen=True)
class RidgePath:
    """W as a function of λ, in the eigenbasis of S + σ² I: W_λ = W_b + Q diag(1/(e + λ)) Uᵀ."""

    centre: Float[Tensor, "N N"]
    gradient: Float[Tensor, "N N"]  # Q = (S − W_b (S + σ² I)) U
    eigenvalues: Float[Tensor, "N"]
    basis: Float[Tensor, "N N"]

    @classmethod
    def fit(cls, videos_nN: Float[Tensor, "n N"], centre: Float[Tensor, "N N"], sigma: float) -> "RidgePath":
        """All solutions for these videos."""
        moment = videos_nN.T @ videos_nN / len(videos_nN)
        eigenvalues, basis = torch.linalg.eigh(moment)
        noisy = eigenvalues.clamp(min=0) + sigma**2
        gradient = moment @ basis - centre @ (basis * noisy)
        return cls(centre, gradient, noisy, basis)

    def solution(self, strength: float) -> Float[Tensor, "N N"]:
        """W at one λ."""
        return self.centre + (self.gradient / (self.eigenvalues + strength)) @ self.basis.T

    def errors(
        self, videos_nN: Float[Tensor, "n N"], sigma: float, strengths: Sequence[float] = STRENGTHS
    ) -> Float[Tensor, "S"]:
        """Mean-square denoising error on other videos, averaged over all noise, at each λ.

        With g = 1/(e + λ), E‖W x − x0‖² is a quadratic in g, whose coefficients are computed once.
        """
        moment = videos_nN.T @ videos_nN / len(videos_nN)
        noisy = moment + sigma**2 * torch.eye(len(moment), dtype=moment.dtype)
        quadratic = (self.gradient.T @ self.gradient) * (self.basis.T @ noisy @ self.basis)
        linear = (self.gradient * ((self.centre @ noisy - moment) @ self.basis)).sum(0)
        constant = ((self.centre @ noisy) * self.centre).sum() - 2 * (self.centre * moment).sum() + moment.trace()
        g_SN = 1 / (self.eigenvalues + torch.tensor(strengths, dtype=moment.dtype)[:, None])
        return (((g_SN @ quadratic) * g_SN).sum(1) + 2 * g_SN @ linear + constant) / len(moment)


def fit_linear(
    videos_nN: Float[Tensor, "n N"], centre: Float[Tensor, "N N"], sigma: float
) -> tuple[Float[Tensor, "N N"], float]:
    """W learnt from these videos by ridge towards `centre`, and the λ that cross-validation chose."""
    fold = torch.arange(len(videos_nN)) % FOLDS
    errors = sum(
        RidgePath.fit(videos_nN[fold != f], centre, sigma).errors(videos_nN[fold == f], sigma) for f in range(FOLDS)
    )
    strength = STRENGTHS[int(errors.argmin())]
    return RidgePath.fit(videos_nN, centre, sigma).solution(strength), strength
