"""The log of a stage: lines on the console, JSON lines and TensorBoard events."""

import json
import logging
import resource
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch

from vidboot.data.files import write_atomic
from vidboot.distributed import rank

logger = logging.getLogger("vidboot")
METRICS_FILE = "metrics.jsonl"


def set_up_logging() -> None:
    """Log to the console, from the first process only."""
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
        logger.addHandler(handler)
    logger.setLevel(logging.INFO if rank() == 0 else logging.ERROR)


class StageLog:
    """Metrics of one stage. Resuming at a step drops the lines that an interrupted run had written after it."""

    def __init__(self, folder: Path, name: str, steps: int, resumed_at: int) -> None:
        self.folder, self.name, self.steps = folder, name, steps
        self.clock, self.clock_step = time.perf_counter(), resumed_at
        if rank() == 0:
            folder.mkdir(parents=True, exist_ok=True)
            self._drop_after(resumed_at)
        self._first = resumed_at + 1
        self._events: Any = None

    def _drop_after(self, step: int) -> None:
        path = self.folder / METRICS_FILE
        if path.exists():
            lines = [line for line in path.read_text().splitlines() if _step(line) <= step]
            write_atomic(path, "".join(line + "\n" for line in lines).encode())

    def write(self, step: int, metrics: dict[str, float]) -> None:
        """Record metrics after `step` steps."""
        if rank() == 0:
            with (self.folder / METRICS_FILE).open("a") as lines:
                lines.write(json.dumps({"step": step, **metrics}) + "\n")
            for key, value in metrics.items():
                self._tensorboard().add_scalar(key, value, step)

    def _tensorboard(self) -> Any:
        """The writer of TensorBoard's events, from the first that is written on."""
        if self._events is None:
            # Imported here: a process that writes none starts faster without.
            from torch.utils.tensorboard import SummaryWriter

            self._events = SummaryWriter(str(self.folder / "tensorboard"), purge_step=self._first)
        return self._events

    def progress(self, step: int, videos: int, frames: int, metrics: dict[str, float]) -> None:
        """Record training metrics and the throughput since the last call; print them with the time left."""
        seconds = time.perf_counter() - self.clock
        done = step - self.clock_step
        self.clock, self.clock_step = time.perf_counter(), step
        speed = {"videos_per_second": videos / seconds, "frames_per_second": frames / seconds, "memory_gb": memory_gb()}
        self.write(step, metrics | speed)
        left = timedelta(seconds=round((self.steps - step) * seconds / max(1, done)))
        logger.info(
            "%s %d/%d  loss %.4f  %.1f videos/s  %.0f frames/s  %.1f GB  %s left",
            self.name,
            step,
            self.steps,
            metrics["loss"],
            speed["videos_per_second"],
            speed["frames_per_second"],
            speed["memory_gb"],
            left,
        )

    def close(self) -> None:
        """Flush the files."""
        if self._events is not None:
            self._events.close()


def _step(line: str) -> int | float:
    """A line's step; infinite for a line that was half written when the run was killed, so that it is dropped."""
    try:
        return json.loads(line)["step"]
    except ValueError:
        return float("inf")


def memory_gb() -> float:
    """Peak memory of this process in GB: on the GPU if there is one, else its resident memory."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
