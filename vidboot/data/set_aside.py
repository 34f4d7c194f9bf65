"""Shots that turn out unreadable while training: named once, whichever process finds them, and listed in a file."""

import json
import logging
from pathlib import Path

from filelock import FileLock

from vidboot.data.manifest import Shot
from vidboot.errors import UserError

logger = logging.getLogger(__name__)
FILE_NAME = "set_aside.jsonl"


class SetAside:
    """A process's memory of the shots that it could not read, and the list that it shares with the others.

    `folder` holds the list, one JSON line for each shot (None: no list, each process speaks for itself).
    """

    def __init__(self, folder: Path | None) -> None:
        self.path = None if folder is None else folder / FILE_NAME
        self.ids: set[str] = set()

    def add(self, shot: Shot, error: UserError) -> None:
        """Note a shot; say so if no process has said it before, in this run or the one it goes on from."""
        self.ids.add(shot.id)
        if self.path is None or self._list(shot, error):
            logger.warning("set aside, another shot is drawn instead: %s", error)

    def _list(self, shot: Shot, error: UserError) -> bool:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path.with_suffix(".lock")):
            lines = self.path.read_text().splitlines() if self.path.exists() else []
            if shot.id in {json.loads(line)["id"] for line in lines}:
                return False
            with self.path.open("a") as file:
                file.write(json.dumps({"id": shot.id, "path": shot.path, "reason": str(error)}) + "\n")
            return True
