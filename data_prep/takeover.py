"""Take over the records of earlier versions, which had a file for each."""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from data_prep.analysis_types import Analysis, AnalysisRecords
from data_prep.inputs import OLD_FOLDERS, OLD_RECORD
from data_prep.work.store import RECORD_VERSION, Store, packed


def take_over(store: Store, output: Path) -> None:
    """Move records from files into the store. All are in it before the first file is deleted.

    If that is interrupted, it is done again, and changes nothing that is in the store by then. The pictures of reports
    are left out: they are made anew for the videos that the next report shows.
    """
    files = {name: _files(output / name) for name in OLD_FOLDERS}
    if not any(files.values()):
        return
    with store.together():
        for file in files["analysis"]:
            _take_analysis(store, file)
        for key, record in _records(files["encoded"]):
            fields = {name: record[name] for name in ("fps", "files", "seconds")}
            store.add_many("encoded", [(key, packed(fields))])
        for key, record in _records(files["records"]):
            store.add_many("files", [(key, packed(record.pop("files", {})))])
            store.add_many("stored", [(key, packed(record))])
        _take_hashes(store, output / "records" / "hashes.json")
    for name, old in files.items():
        for file in old:
            file.unlink(missing_ok=True)
        with suppress(OSError):  # the user has other files in it, or there is none
            (output / name).rmdir()


def _files(folder: Path) -> list[Path]:
    """The files of records, which have the names that earlier versions gave them."""
    return sorted(p for p in folder.iterdir() if OLD_RECORD.fullmatch(p.name)) if folder.is_dir() else []


def _records(files: list[Path]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Key and content of the records that this version can read."""
    for file in (one for one in files if one.suffix == ".json"):
        record = _object(file)
        if record.pop("version", None) == RECORD_VERSION:
            yield file.stem, record


def _object(file: Path) -> dict[str, Any]:
    """A JSON object from a file; empty if it holds something else."""
    try:
        content = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _take_analysis(store: Store, file: Path) -> None:
    for key, record in _records([file]):
        refused, maps = record.pop("refused", None), file.with_suffix(".npz")
        found = refused if isinstance(refused, str) else Analysis.from_json(record)
        if found is not None and store.get("briefs", key) is None:
            AnalysisRecords(store).put(key, found, maps.read_bytes() if maps.is_file() else None)


def _take_hashes(store: Store, file: Path) -> None:
    known = {path: entry for path, entry in _object(file).items() if isinstance(entry, list) and len(entry) == 3}
    store.add_many("hashes", ((path, " ".join(map(str, entry)).encode()) for path, entry in known.items()))
