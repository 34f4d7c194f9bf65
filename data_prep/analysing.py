"""The analyses of a run's videos, and the overlays that the videos of a folder share."""

import hashlib
from bisect import insort
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from data_prep.analysis_types import AnalysisRecords, Brief, pack
from data_prep.config import Preprocess
from data_prep.jobs import Analysed, AnalyseJob
from data_prep.overlays.pooling import LEAST, MOST, pooled_overlay
from data_prep.tasks import analyse_video
from data_prep.text.model import model_for
from data_prep.work.engine import Engine, TaskError, largest_first, with_progress
from data_prep.work.locations import Location, Remote
from data_prep.work.scan import Source
from data_prep.work.store import RECORD_VERSION, Store, packed
from data_prep.work.workers import reason_of
from vidboot.data.video import VideoError

Group = tuple[Location, tuple[int, int]]
"""Folder, and height and width of the analysed picture: videos that have both in common may share overlays."""


def key_of(kind: str, *parts: str) -> str:
    """The key of a record, which depends on `parts`."""
    return hashlib.sha256(" ".join([str(RECORD_VERSION), kind, *parts]).encode()).hexdigest()


@dataclass
class Analyses:
    """By content: what was found in the videos, or why they can't be used."""

    keys: dict[str, str]
    briefs: dict[str, Brief] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    """Why videos have no record, so that the next run tries again: a worker that died, a time limit, a missing disk."""
    new: set[str] = field(default_factory=set)

    def add(self, content: str, found: Brief | str) -> None:
        """Take the record of a video."""
        if isinstance(found, str):
            self.refused[content] = found
        else:
            self.briefs[content] = found


@dataclass(frozen=True)
class Ahead:
    """What is made of a remote video while it is analysed, because it would be fetched again for it afterwards."""

    output: Path
    """Folder for the copy and the shots."""
    drawn: Collection[str]
    """Contents of which the report shows frames."""
    stores: bool = True
    """Whether shots are encoded."""


class Analyser:
    """Analyses what is new among the videos in `firsts`, a file by content."""

    def __init__(
        self, firsts: Mapping[str, Source], settings: Preprocess, store: Store, engine: Engine, ahead: Ahead
    ) -> None:
        self.firsts, self.settings, self.store, self.engine, self.ahead = firsts, settings, store, engine, ahead
        self.records = AnalysisRecords(store)
        # Of each group, the contents whose maps are kept: the first ones, in order.
        self.mapped: dict[Group, list[str]] = defaultdict(list)

    def run(self) -> Analyses:
        """The analyses of all videos."""
        digest = self.settings.digest(model_for(self.settings.text) is not None)
        found = Analyses({content: key_of("analysis", content, digest) for content in self.firsts})
        contents = {key: content for content, key in found.keys.items()}
        for key, one in self.records.briefs(contents):
            found.add(contents[key], one)
        crowded = (self._crowded_out(content, brief) for content, brief in found.briefs.items())
        dropped = {found.keys[content] for content in crowded if content is not None}
        # In the order of the table: to search for each takes longer the more there are.
        self.store.delete("maps", [key for key in self.store.keys("maps") if key in dropped])
        found.new = found.keys.keys() - found.briefs.keys() - found.refused.keys()
        self._analyse(found.new, found)
        return found

    def _analyse(self, wanted: Iterable[str], found: Analyses, keep_maps: bool = False) -> None:
        """Analyse videos, also such as have a record already; keep the maps of all, or of the first of each group."""
        jobs = {c: self._job(c, found.keys[c]) for c in sorted(wanted)}
        contents = {job.key: content for content, job in jobs.items()}
        for ended in with_progress(self.engine, analyse_video, largest_first(jobs.values()), len(jobs), "analysing"):
            with self.store.together():
                for job, result in ended:
                    content = contents[job.key]
                    if isinstance(result, VideoError | TaskError):
                        found.failed[content] = reason_of(result)
                        continue
                    brief = result.found if isinstance(result.found, str) else Brief.of(result.found)
                    keep = isinstance(brief, Brief) and (self._keeps_maps(content, brief, found.keys) or keep_maps)
                    self.records.put(job.key, result.found, result.maps if keep else None)
                    self._keep_ahead(job.key, result)
                    found.add(content, brief)

    def _job(self, content: str, key: str) -> AnalyseJob:
        path, ahead = self.firsts[content].path, self.ahead
        if not isinstance(path, Remote):
            return AnalyseJob(path, key, self.settings, ahead.output)
        # Of a video that is analysed again, because its maps are missing, the shots are there.
        stores = ahead.stores and self.store.get("encoded", key) is None
        return AnalyseJob(path, key, self.settings, ahead.output, stores, content in ahead.drawn)

    def _keep_ahead(self, key: str, made: Analysed) -> None:
        for table, record in (("encoded", made.encoded), ("pictures", made.pictures)):
            if record is not None:
                self.store.put(table, key, packed(record))

    def _keeps_maps(self, content: str, brief: Brief, keys: Mapping[str, str]) -> bool:
        """Whether the maps of a new video are kept; those of one that they take the place of are deleted."""
        crowded = self._crowded_out(content, brief)
        if crowded is not None:
            self.store.delete("maps", [keys[crowded]])
        return crowded != content

    def _crowded_out(self, content: str, brief: Brief) -> str | None:
        """Put a video into its group; returns the content whose maps are kept no longer, if there are too many.

        Maps are kept of the first ones of a group, ordered by content: they take more room than all else that is known
        about a video, and of a large folder only a few are used.
        """
        first = self.mapped[self.firsts[content].path.parent, brief.size]
        if content not in first:
            insort(first, content)
        return first.pop() if len(first) > MOST else None

    def pooled(self, found: Analyses, usable: Mapping[str, str]) -> dict[str, str | None]:
        """By content, the packed overlay that the usable videos of a group share; None if they are too few to decide.

        `usable` has the keys of their analyses.
        """
        groups: dict[Group, list[str]] = defaultdict(list)
        for content in usable:
            groups[self.firsts[content].path.parent, found.briefs[content].size].append(content)
        # Ordered by content, so that the order on the command line does not matter.
        firsts = {group: sorted(members)[:MOST] for group, members in groups.items() if len(members) >= LEAST}
        keys = {group: key_of("pooled", *(usable[c] for c in first)) for group, first in firsts.items()}
        known = dict(self.store.get_many("pooled", keys.values()))
        self._complete([c for group, first in firsts.items() if keys[group] not in known for c in first], found)
        shared: dict[str, str | None] = {}
        for group, members in groups.items():
            value = ""
            if group in firsts:
                key, first = keys[group], [usable[c] for c in firsts[group]]
                value = (known[key] if key in known else self._pool(key, first)).decode()
            shared.update(dict.fromkeys(members, value or None))
        return shared

    def _complete(self, wanted: Sequence[str], found: Analyses) -> None:
        """Analyse those again whose maps were not kept, because others were before them in an earlier run."""
        there = set(self.store.keys("maps")) if wanted else set()
        self._analyse([c for c in wanted if found.keys[c] not in there], found, keep_maps=True)

    def _pool(self, key: str, members: Iterable[str]) -> bytes:
        maps = [self.store.get("maps", member) for member in members]
        covered = pooled_overlay(one for one in maps if one is not None)
        value = b"" if covered is None else pack(covered).encode()
        if None not in maps:  # a file may be away for a while
            self.store.put("pooled", key, value)
        return value
