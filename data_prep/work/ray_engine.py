"""Run tasks on a Ray cluster (extra `ray`): the one at RAY_ADDRESS, or else one that is started on this machine.

Inputs and output must be on a file system that all nodes share.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Self, TypeVar

import ray
import ray.exceptions

from data_prep.work.workers import TaskError, failure, one_thread, too_long

Job = TypeVar("Job")
# Seconds between checks of the time limit.
_POLL = 1.0


class RayEngine:
    """Tasks use one core each; `workers` run at a time, or as many as the cluster has cores."""

    def __init__(self, workers: int | None, timeout_seconds: float) -> None:
        self._asked, self._workers, self._timeout_seconds = workers, 1, timeout_seconds

    def __enter__(self) -> Self:
        if not ray.is_initialized():
            ray.init(log_to_driver=False, include_dashboard=False)
        self._workers = self._asked or max(1, int(ray.cluster_resources().get("CPU", 1)))
        return self

    def __exit__(self, *error: object) -> None:
        ray.shutdown()

    def run(self, task: Callable[[Job], Any], jobs: Iterable[Job]) -> Iterator[list[tuple[Job, Any]]]:
        """Yield (job, result) of all tasks that have ended since the last time, as `Engine.run` says."""
        remote = ray.remote(num_cpus=1, max_retries=0)(_single)
        waiting = iter(jobs)
        running: dict[Any, tuple[Job, float]] = {}
        while True:
            for job in islice(waiting, self._workers - len(running)):
                running[remote.remote(task, job)] = (job, time.monotonic())
            if not running:
                return
            ray.wait(list(running), timeout=_POLL)
            done, _ = ray.wait(list(running), num_returns=len(running), timeout=0)
            ended = [(running.pop(reference)[0], self._result(reference)) for reference in done]
            late = [r for r, (_, begun) in running.items() if time.monotonic() - begun > self._timeout_seconds]
            for reference in late:
                ray.cancel(reference, force=True)
                ended.append((running.pop(reference)[0], too_long(self._timeout_seconds)))
            yield ended

    def _result(self, reference: Any) -> Any:
        try:
            return ray.get(reference)
        except ray.exceptions.WorkerCrashedError:
            return TaskError("its worker process died")
        except ray.exceptions.RayTaskError as error:
            return failure(error.cause)
        except ray.exceptions.RayError as error:
            return failure(error)


def _single(task: Callable[[Any], Any], job: Any) -> Any:
    one_thread()
    return task(job)
