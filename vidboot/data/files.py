"""Atomic files: what carries its final name is complete, whenever the program was stopped."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vidboot.errors import UserError


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a hidden path beside `path` to write to; it takes the name `path` when the block ends without an error."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The process number keeps two writers apart; the suffix stays, since writers choose a format by it.
    partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_atomic(path: str | Path, data: bytes) -> None:
    """Write `data` to `path`, all or nothing."""
    with atomic_path(path) as partial:
        partial.write_bytes(data)


def make_folder(path: Path) -> None:
    """Make a folder for results, before hours go into them. Raises `UserError` if it can't be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"the folder {path} can't be made ({error.strerror}): choose another") from None
