"""What is known about each video: one atomic record keyed by the file's content and the settings.

Records hold no path, so a moved or renamed file is not done again. Whatever has a record is complete on disk.
"""

import json
from pathlib import Path
from typing import Any

from vidboot.data.files import write_atomic

RECORD_VERSION = 10


class Records:
    """Records of one kind in `folder`, one JSON file for each key."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, key: str) -> dict[str, Any] | None:
        """The record of a key, or None if there is none that this version can read."""
        try:
            record = json.loads((self.folder / f"{key}.json").read_text("utf-8"))
        except (FileNotFoundError, UnicodeDecodeError, json.JSONDecodeError):
            return None
        return record if isinstance(record, dict) and record.get("version") == RECORD_VERSION else None

    def has_whole(self, key: str, output: Path) -> bool:
        """Whether there is a record, and below `output` all files that it names, at the size that they had."""
        record = self.get(key)
        if record is None:
            return False
        sizes = record.get("files", {}).items()
        return all((output / name).is_file() and (output / name).stat().st_size == size for name, size in sizes)

    def put(self, key: str, record: dict[str, Any]) -> None:
        """Write a record, all or nothing."""
        text = json.dumps({"version": RECORD_VERSION, **record}, indent=1, sort_keys=True)
        write_atomic(self.folder / f"{key}.json", text.encode())
