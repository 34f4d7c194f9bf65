"""Muon: the step of a weight matrix is the nearest orthogonal matrix to its averaged gradient.

For a weight matrix W with the gradient G, per step:

    M ← β M + (1 − β) G,     W ← W − η · 0.2 √max(rows, columns) · O(β M + (1 − β) G)

O(U S Vᵀ) = U Vᵀ, by a Newton–Schulz iteration. So all directions of W move equally far, where a gradient is far larger
in a few of them. Source: Jordan et al. 2024 (kellerjordan.github.io/posts/muon). The factor makes a step as large as
one of AdamW, so that learning rates are the same: Liu et al. 2025, arXiv 2502.16982.
"""

import math
from collections import defaultdict
from collections.abc import Callable
from inspect import unwrap
from typing import Any, overload

import torch
from jaxtyping import Float
from torch import Tensor, nn

MOMENTUM = 0.9
"""β, that of AdamW here."""
SMALLEST = 16
"""Rows and columns that a matrix has at least: smaller ones, as the last convolution's, have few directions."""


def matrices_of(network: nn.Module) -> list[Tensor]:
    """The weights of convolutions and linear layers, as far as they have `SMALLEST` rows and columns."""
    layers = [m for m in network.modules() if isinstance(m, nn.Linear | nn.Conv2d | nn.Conv3d)]
    return [m.weight for m in layers if min(_as_matrix(m.weight).shape) >= SMALLEST]


def orthogonal(matrices: Float[Tensor, "K rows columns"], steps: int = 5) -> Float[Tensor, "K rows columns"]:
    """U Vᵀ of each matrix U S Vᵀ, roughly: after 5 steps singular values are between about 0.7 and 1.2."""
    wide = matrices.shape[1] <= matrices.shape[2]
    x = matrices if wide else matrices.mT
    x = x / x.flatten(1).norm(dim=1).clamp(min=1e-30)[:, None, None]
    # Each iteration is a polynomial p of a = x xᵀ, times x. So all of them are small square matrices, but the last one.
    a = x @ x.mT
    one = p = torch.eye(a.shape[1], device=a.device, dtype=a.dtype)
    for _ in range(steps):
        q = 3.4445 * one - 4.7750 * a + 2.0315 * a @ a
        p, a = q @ p, q @ a @ q
    x = p @ x
    return x if wide else x.mT


class MuonAdamW(torch.optim.AdamW):
    """AdamW, whose groups with `muon=True` take the steps of Muon instead."""

    # Torch keeps its compiler away from these, and loads it for that: seconds of each start. They aren't compiled here.
    add_param_group, zero_grad, state_dict, load_state_dict, _adamw_step = (
        unwrap(getattr(torch.optim.AdamW, name))
        for name in ("add_param_group", "zero_grad", "state_dict", "load_state_dict", "step")
    )

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        for group in self.param_groups:
            group.setdefault("muon", False)

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step of all groups, with the loss if `closure` computes it."""
        groups = self.param_groups
        self.param_groups = [group for group in groups if not group["muon"]]
        try:
            loss: float | None = self._adamw_step(closure)
        finally:
            self.param_groups = groups
        for group in groups:
            if group["muon"]:
                self._muon(group)
        return loss

    def _muon(self, group: dict[str, Any]) -> None:
        """Matrices of the same shape together: on a GPU a few kernels for all of them."""
        by_shape: dict[torch.Size, list[Tensor]] = defaultdict(list)
        for weight in group["params"]:
            if weight.grad is not None:
                by_shape[_as_matrix(weight).shape].append(weight)
        for (rows, columns), weights in by_shape.items():
            gradients = [gradient for weight in weights if (gradient := weight.grad) is not None]
            averages = [self._average(weight) for weight in weights]
            torch._foreach_lerp_(averages, gradients, 1 - MOMENTUM)
            ahead = torch._foreach_lerp(gradients, averages, MOMENTUM)
            moves = orthogonal(torch.stack([_as_matrix(a) for a in ahead]))
            rate = group["lr"] * 0.2 * math.sqrt(max(rows, columns))
            if group["weight_decay"]:
                torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
            torch._foreach_add_(weights, [m.view_as(w) for m, w in zip(moves, weights, strict=True)], alpha=-rate)

    def _average(self, weight: Tensor) -> Tensor:
        """M of a weight. Beside it is a count of steps, without which AdamW refuses to load the state."""
        state = self.state[weight]
        if "average" not in state:
            state["average"], state["step"] = torch.zeros_like(weight), torch.zeros(())
        average: Tensor = state["average"]
        return average


def _as_matrix(weight: Tensor) -> Float[Tensor, "rows columns"]:
    """A row for each output channel."""
    return weight.flatten(1)
