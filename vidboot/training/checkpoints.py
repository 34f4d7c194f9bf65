"""Checkpoints of an unfinished stage: the engine's own files and the EMA.

A checkpoint is written under a hidden name, read back, and renamed only if all of it is right. So every `step-*` folder
is complete.
"""

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from vidboot.config import RunConfig
from vidboot.distributed import barrier, rank, world_size
from vidboot.errors import UserError
from vidboot.training.engine import zero_stage
from vidboot.training.engine_types import StoredEngine
from vidboot.training.optimizer import EMA

EMA_FILE = "ema.safetensors"
UNIVERSAL = ".universal"


def checkpoint_steps(folder: Path) -> list[int]:
    """Steps of the complete checkpoints in `folder`, ascending."""
    names = (re.fullmatch(r"step-(\d+)", path.name) for path in folder.glob("step-*"))
    return sorted(int(match[1]) for match in names if match)


class Checkpoints:
    """The checkpoints in one folder, of which the last `keep` are kept. All processes call `save` and `load_last`."""

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder, self.keep = folder, keep

    def save(self, step: int, engine: StoredEngine, ema: EMA) -> None:
        """Write the state after `step` steps. Raises `OSError` if what was written can't be read back."""
        partial, final = self.folder / ".partial", self.folder / f"step-{step:07d}"
        if final.exists():
            return
        if rank() == 0:
            shutil.rmtree(partial, ignore_errors=True)
            self.folder.mkdir(parents=True, exist_ok=True)
        barrier()
        engine.save_checkpoint(str(self.folder), tag=partial.name, client_state={"step": step}, save_latest=False)
        barrier()
        if rank() == 0:
            save_file(ema.network.state_dict(), partial / EMA_FILE, _metadata(engine))
            _read_back(partial, ema)
            partial.rename(final)
            for old in checkpoint_steps(self.folder)[: -self.keep]:
                shutil.rmtree(self.folder / f"step-{old:07d}")
        barrier()

    def last(self) -> Path | None:
        """The last complete checkpoint."""
        steps = checkpoint_steps(self.folder)
        return self.folder / f"step-{steps[-1]:07d}" if steps else None

    def from_other_world(self, config: RunConfig) -> bool:
        """Whether the last checkpoint is sharded over another number of processes: loading converts it then."""
        last = self.last()
        if last is None or zero_stage(config.deepspeed) == 0:
            return False
        return int(_stored_metadata(last)["processes"]) != world_size()

    def load_last(self, engine: StoredEngine, ema: EMA) -> int:
        """Restore the last checkpoint and return its step, or 0 if there is none.

        Raises `UserError` if it can't be read, or is of another precision.
        """
        last = self.last()
        if last is None:
            return 0
        tag = last.name
        self._check_precision(last, engine)
        if engine.load_universal_checkpoint():
            tag = UNIVERSAL
            if rank() == 0:
                _convert(last, self.folder / UNIVERSAL)
            barrier()
        try:
            _, state = engine.load_checkpoint(str(self.folder), tag=tag)
            ema.network.load_state_dict(load_file(last / EMA_FILE))
        except (OSError, RuntimeError, ValueError, KeyError, SafetensorError) as error:
            raise _unreadable(last, error) from None
        return int(state["step"])

    def _check_precision(self, last: Path, engine: StoredEngine) -> None:
        # None: older checkpoints don't record it.
        before, now = _stored_metadata(last).get("precision"), _metadata(engine)["precision"]
        if before not in (None, now):
            raise UserError(
                f"{last} is of training in {before}, and can't go on in {now}: set deepspeed.precision={before} on a "
                f"device that has it, or delete {self.folder.parent} to train the stage anew"
            )


def _metadata(engine: StoredEngine) -> dict[str, str]:
    """What is read from a checkpoint before it is loaded."""
    return {"processes": str(world_size()), "precision": "bf16" if engine.bfloat16_enabled() else "fp32"}


def _stored_metadata(checkpoint: Path) -> dict[str, str]:
    try:
        with safe_open(checkpoint / EMA_FILE, framework="pt") as stored:
            return stored.metadata()
    except (OSError, SafetensorError) as error:
        raise _unreadable(checkpoint, error) from None


def _unreadable(checkpoint: Path, error: Exception) -> UserError:
    return UserError(f"{checkpoint} can't be read ({error}); delete that folder to go on without it")


def _read_back(folder: Path, ema: EMA) -> None:
    """Read every file back: archives are checked by their checksums, the EMA value by value."""
    for path in folder.glob("*.pt"):
        with zipfile.ZipFile(path) as archive:
            if (damaged := archive.testzip()) is not None:
                raise OSError(f"{path} was not written correctly (in {damaged})")
    stored = load_file(folder / EMA_FILE)
    for name, tensor in ema.network.state_dict().items():
        if not torch.equal(stored[name], tensor.cpu()):
            raise OSError(f"{folder / EMA_FILE} was not written correctly (in {name})")


def _convert(checkpoint: Path, universal: Path) -> None:
    """Convert sharded state for any number of processes, by DeepSpeed's own program."""
    shutil.rmtree(universal, ignore_errors=True)
    command = [sys.executable, "-m", "deepspeed.checkpoint.ds_to_universal", "--inject_missing_state"]
    done = subprocess.run(
        [*command, "--input_folder", str(checkpoint), "--output_folder", str(universal)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise UserError(f"{checkpoint} can't be converted for {world_size()} processes:\n{done.stderr[-2000:]}")
