"""Make the manifest's rows from the records of stored videos."""

import hashlib
from pathlib import Path
from typing import Any

from data_prep.config import Preprocess
from data_prep.tasks import StoreJob
from data_prep.work.records import Records
from data_prep.work.scan import SetAside, Source
from data_prep.work.stopwatch import total_seconds
from vidboot.data.manifest import ManifestRow


def results(
    firsts: dict[str, Source], jobs: dict[str, StoreJob], refused: dict[str, str], output: Path, settings: Preprocess
) -> tuple[list[ManifestRow], list[SetAside], dict[str, float]]:
    """The manifest's rows, what was set aside, and processor seconds by stage."""
    rows: list[ManifestRow] = []
    set_aside: list[SetAside] = []
    records: list[dict[str, Any]] = []
    for content, source in firsts.items():
        if content in refused:
            set_aside.append(SetAside(str(source.path), refused[content]))
            continue
        record = Records(output / "records").get(jobs[content].key) or {"refused": "its record is damaged"}
        made, left = _rows(source, content, record, settings)
        rows += made
        set_aside += left
        records.append(record)
    return rows, set_aside, total_seconds(record.get("seconds", {}) for record in records)


def _rows(
    source: Source, content: str, record: dict[str, Any], settings: Preprocess
) -> tuple[list[ManifestRow], list[SetAside]]:
    if record.get("refused") is not None:
        return [], [SetAside(str(source.path), record["refused"])]
    rows = [_row(source, content, shot, settings) for shot in record["shots"]]
    left = [SetAside(f"{source.path} frames {start} to {end}", why) for start, end, why in record["set_aside"]]
    return rows, left


def _row(source: Source, content: str, shot: dict[str, Any], settings: Preprocess) -> ManifestRow:
    identity = [content, shot["start"], shot["end"], shot["crop"], settings.height, settings.width]
    more = {
        "id": hashlib.sha256(repr(identity).encode()).hexdigest()[:16],
        "source": str(source.path),
        "height": settings.height,
        "width": settings.width,
        "label": source.label,
    }
    return ManifestRow.of(shot | more)
