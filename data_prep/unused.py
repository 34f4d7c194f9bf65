"""Shots and masks of earlier runs that the manifest no longer names."""

import os
from collections.abc import Iterator, Set
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from data_prep.folder import at_work, local_folder
from data_prep.work.store import Store, unpacked
from vidboot.data.manifest import named_files

# Tables whose records name files, and their fields that do so; None: the record itself.
_NAMING = (("files", None), ("encoded", "files"))


@dataclass(frozen=True)
class Unused:
    """Files that no manifest names."""

    files: int
    bytes: int


def unused(output: str | Path, delete: bool = False) -> Unused:
    """Count the shots and masks in a folder that its manifest does not name; with `delete`, they are deleted.

    They are of other settings, or of videos that were not given again; of a tar of masks the manifest names nothing.
    Only files that a run has recorded, and that have the size that it recorded, are counted or deleted. Analyses are
    kept: such a video is only encoded again.
    Raises `UserError` if there is no manifest, or a run is at work.
    """
    output = local_folder(output)
    named_files(output)  # before anything is made in a folder that is none of ours
    with at_work(output) as store:
        left = dict(_unnamed(store, output))
        if delete:
            for name in left:
                (output / name).unlink(missing_ok=True)
            for name in left:
                _remove_empty((output / name).parent, output)
            _forget(store, left.keys())
        return Unused(len(left), sum(left.values()))


def _unnamed(store: Store, output: Path) -> Iterator[tuple[str, int]]:
    """Names and sizes of the files, relative to the folder."""
    named = named_files(output)
    for table, field in _NAMING:
        for _, sizes in _sizes(store, table, field):
            for name, size in sizes.items():
                if name not in named and _size(output / name) == size:
                    yield name, size


def _sizes(store: Store, table: str, field: str | None) -> Iterator[tuple[str, dict[str, int]]]:
    """Keys and files of the records of a table."""
    for key, value in store.rows(table):
        record = unpacked(value)
        if isinstance(record, dict):
            yield key, record if field is None else record[field]


def _size(path: Path) -> int | None:
    try:
        return os.lstat(path).st_size
    except OSError:
        return None


def _remove_empty(folder: Path, output: Path) -> None:
    """Remove a folder inside `output` and those above it, as long as nothing is in them."""
    with suppress(OSError):
        while folder != output:
            folder.rmdir()
            folder = folder.parent


def _forget(store: Store, names: Set[str]) -> None:
    """Forget the records of videos that are no longer stored."""
    for table, field in _NAMING:
        keys = [key for key, sizes in _sizes(store, table, field) if not names.isdisjoint(sizes)]
        with store.together():
            store.delete(table, keys)
            if table == "files":
                store.delete("stored", keys)
