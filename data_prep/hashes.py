"""Content hashes of files, remembered by path, size and time of change: a second run reads no video."""

import hashlib
import json
from pathlib import Path

from vidboot.data.files import write_atomic


def stamped_hash(path: Path) -> list:
    """Size, time of change and SHA-256 of a file; raises `OSError` if it can't be read.

    Looked at in this order: if it changes while it is read it is read again the next time.
    """
    stamp = _stamp(path)
    with path.open("rb") as file:
        return [*stamp, hashlib.file_digest(file, "sha256").hexdigest()]


class HashCache:
    """Hashes of files as they were when last seen, kept in one JSON file."""

    def __init__(self, file: Path) -> None:
        self.file = file
        try:
            known = json.loads(file.read_text("utf-8"))
        except (FileNotFoundError, UnicodeDecodeError, json.JSONDecodeError):
            known = {}
        self._known: dict[str, list] = known if isinstance(known, dict) else {}

    def get(self, path: Path) -> str | None:
        """The hash of an unchanged file, or None if it has to be read."""
        entry = self._known.get(str(path))
        return entry[-1] if entry is not None and entry[:-1] == _stamp(path) else None

    def put(self, path: Path, stamped: list) -> None:
        """Remember what `stamped_hash` gave for a file."""
        self._known[str(path)] = stamped

    def save(self) -> None:
        """Write the cache, all or nothing."""
        write_atomic(self.file, json.dumps(self._known, sort_keys=True).encode())


def _stamp(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]
