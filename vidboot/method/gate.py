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
    """Sums over held-out videos, from which the gate is computed: call `add` for each batch, then `gate`.

    `sums` holds for each noise level Σ a, Σ b, Σ a², Σ ab, Σ b² and the number of videos, where a video's
    a = ⟨D_θ − D_base, x0 − D_base⟩ and b = ‖D_θ − D_base‖². The sums of several processes may be added up.
    """

    def __init__(self, sigmas: Sequence[float]) -> None:
        self.sigmas = tuple(sorted(sigmas))
        self.sums: Float[Tensor, "S 6"] = torch.zeros(len(self.sigmas), 6, dtype=torch.float64)

    def add(self, sigma: float, base: Tensor, network: Tensor, x0: Tensor) -> None:
        """Add one batch at noise level σ: the predictions of base and network, and the clean videos, all B C T H W."""
        step = (network - base).double().flatten(1)
        a, b = (step * (x0 - base).double().flatten(1)).sum(1), (step**2).sum(1)
        terms = torch.stack([a, b, a * a, a * b, b * b, torch.ones_like(a)])
        self.sums[self.sigmas.index(sigma)] += terms.sum(1).cpu()

    def gate(self) -> Gate:
        """Σ a / Σ b less its standard error over the videos; 0 where the network doesn't differ from the base.

        From few videos γ is uncertain, and too large a γ raises the error on other videos: where videos disagree, the
        standard error lowers it.
        """
        a, b, aa, ab, bb, n = self.sums.unbind(1)
        ratio = torch.where(b > 0, a / b, 0.0)
        spread = (aa - 2 * ratio * ab + ratio**2 * bb).clamp(min=0)  # Σ (a − γ b)²
        error = torch.where((b > 0) & (n > 1), (spread * n / (n - 1)).sqrt() / b, 0.0)
        return Gate(self.sigmas, tuple((ratio - error).clamp(0, 1).tolist()))

    def gains(self, gate: Gate) -> dict[float, float]:
        """By how much the gated network lowers the squared error of the base, summed over videos: Σ 2γa − γ²b."""
        a, b = self.sums[:, 0], self.sums[:, 1]
        values = torch.tensor(gate.values, dtype=torch.float64)
        return dict(zip(self.sigmas, (2 * values * a - values**2 * b).tolist(), strict=True))
