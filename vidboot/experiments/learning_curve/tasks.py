"""Tasks whose results are files, named by settings: any of several processes does each once, even if some stop."""

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from vidboot.data.files import write_atomic

logger = logging.getLogger(__name__)
POLL_SECONDS = 1.0


def keyed_name(name: str, settings: Mapping[str, Any], weights: Mapping[str, str]) -> str:
    """The name, with a hash of all that a result depends on: its settings, and the weights that it uses."""
    identity = {"settings": settings, **weights}
    return f"{name}-{hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]}"


@dataclass(frozen=True)
class Task:
    """A piece of work: `run(work)` gets an empty folder and returns the result as plain values for JSON.

    The result depends on the `settings`, and on the `weights` in the results of the tasks that it `needs`.
    """

    name: str
    settings: dict[str, Any]
    run: Callable[[Path], dict[str, Any]]
    needs: "tuple[Task, ...]" = ()
    check: Callable[[dict[str, Any]], None] = lambda result: None
    """Raises `UserError` if the task's files don't fit its result; called before another task uses them."""

    def path(self, folder: Path) -> Path | None:
        """Where the result is or will be; None as long as a result that it needs is missing."""
        weights: dict[str, str] = {}
        for task in self.needs:
            found = task.result(folder)
            if found is None:
                return None
            weights[task.name] = found["weights"]
        return folder / f"{keyed_name(self.name, self.settings, weights)}.json"

    def result(self, folder: Path) -> dict[str, Any] | None:
        """The stored result; None if there is none."""
        path = self.path(folder)
        return None if path is None or not path.exists() else json.loads(path.read_text())


def run_tasks(tasks: Sequence[Task], folder: Path) -> None:
    """Do the tasks that have no result, in this order where possible; wait for those that another process is doing."""
    folder.mkdir(parents=True, exist_ok=True)
    while missing := [task for task in tasks if task.result(folder) is None]:
        if not any(_claim_and_run(task, folder, len(tasks) - len(missing) + 1, len(tasks)) for task in missing):
            time.sleep(POLL_SECONDS)


def _claim_and_run(task: Task, folder: Path, number: int, total: int) -> bool:
    """Do the task, unless a result that it needs is missing or another process is doing it; true if it is done.

    A process that dies loses its lock on the task.
    """
    path = task.path(folder)
    if path is None:
        return False
    (folder / "locks").mkdir(exist_ok=True)
    try:
        with FileLock(folder / "locks" / f"{path.stem}.lock", blocking=False):
            if path.exists():
                return True
            for needed in task.needs:
                if (found := needed.result(folder)) is not None:
                    needed.check(found)
            logger.info("%d/%d  %s", number, total, task.name)
            work, start = folder / "work" / path.stem, time.monotonic()
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir(parents=True)
            result = task.run(work) | {"task": task.name, "seconds": round(time.monotonic() - start, 1)}
            write_atomic(path, json.dumps(result, indent=1).encode())
            shutil.rmtree(work)
            logger.info("%d/%d  %s: done in %.0f s", number, total, task.name, result["seconds"])
            return True
    except Timeout:
        return False
