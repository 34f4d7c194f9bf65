"""Make the manifest's rows from the records of stored videos."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from data_prep.config import Preprocess
from data_prep.report.outcome import ViewTotal
from data_prep.work.scan import SetAside, Source
from data_prep.work.store import Store, chunks, unpacked
from vidboot.data.manifest import VERDICTS, VIEWS, ManifestRow


class Results:
    """The rows of all videos, made one after another; what else a run reports about them adds up on the way."""

    def __init__(self, firsts: Mapping[str, Source], settings: Preprocess, store: Store) -> None:
        self.firsts, self.settings, self.store = firsts, settings, store
        self.set_aside: list[SetAside] = []
        self.seconds: dict[str, float] = defaultdict(float)
        """Processor seconds by stage."""
        self.totals = {one: ViewTotal(*one) for one in product(VIEWS, VERDICTS)}
        """By view and verdict."""
        self.shots = 0
        self.with_shots: list[str] = []
        """Contents of videos with shots, in order."""

    def rows(self, keys: Mapping[str, str], refused: Mapping[str, str]) -> Iterator[ManifestRow]:
        """The manifest's rows, ordered by path; `keys` are those of the stored videos, by content."""
        for some in chunks(self.firsts):
            records = dict(self.store.get_many("stored", [keys[c] for c in some if c in keys and c not in refused]))
            for content in some:
                if content in refused:
                    self.set_aside.append(SetAside(str(self.firsts[content].path), refused[content]))
                    continue
                record = unpacked(records.get(keys[content]))
                if not isinstance(record, dict):
                    self.store.delete("files", [keys[content]])  # so that the next run stores it again
                    record = {"refused": "its record is damaged"}
                yield from self._of_video(content, record)

    def _of_video(self, content: str, record: dict[str, Any]) -> Iterator[ManifestRow]:
        source = self.firsts[content]
        if record.get("refused") is not None:
            self.set_aside.append(SetAside(str(source.path), record["refused"]))
            return
        left = record["set_aside"]
        self.set_aside += [SetAside(f"{source.path} frames {start} to {end}", why) for start, end, why in left]
        for stage, seconds in record["seconds"].items():
            self.seconds[stage] += seconds
        if record["shots"]:
            self.with_shots.append(content)
        for shot in record["shots"]:
            row = row_of(source, content, shot, self.settings)
            self.shots += 1
            for view in row.views:
                self.totals[view, row.verdict].add(row)
            yield row


def row_of(source: Source, content: str, shot: dict[str, Any], settings: Preprocess) -> ManifestRow:
    """The row of a stored shot of a video with this content."""
    identity = [content, shot["start"], shot["end"], shot["crop"], settings.height, settings.width]
    more = {
        "id": hashlib.sha256(repr(identity).encode()).hexdigest()[:16],
        "source": str(source.path),
        "height": settings.height,
        "width": settings.width,
        "label": source.label,
    }
    return ManifestRow.of(shot | more)
