"""DeepSpeed's engine, which shares training among processes (ZeRO): import it only where it is used."""

import os
from typing import Any

import torch

if not torch.cuda.is_available():
    # Before DeepSpeed is imported: without it DeepSpeed searches for an accelerator and warns that there is none.
    os.environ.setdefault("DS_ACCELERATOR", "cpu")

import deepspeed
from deepspeed.utils import logger
from torch import nn

from vidboot.config import OptimizationConfig
from vidboot.training.engine_types import StoredEngine


def sharded(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    optimization: OptimizationConfig,
    share: int,
    more: dict[str, Any],
) -> StoredEngine:
    """An engine for `share` videos a process and step; `more` is handed over to DeepSpeed as it is."""
    logger.setLevel("WARNING")
    # Otherwise the first engine on a CPU compiles a shared-memory operator, which takes a minute and needs a compiler.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed("nccl" if torch.cuda.is_available() else "gloo", auto_mpi_discovery=False)
    config = {
        "train_batch_size": optimization.batch_size,
        # `TrainStep` says where a step ends, because its micro-batches depend on the number of frames.
        "train_micro_batch_size_per_gpu": share,
        "gradient_clipping": optimization.gradient_clipping,
        "zero_allow_untested_optimizer": True,  # a subclass of AdamW, elementwise like it
        "steps_per_print": 10**9,
    }
    engine: StoredEngine = deepspeed.initialize(model=module, optimizer=optimizer, config=config | more)[0]
    return engine
