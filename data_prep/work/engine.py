"""Run one task for each video in worker processes. A video that crashes or blocks its worker affects no other video."""

import importlib.util
import multiprocessing
import multiprocessing.connection
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures import TimeoutError as TooLong
from itertools import islice
from typing import Any, Protocol, Self, TypeVar

import pebble
from tqdm import tqdm

from data_prep.work.locations import Location, Remote
from data_prep.work.workers import TaskError, failure, one_thread, too_long
from vidboot.errors import UserError

Job = TypeVar("Job")


class Engine(Protocol):
    """Runs a task for each job; to be used in a `with` block."""

    def __enter__(self) -> Self:
        """Start."""

    def __exit__(self, *error: object) -> None:
        """End the workers."""

    def run(self, task: Callable[[Job], Any], jobs: Iterable[Job]) -> Iterator[list[tuple[Job, Any]]]:
        """Yield (job, result) of all tasks that have ended since the last time.

        A task that dies or takes too long gives a `TaskError`. Jobs are taken as they are begun, so that of a hundred
        thousand only a few are in memory.
        """


def make_engine(name: str, workers: int | None, timeout_seconds: float) -> "Engine":
    """The engine `local` or `ray`; raises `UserError` for another name, or if Ray is not installed."""
    if name == "local":
        return LocalEngine(workers, timeout_seconds)
    if name != "ray":
        raise UserError(f"there is no engine '{name}', only local and ray")
    if importlib.util.find_spec("ray") is None:
        raise UserError("--engine ray needs the extra: pip install 'vidboot[ray]'")
    from data_prep.work.ray_engine import RayEngine

    return RayEngine(workers, timeout_seconds)


class FileJob(Protocol):
    """A job that works on one file."""

    @property
    def path(self) -> Location:
        """The file."""


SomeFileJob = TypeVar("SomeFileJob", bound=FileJob)


def largest_first(jobs: Iterable[SomeFileJob]) -> list[SomeFileJob]:
    """Jobs ordered by file size: a large file that is started last would keep one worker busy alone at the end."""
    return sorted(jobs, key=lambda job: -_bytes_of(job.path))


def _bytes_of(path: Location) -> int:
    try:
        return path.size or 0 if isinstance(path, Remote) else path.stat().st_size
    except OSError:  # deleted meanwhile; the job reports it
        return 0


def with_progress(
    engine: Engine, task: Callable[[Job], Any], jobs: Iterable[Job], total: int, unit: str
) -> Iterator[list[tuple[Job, Any]]]:
    """`engine.run` on `total` jobs, with a progress bar that is called `unit`."""
    with tqdm(total=total, desc=unit, unit="file", disable=not total) as bar:
        for ended in engine.run(task, jobs):
            yield ended
            bar.update(len(ended))


class LocalEngine:
    """A pool of processes on this machine, started when first needed and ended with the `with` block."""

    def __init__(self, workers: int | None, timeout_seconds: float) -> None:
        self.workers = workers or os.cpu_count() or 1
        self.timeout_seconds = timeout_seconds
        self._pool: pebble.ProcessPool | None = None
        self._size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._pool is not None:
            self._pool.stop()
            self._pool.join()

    def _pool_of(self, workers: int) -> pebble.ProcessPool:
        """A pool of at least so many workers; replaces a smaller one."""
        if self._pool is None or self._size < workers:
            self._stop()
            # Spawned, not forked: decoders and OpenCV have threads and locks that do not survive a fork.
            context = multiprocessing.get_context("spawn")
            self._pool, self._size = pebble.ProcessPool(workers, initializer=_begin, context=context), workers
        return self._pool

    def run(self, task: Callable[[Job], Any], jobs: Iterable[Job]) -> Iterator[list[tuple[Job, Any]]]:
        """Yield (job, result) of all tasks that have ended since the last time, as `Engine.run` says."""
        waiting = iter(jobs)
        following = list(islice(waiting, self.workers))
        if not following:
            return
        pool = self._pool_of(len(following))
        running: dict[Future[Any], Job] = {}
        while following or running:
            running |= {self._scheduled(pool, task, job): job for job in following}
            ended, _ = wait(running, return_when=FIRST_COMPLETED)
            yield [(running.pop(future), self._result(future)) for future in ended]
            # One more for each worker waits in the pool, so that none is idle while the results are taken.
            following = list(islice(waiting, 2 * self._size - len(running)))

    def _scheduled(self, pool: pebble.ProcessPool, task: Callable[[Job], Any], job: Job) -> Future[Any]:
        try:
            return pool.schedule(task, args=[job], timeout=self.timeout_seconds)
        except RuntimeError as error:  # its processes can't be started, or didn't answer for a minute
            raise UserError(
                f"worker processes don't answer ({error}): end other programs or lower workers, and run the same "
                "command again"
            ) from None

    def _result(self, future: Future[Any]) -> Any:
        try:
            return future.result()
        except TooLong:
            return too_long(self.timeout_seconds)
        except pebble.ProcessExpired as error:
            return TaskError(f"its worker process died (exit code {error.exitcode})")
        except Exception as error:  # a bug, or a file that nobody expected: the other videos go on
            return failure(error)


def _begin() -> None:
    """Set up a worker process. It ends when its parent dies: it would disturb the next run on the same folder."""
    one_thread()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)
