"""What a process of a training knows of how it was started: its number, and whether its launcher is there."""

import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

from vidboot.errors import UserError

# Seconds between two looks at whether the launcher is still there.
_LOOK_EVERY = 1.0


def set_rank_under_slurm() -> None:
    """Take the process's number from SLURM if `srun` started several, for which torch has other variables.

    Raises `UserError` if `srun` did and MASTER_ADDR or MASTER_PORT is missing: each process would train alone.
    """
    given = os.environ
    if "RANK" in given or int(given.get("SLURM_STEP_NUM_TASKS", "1")) < 2:
        return
    if not {"MASTER_ADDR", "MASTER_PORT"} <= given.keys():
        raise UserError(
            f"srun has started {given['SLURM_STEP_NUM_TASKS']} processes that don't know of each other: before srun, "
            'export MASTER_ADDR="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)" MASTER_PORT=29500'
        )
    given.update(RANK=given["SLURM_PROCID"], WORLD_SIZE=given["SLURM_STEP_NUM_TASKS"])
    # With --gpus-per-task=1 SLURM shows each process only its own GPU, which is number 0 there.
    shown = given.get("CUDA_VISIBLE_DEVICES", "")
    given.update(LOCAL_RANK="0" if shown and "," not in shown else given.get("SLURM_LOCALID", "0"))


def end_with_launcher() -> None:
    """Send this process a SIGTERM, so that it saves its state and ends, when DeepSpeed's launcher is gone.

    A SIGTERM to `deepspeed` alone ends only that program, not the one that it has started, whose children train.
    """
    chain = _ancestors(os.getpid())
    if chain and any("deepspeed" in _command(pid) for pid in chain):
        threading.Thread(target=_watch, args=(chain,), daemon=True).start()


def _watch(chain: list[int]) -> None:
    while _ancestors(os.getpid()) == chain:
        time.sleep(_LOOK_EVERY)
    os.kill(os.getpid(), signal.SIGTERM)


def _ancestors(pid: int) -> list[int]:
    """The parent and its parent; none where the system does not tell."""
    chain: list[int] = []
    with suppress(OSError, ValueError, IndexError):
        for _ in range(2):
            # The second field, the name, is in brackets and may hold spaces.
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            chain.append(pid)
    return chain


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except OSError:
        return ""
