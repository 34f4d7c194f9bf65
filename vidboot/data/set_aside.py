"""Shots that turn out unreadable during training: named once, whichever process finds them, and listed in a file."""

import json
import logging
from pathlib import Path

from filelock import FileLock

from vidboot.data.manifest import Shot
from vidboot.errors import UserError

logger = logging.getLogger(__name__)
FILE_NAME = "set_aside.jsonl"


class SetAside:
    """The shots that this process could not read, and the list of all processes in `folder`, one JSON line per shot.

    Without a folder there is no list: each process logs what it finds.
    """

    def __init__(self, folder: Path | None) -> None:
        self.path = None if folder is None else folder / FILE_NAME
        self.ids: set[str] = set()

    def add(self, shot: Shot, error: UserError) -> None:
        """Set a shot aside; log it unless another process, or an earlier start of the run, has done so."""
        self.ids.add(shot.id)
        if self.path is None or _is_new(self.path, shot, error):
            logger.warning("set aside, another shot is drawn instead: %s", error)


def _is_new(path: Path, shot: Shot, error: UserError) -> bool:
    """Add a shot to the list in a file; False if it is there already."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        text = path.read_text("utf-8", errors="replace") if path.exists() else ""
        if shot.id in {_id_of(line) for line in text.splitlines()}:
            return False
        with path.open("a", encoding="utf-8") as file:
            # A kill or a full disk may have left half a line.
            file.write("\n" if text and not text.endswith("\n") else "")
            file.write(json.dumps({"id": shot.id, "path": shot.path, "reason": str(error)}) + "\n")
        return True


def _id_of(line: str) -> str | None:
    """The shot's id in a line of the list; None if the line is not whole."""
    try:
        return json.loads(line)["id"]
    except (ValueError, KeyError, TypeError):
        return None
