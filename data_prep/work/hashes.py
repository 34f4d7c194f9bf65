"""Content hashes of files, kept by path, size and modification time: a second run reads no video."""

import hashlib
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from data_prep.work.locations import Location
from data_prep.work.store import Store

Stamped = tuple[int, int, str]
"""Size, modification time (ns) and SHA-256 of a file."""


def stamped_hash(path: Path) -> Stamped:
    """Size, modification time and SHA-256 of a file; raises `OSError` if it can't be read.

    Size and time are read first: a file that changes while it is hashed is hashed again by the next run.
    """
    size, changed = _stamp(path)
    with path.open("rb") as file:
        return size, changed, hashlib.file_digest(file, "sha256").hexdigest()


def known_hashes(store: Store, paths: Iterable[Location]) -> dict[Location, str]:
    """The hashes of those files that have not changed since they were kept, or whose file system says them."""
    found: dict[Location, str] = {}
    by_name: dict[str, Path] = {}
    for path in paths:
        if isinstance(path, Path):
            by_name[str(path)] = path
        elif path.content is not None:
            found[path] = path.content
    for name, value in store.get_many("hashes", by_name):
        size, changed, digest = value.decode().split()
        with suppress(OSError):  # it has gone: reading it tells why
            if _stamp(by_name[name]) == (int(size), int(changed)):
                found[by_name[name]] = digest
    return found


def keep_hash(store: Store, path: Location, stamped: Stamped) -> None:
    """Keep the result of `stamped_hash` for a file of this machine: others are asked for it again."""
    if isinstance(path, Path):
        store.put("hashes", str(path), " ".join(map(str, stamped)).encode())


def _stamp(path: Path) -> tuple[int, int]:
    status = os.stat(path)  # noqa: PTH116 (half the time of Path.stat, and asked of every file)
    return status.st_size, status.st_mtime_ns
