"""Content hashes of files, kept by path, size and modification time: a second run reads no video."""

import hashlib
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

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


def known_hashes(store: Store, paths: Iterable[Path]) -> dict[Path, str]:
    """The hashes of those files that have not changed since they were kept."""
    by_name = {str(path): path for path in paths}
    found = {}
    for name, value in store.get_many("hashes", by_name):
        size, changed, digest = value.decode().split()
        with suppress(OSError):  # it has gone: reading it tells why
            if _stamp(by_name[name]) == (int(size), int(changed)):
                found[by_name[name]] = digest
    return found


def keep_hash(store: Store, path: Path, stamped: Stamped) -> None:
    """Keep the result of `stamped_hash` for a file."""
    store.put("hashes", str(path), " ".join(map(str, stamped)).encode())


def _stamp(path: Path) -> tuple[int, int]:
    status = os.stat(path)  # noqa: PTH116 (half the time of Path.stat, and asked of every file)
    return status.st_size, status.st_mtime_ns
