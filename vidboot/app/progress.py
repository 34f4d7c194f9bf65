"""Work in a thread of its own, whose progress a page shows and which a page can stop."""

import queue
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Update:
    """How far some work is, and the video as far as there is one."""

    text: str
    video: Path | None = None


Report = Callable[[Update], None]


class StoppedError(Exception):
    """The page was closed or its button Stop was pressed: nobody waits for the work."""


def followed(work: Callable[[Report], T]) -> Generator[Update, None, T]:
    """Yield what `work` reports while it runs, and return its result. Closed early, it ends the work.

    Raises what `work` raises.
    """
    updates: queue.SimpleQueue[Update | None] = queue.SimpleQueue()
    stopped = threading.Event()

    def report(update: Update) -> None:
        """Pass an update on."""
        if stopped.is_set():
            raise StoppedError
        updates.put(update)

    def run() -> T:
        """Work, and say that it has ended."""
        try:
            return work(report)
        finally:
            updates.put(None)

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(run)
        try:
            while (update := updates.get()) is not None:
                yield update
            return future.result()
        finally:
            stopped.set()
