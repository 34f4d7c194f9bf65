"""Content hashes of files, cached by path, size and modification time: a second run reads no video."""

import hashlib
import json
from pathlib import Path

from data_prep.work.records import read_object
from vidboot.data.files import write_atomic


def stamped_hash(path: Path) -> list:
    """Size, modification time and SHA-256 of a file; raises `OSError` if it can't be read.

    Size and time are read first: a file that changes while it is hashed is hashed again by the next run.
    """
    stamp = _stamp(path)
    with path.open("rb") as file:
        return [*stamp, hashlib.file_digest(file, "sha256").hexdigest()]


class HashCache:
    """Hashes of files, kept in one JSON file."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._known: dict[str, list] = read_object(file) or {}

    def get(self, path: Path) -> str | None:
        """The hash of a file that has not changed since, or None if it must be read."""
        entry = self._known.get(str(path))
        return entry[-1] if entry is not None and entry[:-1] == _stamp(path) else None

    def put(self, path: Path, stamped: list) -> None:
        """Keep the result of `stamped_hash` for a file."""
        self._known[str(path)] = stamped

    def save(self) -> None:
        """Write the cache atomically."""
        write_atomic(self.file, json.dumps(self._known, sort_keys=True).encode())


def _stamp(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]
