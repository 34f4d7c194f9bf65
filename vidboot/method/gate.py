"""The gate γ(σ): how far to trust the residual network at each noise level, fitted in closed form.

On full videos held out from the network, γ minimises ‖D_base + γ (D_θ − D_base) − x0‖² at each noise level:

    γ(σ) = Σ ⟨D_θ − D_base, x0 − D_base⟩ / Σ ‖D_θ − D_base‖²,     less one standard error, held within [0, 1]

0 = trust the views, 1 = trust the network. Between noise levels it is interpolated over ln σ.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Gate:
    """γ at the noise levels `sigmas` (rising), constant beyond. Raises `ValueError` unless each γ is in [0, 1]."""

    sigmas: tuple[float, ...]
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        rising = self.sigmas and self.sigmas[0] > 0 and list(self.sigmas) == sorted(set(self.sigmas))
        if not rising or len(self.values) != len(self.sigmas) or not all(0 <= v <= 1 for v in self.values):
            raise ValueError("a gate needs rising noise levels and for each a value from 0 to 1")

    def __str__(self) -> str:
        return "  ".join(f"{sigma:g}: {value:.2f}" for sigma, value in zip(self.sigmas, self.values, strict=True))

    def __call__(self, sigma: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
        """γ(σ) for each item."""
        knots = torch.tensor(self.sigmas, device=sigma.device, dtype=torch.float64).log()
        values = torch.tensor(self.values, device=sigma.device, dtype=torch.float64)
        at = sigma.to(torch.float64).log()
        right = torch.searchsorted(knots, at).clamp(1, len(knots) - 1) if len(knots) > 1 else None
        if right is None:
            return values.expand(sigma.shape).to(sigma.dtype)
        share = ((at - knots[right - 1]) / (knots[right] - knots[right - 1])).clamp(0, 1)
        return torch.lerp(values[right - 1], values[right], share).to(sigma.dtype)


OPEN = Gate((1.0,), (1.0,))
"""Trust the network alone, at every noise level."""


class GateFit:
    """What the gate follows from: of each held-out video, at each noise level, how its error depends on γ.

        ‖D − x0‖² = e − 2γ a + γ² b        a = ⟨D_θ − D_base, x0 − D_base⟩,   b = ‖D_θ − D_base‖²,   e = ‖D_base − x0‖²

    `terms` holds a, b and e, as means over a video's values. Call `add` for each video and noise level; the terms of
    several processes, each with some of the videos, may be added up.
    """

    def __init__(self, sigmas: Sequence[float], num_videos: int) -> None:
        self.sigmas = tuple(sorted(sigmas))
        self.terms: Float[Tensor, "S N 3"] = torch.zeros(len(self.sigmas), num_videos, 3, dtype=torch.float64)

    def add(self, number: int, sigma: float, base: Tensor, network: Tensor, x0: Tensor) -> None:
        """Add video `number` at noise level σ: the predictions of base and network, and the truth, all 1 C T H W."""
        step, error = (network - base).double().flatten(), (x0 - base).double().flatten()
        terms = torch.stack([step @ error, step @ step, error @ error]) / len(step)
        self.terms[self.sigmas.index(sigma), number] = terms.cpu()

    def gate(self) -> Gate:
        """Σ a / Σ b less its standard error over the videos; 0 where the network doesn't differ from the base.

        From few videos γ is uncertain, and too large a γ raises the error on other videos: where videos disagree, the
        standard error lowers it.
        """
        return Gate(self.sigmas, tuple(_gammas(self.terms).tolist()))

    def errors(self, gammas: Float[Tensor, "S"]) -> Float[Tensor, "S N"]:
        """Mean square error of each video at each noise level, for one γ at each."""
        a, b, e = self.terms.unbind(-1)
        return e - 2 * gammas[:, None] * a + gammas[:, None] ** 2 * b

    def cross_fitted(self) -> Float[Tensor, "S N"]:
        """The same, for each video with the gate that the other videos give: no video judges a gate fitted to itself.

        A single video has no others; then it is its own gate's.
        """
        count = self.terms.shape[1]
        if count < 2:
            return self.errors(_gammas(self.terms))
        others = [torch.arange(count) != n for n in range(count)]
        apart = [self.errors(_gammas(self.terms[:, kept]))[:, n] for n, kept in enumerate(others)]
        return torch.stack(apart, dim=1)


def _gammas(terms_SN3: Float[Tensor, "S N 3"]) -> Float[Tensor, "S"]:
    """γ at each noise level, from the terms of some videos."""
    a, b, _ = terms_SN3.unbind(-1)
    total, n = b.sum(1), b.shape[1]
    ratio = torch.where(total > 0, a.sum(1) / total, 0.0)
    spread = ((a - ratio[:, None] * b) ** 2).sum(1)
    error = torch.where(total > 0, (spread * n / max(1, n - 1)).sqrt() / total, 0.0) if n > 1 else 0.0
    return (ratio - error).clamp(0, 1)
