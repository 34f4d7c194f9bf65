"""One optimiser step, which skips a loss or gradient that is not finite."""

from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor

from vidboot.distributed import device, sum_over_ranks, world_size
from vidboot.errors import UserError
from vidboot.training.batch import Batch
from vidboot.training.engine_types import Engine
from vidboot.training.network_training import NetworkTraining


def gradients(engine: Engine) -> list[Tensor]:
    """The step's gradients that this process holds, between the last backward pass and the engine's step.

    They are averaged over processes by then; under ZeRO they are this process's partition. Raises `RuntimeError` if
    there are none: another version of DeepSpeed keeps them elsewhere, and values that are not finite would pass.
    """
    partitions = getattr(engine.optimizer, "averaged_gradients", None)
    if partitions is None:
        found = [p.grad for p in engine.module.parameters() if p.grad is not None]
    else:
        found = [gradient for group in partitions.values() for gradient in group or ()]
    if not found:
        raise RuntimeError(
            "this version of DeepSpeed shows no gradients before its step; install deepspeed>=0.19.8,<0.20"
        )
    return found


class TrainStep:
    """Optimiser steps of a training on an engine. Without ZeRO it clips the gradients itself, all in a few kernels.

    If a loss or gradient is not finite on any process, all of them skip the step: its gradient is set to zero, so that
    nothing spreads into the optimiser's state, and the learning rate is zero. After `max_bad_steps` skipped steps in a
    row training stops with `UserError`.
    """

    def __init__(self, engine: Engine, training: NetworkTraining) -> None:
        self.engine, self.training = engine, training
        self.bad_in_a_row = self.skipped = 0
        self.clips = not hasattr(engine.optimizer, "averaged_gradients")
        self.gradient_norm: float | None = None
        """Norm of the last gradient, before it was clipped; None under ZeRO, where DeepSpeed has it."""

    def __call__(self, step: int, micro_batches: list[Batch], rate: float, stop: bool) -> tuple[float, bool]:
        """Take step number `step` (from 1) on this process's micro-batches; all processes call it.

        Returns the mean loss of the global batch, and whether `stop` was true in any process. The host waits for the
        device once, before the engine's step.
        """
        self.engine.train()
        loss = torch.zeros((), dtype=torch.float64, device=device())
        for number, batch in enumerate(micro_batches, 1):
            self.engine.set_gradient_accumulation_boundary(number == len(micro_batches))
            mean = self.training.loss(self.engine, batch).mean() / len(micro_batches)
            self.engine.backward(mean)
            loss += mean.detach().double()
            if number == len(micro_batches):
                totals = self._agree(loss, stop)
                self._set_rate(0.0 if totals[1] else rate)
            self.engine.step()
        self.gradient_norm = totals[3] if self.clips else None
        self._count(step, bool(totals[1]), micro_batches)
        return totals[0], bool(totals[2])

    @torch.no_grad()
    def _agree(self, loss: Float[Tensor, ""], stop: bool) -> list[float]:
        """Over all processes: mean loss, how many have a value that is not finite, how many are to stop, mean norm.

        The norm is that of the gradients that each process holds, clipped here without ZeRO. If a value is not
        finite, all gradients are set to zero.
        """
        found = gradients(self.engine)
        # The norm is finite only if all values are, and takes a few kernels for all gradients together.
        norm = torch.nn.utils.get_total_norm(found)
        if self.clips:
            torch._foreach_mul_(found, (self.training.optimization.gradient_clipping / (norm + 1e-6)).clamp(max=1.0))
        bad = ~(loss.isfinite() & norm.isfinite())
        share = 1 / world_size()
        local = torch.stack([loss * share, bad.to(loss), torch.full_like(loss, float(stop)), norm.to(loss) * share])
        totals = sum_over_ranks(local).tolist()
        if totals[1]:
            torch._foreach_zero_(found)
        return totals

    def _set_rate(self, rate: float) -> None:
        """Set the learning rate of all parameters."""
        for group in self.engine.optimizer.param_groups:
            group["lr"] = rate

    def _count(self, step: int, bad: bool, micro_batches: list[Batch]) -> None:
        """Count skipped steps; raises `UserError` after too many in a row."""
        self.skipped += bad
        self.bad_in_a_row = self.bad_in_a_row + 1 if bad else 0
        if self.bad_in_a_row < self.training.optimization.max_bad_steps:
            return
        involved = [(b.sigma.tolist(), b.shots) for b in micro_batches]
        everywhere: list[Any] = [None] * world_size()
        dist.all_gather_object(everywhere, involved)
        levels = [f"{s:.3g}" for of_rank in everywhere for sigmas, _ in of_rank for s in sigmas]
        files = sorted({shot for of_rank in everywhere for _, shots in of_rank for shot in shots})
        raise UserError(
            f"{self.training.name} stopped at step {step}: {self.bad_in_a_row} steps in a row had a loss or gradient "
            f"that is not finite. Noise levels of the last: {', '.join(levels)}; files: {', '.join(files)}. Delete "
            "the stage's folder and train it anew with a lower learning rate, or with deepspeed.precision=fp32 (and "
            f"--stage {self.training.name}, where other stages are finished)"
        )
