"""Checkpoints of an unfinished stage: DeepSpeed's own files plus the moving average, complete or absent.

A checkpoint is written under a hidden name and renamed when all of it is on disk, so `step-*` is always whole.
"""

import re
import shutil
from pathlib import Path

import deepspeed
from safetensors.torch import load_file, save_file

from vidboot.errors import UserError
from vidboot.training.distributed import barrier, rank
from vidboot.training.optimizer import Average

AVERAGE_FILE = "average.safetensors"


def save_checkpoint(folder: Path, step: int, engine: deepspeed.DeepSpeedEngine, average: Average, keep: int) -> None:
    """Write the state after `step` steps into `folder`, then delete all but the last `keep`. All processes call it."""
    partial, final = f".partial-step-{step:07d}", folder / f"step-{step:07d}"
    if final.exists():
        return
    if rank() == 0:
        shutil.rmtree(folder / partial, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
    barrier()
    engine.save_checkpoint(str(folder), tag=partial, client_state={"step": step}, save_latest=False)
    if rank() == 0:
        save_file(average.network.state_dict(), folder / partial / AVERAGE_FILE)
    barrier()
    if rank() == 0:
        (folder / partial).rename(final)
        for old in checkpoint_steps(folder)[:-keep]:
            shutil.rmtree(folder / f"step-{old:07d}")
    barrier()


def checkpoint_steps(folder: Path) -> list[int]:
    """Steps of the complete checkpoints in `folder`, ascending."""
    names = (re.fullmatch(r"step-(\d+)", path.name) for path in folder.glob("step-*"))
    return sorted(int(match[1]) for match in names if match)


def load_last_checkpoint(folder: Path, engine: deepspeed.DeepSpeedEngine, average: Average) -> int:
    """Restore the last checkpoint in `folder` and return its step, or 0 if there is none.

    Raises `UserError` if it can't be read.
    """
    steps = checkpoint_steps(folder)
    if not steps:
        return 0
    tag = f"step-{steps[-1]:07d}"
    try:
        _, state = engine.load_checkpoint(str(folder), tag=tag)
        average.network.load_state_dict(load_file(folder / tag / AVERAGE_FILE))
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"{folder / tag} can't be read ({error}); delete that folder to go on without it") from None
    return int(state["step"])
