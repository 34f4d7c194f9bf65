"""Linear denoisers learnt from n full videos: direct, or as a residual on a base.

Training to the end on all noise of one level σ solves, with S the videos' second moment,

    min_W  E_n Σ_i ‖W (x0_i + σ n) − x0_i‖² / n + λ ‖W − W_b‖²
    W = W_b + (S − W_b (S + σ² I)) (S + σ² I + λ I)⁻¹

W_b = 0 is direct training with weight decay; with the base as W_b it is a residual, pulled towards the base. λ is
chosen by cross-validation over the n videos, because a trainer has these but not the true covariance.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, reduce

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

STRENGTHS = tuple(10.0 ** np.arange(-5, 7.01, 0.5))
"""Ridge strengths λ to choose from; with the largest W stays at the centre W_b."""
FOLDS = 4


@dataclass(frozen=True)
class Moment:
    """S of some videos, and its eigenbasis: S = U diag(e) Uᵀ."""

    matrix: Float[Tensor, "N N"]
    eigenvalues: Float[Tensor, "N"]
    basis: Float[Tensor, "N N"]

    @classmethod
    def of(cls, videos_nN: Float[Tensor, "n N"]) -> "Moment":
        """The second moment of videos of mean zero, each flattened."""
        matrix = _moment(videos_nN)
        eigenvalues, basis = torch.linalg.eigh(matrix)
        return cls(matrix, eigenvalues.clamp(min=0), basis)


@dataclass(frozen=True)
class RidgePath:
    """W as a function of λ: W_λ = W_b + Q diag(1/(e + σ² + λ)) Uᵀ with Q = (S − W_b (S + σ² I)) U."""

    moment: Moment
    centre: Float[Tensor, "N N"]
    sigma: float

    @cached_property
    def gradient(self) -> Float[Tensor, "N N"]:
        """Q."""
        basis, noisy = self.moment.basis, self.moment.eigenvalues + self.sigma**2
        return basis * self.moment.eigenvalues - self.centre @ (basis * noisy)

    def solution(self, strength: float) -> Float[Tensor, "N N"]:
        """W at one λ."""
        ridge = self.moment.eigenvalues + self.sigma**2 + strength
        return self.centre + (self.gradient / ridge) @ self.moment.basis.T

    def errors(self, moment_NN: Float[Tensor, "N N"], strengths: Sequence[float] = STRENGTHS) -> Float[Tensor, "S"]:
        """Mean-square denoising error on videos with this second moment, averaged over all noise, at each λ.

        With g = 1/(e + σ² + λ), E‖W x − x0‖² is quadratic in g; its coefficients are computed once for all λ.
        """
        basis, centre, size = self.moment.basis, self.centre, len(moment_NN)
        noisy = moment_NN + self.sigma**2 * torch.eye(size, dtype=moment_NN.dtype)
        quadratic = (self.gradient.T @ self.gradient) * (basis.T @ noisy @ basis)
        linear = (self.gradient * ((centre @ noisy - moment_NN) @ basis)).sum(0)
        constant = ((centre @ noisy) * centre).sum() - 2 * (centre * moment_NN).sum() + moment_NN.trace()
        ridge_SN = self.moment.eigenvalues + self.sigma**2 + torch.tensor(strengths, dtype=basis.dtype)[:, None]
        g_SN = 1 / ridge_SN
        return (((g_SN @ quadratic) * g_SN).sum(1) + 2 * g_SN @ linear + constant) / size


class RidgeLearner:
    """Learns W from n videos, towards any centre and at any noise level; cross-validation over the videos chooses λ."""

    def __init__(self, videos_nN: Float[Tensor, "n N"]) -> None:
        fold = torch.arange(len(videos_nN)) % FOLDS
        self.folds = [(Moment.of(videos_nN[fold != f]), _moment(videos_nN[fold == f])) for f in range(FOLDS)]
        self.all = Moment.of(videos_nN)

    def fit(self, centre: Float[Tensor, "N N"], sigma: float) -> tuple[Float[Tensor, "N N"], float]:
        """W, and the λ that cross-validation chose."""
        errors = reduce(torch.add, (RidgePath(kept, centre, sigma).errors(left_out) for kept, left_out in self.folds))
        strength = STRENGTHS[int(errors.argmin())]
        return RidgePath(self.all, centre, sigma).solution(strength), strength


def _moment(videos_nN: Float[Tensor, "n N"]) -> Float[Tensor, "N N"]:
    """S of some videos."""
    return videos_nN.T @ videos_nN / len(videos_nN)
