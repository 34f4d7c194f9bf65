"""Run tasks on a Ray cluster (extra `ray`): the one at RAY_ADDRESS, or else one that is started on this machine.

Inputs and output must be on a file system that all nodes share.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Self, TypeVar

import ray
import ray.exceptions

from data_prep.work.workers import TaskError, failure, one_thread, too_long

Job = TypeVar("Job")
# The result of a task that is to be begun anew.
_AGAIN = object()
# Seconds between checks of the time limit.
_POLL = 1.0
# So often a task is begun whose node dies: a node that is preempted takes innocent tasks with it, but a video that
# takes all memory of a node would take down the next one too.
_TRIES = 3


class RayEngine:
    """Tasks use one core each; `workers` run at a time, or as many as the cluster has cores.

    Nodes may come and go meanwhile: a task whose node dies is begun anew on another.
    """

    def __init__(self, workers: int | None, timeout_seconds: float) -> None:
        self._asked, self._timeout_seconds = workers, timeout_seconds

    def __enter__(self) -> Self:
        if not ray.is_initialized():
            # Without an address, Ray looks for the last cluster of this machine, and waits for minutes if it is dead.
            ray.init(os.environ.get("RAY_ADDRESS", "local"), log_to_driver=False, include_dashboard=False)
        return self

    def __exit__(self, *error: object) -> None:
        ray.shutdown()

    def run(self, task: Callable[[Job], Any], jobs: Iterable[Job]) -> Iterator[list[tuple[Job, Any]]]:
        """Yield (job, result) of all tasks that have ended since the last time, as `Engine.run` says."""
        remote = ray.remote(num_cpus=1, max_retries=0)(_single)
        waiting, again = iter(jobs), list[tuple[Job, int]]()
        running: dict[Any, tuple[Job, int, float]] = {}
        while True:
            # Less than none, where a node has gone.
            room = max(0, self._room() - len(running))
            begun = [again.pop() for _ in range(min(room, len(again)))]
            begun += [(job, 1) for job in islice(waiting, room - len(begun))]
            for job, tries in begun:
                running[remote.remote(task, job)] = (job, tries, time.monotonic())
            if not running:
                return
            ray.wait(list(running), timeout=_POLL)
            done, _ = ray.wait(list(running), num_returns=len(running), timeout=0)
            ended = []
            for reference in done:
                job, tries, _ = running.pop(reference)
                result = self._result(reference, tries)
                if result is _AGAIN:
                    again.append((job, tries + 1))
                else:
                    ended.append((job, result))
            late = [r for r, (*_, start) in running.items() if time.monotonic() - start > self._timeout_seconds]
            for reference in late:
                ray.cancel(reference, force=True)
                ended.append((running.pop(reference)[0], too_long(self._timeout_seconds)))
            yield ended

    def _room(self) -> int:
        """How many tasks may run now: one that waits for a core would be taken for a slow one."""
        cores = max(1, int(ray.cluster_resources().get("CPU", 1)))
        return cores if self._asked is None else min(self._asked, cores)

    def _result(self, reference: Any, tries: int) -> Any:
        try:
            return ray.get(reference)
        except ray.exceptions.NodeDiedError:
            return _AGAIN if tries < _TRIES else TaskError(f"the node that ran it died, {_TRIES} times")
        except ray.exceptions.WorkerCrashedError:
            return TaskError("its worker process died")
        except ray.exceptions.RayTaskError as error:
            return failure(error.cause)
        except ray.exceptions.RayError as error:
            return failure(error)


def _single(task: Callable[[Any], Any], job: Any) -> Any:
    one_thread()
    return task(job)
