"""A real disk that is small, a tmpfs, and can be filled."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

PAGE = 4096


class SmallDisk:
    """A mounted tmpfs, most of which can be taken."""

    def __init__(self, path: Path) -> None:
        self.path, self._taken = path, path / "taken"

    def leave(self, pages: int) -> None:
        """Fill the disk but for so many pages."""
        self.make_room()
        self._take(self._free() - pages)

    def make_room(self) -> None:
        """Empty it again."""
        self._taken.unlink(missing_ok=True)

    def pages_in_use(self) -> int:
        """Pages that files take."""
        status = os.statvfs(self.path)
        return status.f_blocks - status.f_bfree

    @contextmanager
    def filled_after(self, seconds: float) -> Iterator[None]:
        """In the block, take whatever is free, from so many seconds on."""
        ended = threading.Event()

        def take() -> None:
            ended.wait(seconds)
            while not ended.wait(0.002):
                self._take(self._free())

        thread = threading.Thread(target=take)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _free(self) -> int:
        return os.statvfs(self.path).f_bavail

    def _take(self, pages: int) -> None:
        with self._taken.open("ab", buffering=0) as file:
            for _ in range(pages):
                with suppress(OSError):  # another program was quicker
                    file.write(bytes(PAGE))


@contextmanager
def small_disk(path: Path, size: str = "24m") -> Iterator[SmallDisk]:
    """A small disk mounted at a path; skips the test where that can't be done."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root on Linux can mount a small disk")
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def one_sentence(said: str) -> bool:
    """Whether exactly one error is told, in words that name the way out."""
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    return len(errors) == 1 and "make room" in errors[0] and "Traceback" not in said
