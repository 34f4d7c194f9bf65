"""Processes and devices: one process under plain `python`, or those that the `deepspeed` launcher starts."""

import os
from typing import Any

import torch
import torch.distributed as dist


def init_distributed() -> None:
    """Join the launcher's process group, or make one of this process alone."""
    # A job script may export MASTER_ADDR for a single process too, which then has no number.
    backend, alone = "nccl" if torch.cuda.is_available() else "gloo", not {"MASTER_ADDR", "RANK"} <= os.environ.keys()
    if alone:
        os.environ.update(RANK="0", WORLD_SIZE="1", LOCAL_RANK="0")
    if "OMP_NUM_THREADS" not in os.environ and not torch.cuda.is_available():
        # The processes share the cores: with more threads than cores, torch's threads wait for each other.
        # DeepSpeed's launcher sets the first, torchrun the second.
        names = ("LOCAL_SIZE", "LOCAL_WORLD_SIZE", "WORLD_SIZE")
        local_processes = next(int(os.environ[name]) for name in names if name in os.environ)
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // local_processes))
    if dist.is_initialized():
        return
    if alone:
        # A store in memory needs no port: another program may have taken one that was free a moment ago.
        dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)
    else:
        device()  # chosen first: nccl would guess it
        dist.init_process_group(backend)


def rank() -> int:
    """Number of this process; process 0 writes the files."""
    return dist.get_rank() if dist.is_initialized() else int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_initialized() else int(os.environ.get("WORLD_SIZE", "1"))


def device() -> torch.device:
    """The device of this process."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cuda", torch.cuda.current_device())


def has_bf16() -> bool:
    """Whether the device has hardware for bf16: on a CPU without it, bf16 is 15 to 95 times slower than fp32."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()
    return torch.ops.mkldnn._is_mkldnn_bf16_supported()


def sum_over_ranks(values: torch.Tensor) -> torch.Tensor:
    """Sum of `values` over all processes, in place."""
    if dist.is_initialized():
        dist.all_reduce(values)
    return values


def gather_over_ranks(value: Any) -> list[Any]:
    """Every process's `value`, in the order of their numbers; it must be picklable."""
    values: list[Any] = [value] * world_size()
    if dist.is_initialized():
        dist.all_gather_object(values, value)
    return values


def share_of(count: int) -> range:
    """Which of `count` pieces of work this process does."""
    return range(rank(), count, world_size())


def barrier() -> None:
    """Wait for all processes."""
    if dist.is_initialized():
        dist.barrier()
