"""What is taken over from the records of the first versions, which had a file for each: contents, and names of shots.

All else in them is of another version, so that videos are worked on anew. With the names, `--unused` knows the shots
that those versions wrote.
"""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from data_prep.inputs import OLD_FOLDERS, OLD_RECORD
from data_prep.work.store import Store, packed


def take_over(store: Store, output: Path) -> None:
    """Take hashes and names of files into the store, then delete the old records.

    If that is interrupted, it is done again, and changes nothing that is in the store by then.
    """
    found = {name: _records(output / name) for name in OLD_FOLDERS}
    if not any(found.values()):
        return
    with store.together():
        hashes = _object(output / "records" / "hashes.json")
        known = {path: entry for path, entry in hashes.items() if isinstance(entry, list) and len(entry) == 3}
        store.add_many("hashes", ((path, " ".join(map(str, entry)).encode()) for path, entry in known.items()))
        for file in (*found["encoded"], *found["records"]):
            if isinstance(sizes := _object(file).get("files"), dict):
                store.add_many("files", [(file.stem, packed(sizes))])
    for name, files in found.items():
        for file in files:
            file.unlink(missing_ok=True)
        with suppress(OSError):  # the user has other files in it, or there is none
            (output / name).rmdir()


def _records(folder: Path) -> list[Path]:
    """The files of records, which have the names that earlier versions gave them."""
    return sorted(p for p in folder.iterdir() if OLD_RECORD.fullmatch(p.name)) if folder.is_dir() else []


def _object(file: Path) -> dict[str, Any]:
    """A JSON object from a file; empty if it holds something else."""
    try:
        content = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
