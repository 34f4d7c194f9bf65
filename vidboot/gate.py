"""The gate γ(σ): how far to trust the residual network at each noise level, fitted in closed form.

On full videos held out from the network, γ minimises ‖D_base + γ (D_θ − D_base) − x0‖² at each noise level:

    γ(σ) = Σ ⟨D_θ − D_base, x0 − D_base⟩ / Σ ‖D_θ − D_base‖²,     held within [0, 1]

0 = trust the views, 1 = trust the network. Between noise levels it is interpolated over ln σ.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Gate:
    """γ at the noise levels `sigmas` (rising); the end values hold beyond them."""

    sigmas: tuple[float, ...]
    values: tuple[float, ...]

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
    """Sums over held-out videos, from which the gate follows. Feed it with `add`, then ask for `gate`."""

    def __init__(self, sigmas: Sequence[float]) -> None:
        self.sigmas = tuple(sorted(sigmas))
        self.inner = dict.fromkeys(self.sigmas, 0.0)
        self.norm = dict.fromkeys(self.sigmas, 0.0)

    def add(self, sigma: float, base: Tensor, network: Tensor, x0: Tensor) -> None:
        """Account for one batch: predictions of base and network, and the truth, all B C T H W, at noise level σ."""
        step = (network - base).double()
        self.inner[sigma] += float((step * (x0 - base).double()).sum())
        self.norm[sigma] += float((step**2).sum())

    def gate(self) -> Gate:
        """The fitted gate; 0 where the network doesn't differ from the base."""
        values = [min(1.0, max(0.0, self.inner[s] / self.norm[s])) if self.norm[s] > 0 else 0.0 for s in self.sigmas]
        return Gate(self.sigmas, tuple(values))
