"""Atomic files: a file with its final name is complete, whenever the program was stopped."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vidboot.data.urls import url_of
from vidboot.errors import UserError


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A hidden path beside `path` to write to; the file is renamed to `path` when the block ends without an error."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The process number keeps two writers apart; the suffix stays, because it decides the format of some writers.
    partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_atomic(path: str | Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all."""
    with atomic_path(path) as partial:
        partial.write_bytes(data)


def make_folder(path: Path) -> None:
    """Make a folder for results, before hours are spent on them. Raises `UserError` if it can't be made here."""
    if (url := url_of(path)) is not None:
        raise UserError(f"no results are written to {url}: give a folder of this machine, and copy it there afterwards")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"the folder {path} can't be made ({error.strerror}): choose another") from None
