"""A network and its optimiser on an engine: DeepSpeed's under ZeRO, else a `Replica`."""

import logging
from typing import Any

from torch import nn

from vidboot.config import DeepSpeedConfig, OptimizationConfig
from vidboot.distributed import has_bf16, world_size
from vidboot.errors import UserError
from vidboot.method.edm import Preconditioned
from vidboot.training.computing import ComputedNetwork
from vidboot.training.engine_types import StoredEngine
from vidboot.training.muon import matrices_of
from vidboot.training.optimizer import L2SPAdamW
from vidboot.training.replica import Replica

logger = logging.getLogger(__name__)


def batch_per_process(optimization: OptimizationConfig) -> tuple[int, int]:
    """Videos per step in one process, and how many of them are in memory at once.

    Raises `UserError` if these don't divide the batch size evenly.
    """
    share, rest = divmod(optimization.batch_size, world_size())
    if rest:
        raise UserError(f"batch_size {optimization.batch_size} can't be shared by {world_size()} processes")
    micro = optimization.micro_batch_size or share
    if share % micro:
        raise UserError(f"micro_batch_size {micro} does not divide the {share} videos that each process has per step")
    return share, micro


def micro_batch(optimization: OptimizationConfig, own: int, num_frames: int) -> int:
    """How many videos of `num_frames` frames a process has in memory at once.

    `micro_batch_size` counts videos of `own` frames: of shorter ones there are more, of longer ones fewer. It divides
    the videos that the process has per step.
    """
    share, micro = batch_per_process(optimization)
    if optimization.micro_batch_size is None:
        return share
    most = max(1, min(share, micro * own // num_frames))
    return next(count for count in range(most, 0, -1) if share % count == 0)


def zero_stage(settings: DeepSpeedConfig) -> int:
    """DeepSpeed's ZeRO stage (arXiv 1910.02054): the higher, the more of the training the processes share."""
    return int(str(settings.zero_optimization.get("stage", 0)))


def parameter_groups(network: nn.Module, optimization: OptimizationConfig) -> list[dict[str, Any]]:
    """The network's parameters for the optimiser: with Muon, matrices are a group of their own."""
    if optimization.optimizer == "adamw":
        return [{"params": list(network.parameters())}]
    matrices = matrices_of(network)
    chosen = {id(matrix) for matrix in matrices}
    others = [p for p in network.parameters() if id(p) not in chosen]
    return [{"params": others}, {"params": matrices, "muon": True}]


def make_engine(
    network: Preconditioned,
    optimization: OptimizationConfig,
    settings: DeepSpeedConfig,
    pull: float = 0.0,
    load_universal: bool = False,
) -> StoredEngine:
    """Put `network` on an engine, which averages gradients over processes.

    The engine trains the float32 weights of a `ComputedNetwork`; under ZeRO-3, which has no whole weights to round,
    DeepSpeed computes in bf16 itself. At stage 0 gradients are clipped by `TrainStep`. With `load_universal` the
    checkpoint to be loaded is one that was converted from another number of processes. Raises `UserError` as
    `batch_per_process`.
    """
    share, _ = batch_per_process(optimization)
    bf16 = settings.precision == "bf16" and has_bf16()
    if settings.precision == "bf16" and not bf16:
        logger.info("this device has no bf16: training in fp32")
    stage = zero_stage(settings)
    module = network if stage == 3 else ComputedNetwork(network, bf16)
    optimizer = L2SPAdamW(
        parameter_groups(module, optimization),
        lr=optimization.learning_rate,
        weight_decay=optimization.weight_decay,
        pull=pull,
        # In a converted checkpoint DeepSpeed puts the step counts on the CPU, where the fused kernel can't read them.
        fused=not load_universal,
    )
    if stage == 0:
        return Replica(module, optimizer)
    # Imported here, because loading it takes long.
    from vidboot.training.sharded import sharded

    more = {
        "zero_optimization": dict(settings.zero_optimization),
        "bf16": {"enabled": bf16 and stage == 3},
        "checkpoint": {"load_universal": load_universal},
    }
    return sharded(module, optimizer, optimization, share, more)
