"""Optimiser, learning-rate schedule and the moving average of the weights (EMA)."""

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Generic, TypeVar, overload

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from vidboot.config import OptimizationConfig
from vidboot.networks.precision import converted
from vidboot.training.muon import MuonAdamW

N = TypeVar("N", bound=nn.Module)
_TOGETHER = 64
"""Parameters averaged in one call, which holds float32 copies of them where they are rounded to bf16."""


class L2SPAdamW(MuonAdamW):
    """AdamW whose decoupled decay pulls weights to where they started, not to zero: θ ← θ − η · pull · (θ − θ_start).

    For a warm start this is the natural regulariser (L2-SP, Li et al. 2018, arXiv 1802.01483). `pull` 0 is plain AdamW.
    The optimiser's state holds θ_start, so it is sharded under ZeRO and restored on resume like Adam's moments. Groups
    with `muon=True` take Muon's steps, and are pulled too.
    """

    def __init__(
        self,
        params: Iterable[torch.Tensor] | Iterable[dict[str, Any]],
        lr: float,
        weight_decay: float = 0.0,
        pull: float = 0.0,
        fused: bool = True,
    ) -> None:
        super().__init__(params, lr=lr, betas=(0.9, 0.99), weight_decay=weight_decay, fused=fused)
        self.pull = pull

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step, with the loss if `closure` computes it; the first step stores the weights as the start."""
        if not self.pull:
            return super().step(closure)
        moving = [[p for p in group["params"] if p.grad is not None] for group in self.param_groups]
        fresh = {p: p.detach().clone() for some in moving for p in some if "start" not in self.state.get(p, {})}
        loss = super().step(closure)
        for group, some in zip(self.param_groups, moving, strict=True):
            starts = [self.state[p].setdefault("start", fresh.get(p)) for p in some]
            if some:
                torch._foreach_lerp_(some, starts, group["lr"] * self.pull)
        return loss


def learning_rate(step: int, optimization: OptimizationConfig) -> float:
    """The learning rate of step `step` (from 0): a linear warm-up, then a cosine down to zero."""
    warm = min(1.0, (step + 1) / max(1, optimization.warmup_steps))
    rest = max(0, step - optimization.warmup_steps) / max(1, optimization.steps - optimization.warmup_steps)
    return optimization.learning_rate * warm * (1 + math.cos(math.pi * min(1.0, rest))) / 2


class EMA(Generic[N]):
    """Exponential moving average of a network's weights, in float32: θ̄ ← d θ̄ + (1 − d) θ.

    d grows to `decay` over the first steps, so that the EMA forgets the weights before training. Build it before the
    engine, which may shard or round the network's own weights.
    """

    def __init__(self, network: N, decay: float) -> None:
        self.network: N = copy.deepcopy(network).float().eval().requires_grad_(False)
        self.decay = decay
        self.followed: nn.Module | None = None

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Move towards the weights of `network` after `step` steps. All processes call it: ZeRO-3 gathers weights."""
        if network is not self.followed:  # listing the parameters takes longer than the update itself
            self.followed, self.theirs = network, list(network.parameters())
            self.mine = list(self.network.parameters())
        move = get_ema_multi_avg_fn(min(self.decay, (1 + step) / (10 + step)))
        with _whole(self.theirs):
            for start in range(0, len(self.theirs), _TOGETHER):
                some = slice(start, start + _TOGETHER)
                move(self.mine[some], in_float32(self.theirs[some]), step)


def _whole(weights: Sequence[Tensor]) -> AbstractContextManager[Any]:
    """While it is open the weights are whole, in all processes: under ZeRO-3 each has a part of them."""
    if not hasattr(weights[0], "ds_id"):
        return nullcontext()
    from deepspeed.zero import GatheredParameters  # loaded before, by the engine

    gathered: AbstractContextManager[Any] = GatheredParameters(weights)
    return gathered


def in_float32(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The tensors in float32; copies where they aren't."""
    if all(t.dtype == torch.float32 for t in tensors):
        return [t.detach() for t in tensors]
    return converted(tensors, torch.float32)
