"""Running one task for each video in worker processes; a video that crashes or stalls its worker costs only itself."""

import importlib.util
import multiprocessing
import multiprocessing.connection
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, as_completed
from concurrent.futures import TimeoutError as TooLong
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

import pebble
from tqdm import tqdm

from data_prep.workers import TaskError, failure, one_thread
from vidboot.data.video import VideoError
from vidboot.errors import UserError

Job = TypeVar("Job")


class Engine(Protocol):
    """Something that runs a task for each job and yields (job, result) as they end."""

    def __enter__(self) -> Self:
        """Get ready."""

    def __exit__(self, *error: object) -> None:
        """End the workers."""

    def run(self, task: Callable[[Job], Any], jobs: Sequence[Job]) -> Iterator[tuple[Job, Any]]:
        """Yield (job, result) as they end; the result of a task that died or took too long is a `TaskError`."""


def make_engine(name: str, workers: int | None, timeout_seconds: float) -> "Engine":
    """The engine called `local` or `ray`; raises `UserError` if there is none of that name or it is not installed."""
    if name == "local":
        return LocalEngine(workers, timeout_seconds)
    if name != "ray":
        raise UserError(f"there is no engine '{name}', only local and ray")
    if importlib.util.find_spec("ray") is None:
        raise UserError("--engine ray needs the extra: pip install 'vidboot[ray]'")
    from data_prep.ray_engine import RayEngine

    return RayEngine(workers, timeout_seconds)


class FileJob(Protocol):
    """A job on one file."""

    @property
    def path(self) -> Path:
        """The file."""


SomeFileJob = TypeVar("SomeFileJob", bound=FileJob)


def largest_first(jobs: Iterable[SomeFileJob]) -> list[SomeFileJob]:
    """Jobs in an order that leaves no worker with a long video when the others have done."""
    return sorted(jobs, key=lambda job: -_bytes_of(job.path))


def _bytes_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # gone by now; its job will say so
        return 0


def with_progress(
    engine: Engine, task: Callable[[Job], Any], jobs: Sequence[Job], unit: str
) -> Iterable[tuple[Job, Any]]:
    """`engine.run` with a progress bar that is called `unit`."""
    return tqdm(engine.run(task, jobs), total=len(jobs), desc=unit, unit="file", disable=not jobs)


def reason_of(failed: VideoError | TaskError) -> str:
    """Why a job failed, without the file's name."""
    return failed.reason if isinstance(failed, VideoError) else str(failed)


class LocalEngine:
    """A pool of processes on this machine, started when first needed; use it in a `with` block, which ends them."""

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
        """The pool, made anew if it has fewer workers than there is work for."""
        if self._pool is None or self._size < workers:
            self._stop()
            # Spawned, not forked: decoders and OpenCV keep threads and locks that do not survive a fork.
            context = multiprocessing.get_context("spawn")
            self._pool, self._size = pebble.ProcessPool(workers, initializer=_begin, context=context), workers
        return self._pool

    def run(self, task: Callable[[Job], Any], jobs: Sequence[Job]) -> Iterator[tuple[Job, Any]]:
        """Yield (job, result) as they end; the result of a task that died or took too long is a `TaskError`."""
        if not jobs:
            return
        pool = self._pool_of(min(self.workers, len(jobs)))
        running: dict[Future[Any], Job] = {
            pool.schedule(task, args=[job], timeout=self.timeout_seconds): job for job in jobs
        }
        for future in as_completed(running):
            yield running[future], self._result(future)

    def _result(self, future: Future[Any]) -> Any:
        try:
            return future.result()
        except TooLong:
            return TaskError(f"took longer than {self.timeout_seconds / 60:g} minutes")
        except pebble.ProcessExpired as error:
            return TaskError(f"its worker process died (exit code {error.exitcode})")
        except Exception as error:  # a bug or a strange file: it must not cost the other videos
            return failure(error)


def _begin() -> None:
    """Set up a worker process. It ends with its parent, whose death it must not outlive: the next run would meet it."""
    one_thread()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)
