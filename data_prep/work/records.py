"""What is known about each video: one record, written atomically, whose key depends on content and settings.

Records hold no path, so a file that was moved or renamed is not processed again. Work that has a record is complete on
disk.
"""

import json
from pathlib import Path
from typing import Any

from vidboot.data.files import write_atomic

RECORD_VERSION = 12


def read_object(file: Path) -> dict[str, Any] | None:
    """A JSON object from a file, or None if there is no such file or it holds something else."""
    try:
        content = json.loads(file.read_text("utf-8"))
    except (FileNotFoundError, UnicodeDecodeError, json.JSONDecodeError):
        return None
    return content if isinstance(content, dict) else None


class Records:
    """Records of one kind in `folder`, one JSON file for each key."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, key: str) -> dict[str, Any] | None:
        """The record of a key, or None if there is none that this version can read."""
        record = read_object(self.folder / f"{key}.json")
        return record if record is not None and record.get("version") == RECORD_VERSION else None

    def has_whole(self, key: str, output: Path) -> bool:
        """Whether there is a record, and all files that it names lie below `output` with the sizes that it states."""
        record = self.get(key)
        if record is None:
            return False
        sizes = record.get("files", {}).items()
        return all((output / name).is_file() and (output / name).stat().st_size == size for name, size in sizes)

    def put(self, key: str, record: dict[str, Any]) -> None:
        """Write a record atomically."""
        text = json.dumps({"version": RECORD_VERSION, **record}, indent=1, sort_keys=True)
        write_atomic(self.folder / f"{key}.json", text.encode())
