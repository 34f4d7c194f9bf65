"""Store what is new among a run's videos, and draw those that its report shows."""

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.analysing import key_of
from data_prep.analysis_types import AnalysisRecords
from data_prep.config import Preprocess
from data_prep.jobs import StoredVideo, StoreJob
from data_prep.mask_tars import keep_masks, pack_masks
from data_prep.masking import matching
from data_prep.tasks import store_video
from data_prep.work.engine import Engine, TaskError, largest_first, with_progress
from data_prep.work.locations import Location
from data_prep.work.scan import Source
from data_prep.work.store import Store, packed, unpacked
from data_prep.work.workers import reason_of
from vidboot.data.container import UnreadableError, VideoError


@dataclass(frozen=True, slots=True)
class Plan:
    """A video to be stored, and the keys of its records."""

    path: Location
    analysis: str
    key: str
    """Key of the record of its shots and masks."""
    pooled: str | None


def plans(
    firsts: Mapping[str, Source], analyses: Mapping[str, str], pooled: Mapping[str, str | None], settings: Preprocess
) -> dict[str, Plan]:
    """By content, what is to be stored of the videos that have an analysis."""
    made = {}
    for content, analysis in analyses.items():
        path, shared = firsts[content].path, pooled[content]
        # The user's masks depend on the file's name, which records do not hold.
        own = [settings.masks[number].digest() for number in matching(settings.masks, path)]
        made[content] = Plan(path, analysis, key_of("store", analysis, str(shared), str(own)), shared)
    return made


def whole(store: Store, keys: Collection[str], output: Path) -> Iterator[str]:
    """Those of the keys whose videos are stored, and all files of which have the sizes that they had."""
    for key, value in store.get_many("files", keys):
        sizes = unpacked(value)
        if sizes is not None and _have_sizes(sizes, output):
            yield key


def _have_sizes(sizes: Mapping[str, int], output: Path) -> bool:
    try:
        return all(os.stat(f"{output}/{name}").st_size == size for name, size in sizes.items())  # noqa: PTH116
    except OSError:
        return False


_TABLES = ("stored", "files", "encoded", "pictures", "pages")


class Storer:
    """Stores videos in the output folder."""

    def __init__(self, output: Path, settings: Preprocess, store: Store, engine: Engine) -> None:
        self.output, self.settings, self.store, self.engine = output, settings, store, engine

    def run(self, plans: Mapping[str, Plan], drawn: Collection[str]) -> tuple[set[str], dict[str, str]]:
        """Store videos that are not stored yet, or no longer complete; returns which, and why others failed.

        Of those in `drawn` the report's part is made on the way, while their pictures are decoded.
        """
        done = set(whole(self.store, {plan.key for plan in plans.values()}, self.output))
        new = {content: plan for content, plan in plans.items() if plan.key not in done}
        failed = self._store(new, drawn, ("storing", _TABLES))
        pack_masks(self.store, self.output)
        return set(new), failed

    def draw(self, plans: Mapping[str, Plan]) -> dict[str, str]:
        """Make the report's part of stored videos that have none; returns why some failed."""
        keys = {plan.key: content for content, plan in plans.items()}
        there = {keys[key] for key, _ in self.store.get_many("pages", keys)}
        missing = {content: plan for content, plan in plans.items() if content not in there}
        # Shots and masks are as they were, and so are their records.
        return self._store(missing, set(missing), ("drawing", ("pictures", "pages")))

    def _store(
        self, plans: Mapping[str, Plan], drawn: Collection[str], work: tuple[str, Collection[str]]
    ) -> dict[str, str]:
        """Store videos; `work` is its name, and the tables in which its results are kept. Returns why some failed."""
        unit, tables = work
        contents = {plan.key: content for content, plan in plans.items()}
        jobs = (self.job(plan, contents[plan.key] in drawn) for plan in largest_first(plans.values()))
        failed = {}
        for ended in with_progress(self.engine, store_video, jobs, len(plans), unit):
            with self.store.together():
                for job, result in ended:
                    if isinstance(result, VideoError | TaskError):
                        failed[contents[job.key]] = reason_of(result)
                        self._forget_if_damaged(job, result)
                    else:
                        self._keep(job, result, tables)
        return failed

    def job(self, plan: Plan, drawn: bool) -> StoreJob:
        """The job that stores a video, with all that is known about it."""
        encoded = unpacked(self.store.get("encoded", plan.analysis))
        if encoded is not None and not _have_sizes(encoded["files"], self.output):
            encoded = None
        pictures = unpacked(self.store.get("pictures", plan.analysis)) if drawn else None
        found, settings = self.store.get("analyses", plan.analysis), self.settings
        return StoreJob(
            plan.path, plan.analysis, plan.key, self.output, settings, plan.pooled, found, encoded, pictures, drawn
        )

    def _keep(self, job: StoreJob, made: StoredVideo, tables: Collection[str]) -> None:
        for table, key, record in (
            ("stored", job.key, made.record),
            ("files", job.key, made.files),
            ("encoded", job.analysis, made.encoded),
            ("pictures", job.analysis, made.pictures),
            ("pages", job.key, made.page),
        ):
            if table in tables and record is not None:
                self.store.put(table, key, packed(record))
        if "stored" in tables:
            keep_masks(self.store, job.key, made.masks)

    def _forget_if_damaged(self, job: StoreJob, error: VideoError | TaskError) -> None:
        records = AnalysisRecords(self.store)
        if isinstance(error, UnreadableError) and records.usable(job.analysis) is None:
            records.forget([job.analysis])

    def pages(self, shown: Mapping[str, Plan]) -> Iterator[tuple[dict[str, Any], Location]]:
        """The report's parts of these videos, each with the video's path; all others' are deleted."""
        kept = {plan.key for plan in shown.values()}, {plan.analysis for plan in shown.values()}
        for table, keys in zip(("pages", "pictures"), kept, strict=True):
            self.store.delete(table, set(self.store.keys(table)) - keys)
        for plan in shown.values():
            if (page := unpacked(self.store.get("pages", plan.key))) is not None:
                yield page, plan.path
