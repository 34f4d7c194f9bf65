"""One preprocessing run: scan, hash, process what is new, write the manifest."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path

from data_prep.analysing import Ahead, Analyser
from data_prep.analysis_types import Brief
from data_prep.config import Preprocess
from data_prep.folder import at_work, changing
from data_prep.inputs import Inputs, check, find_inputs
from data_prep.last_run import keep_outcome, last_outcome, state_of
from data_prep.manifest_rows import Results
from data_prep.published import Output
from data_prep.report.findings import look_alikes, remarks, stage_shares
from data_prep.report.outcome import Outcome, nothing_usable
from data_prep.report.page import with_remarks, write_page
from data_prep.storing import Plan, Storer, plans
from data_prep.work.engine import Engine, make_engine
from data_prep.work.garbage import no_full_collections
from data_prep.work.locations import is_url
from data_prep.work.scan import Remark, SetAside
from data_prep.work.stopwatch import total_seconds
from data_prep.work.store import Store
from vidboot.data.manifest import FILE_NAME, count_sources, write_manifest
from vidboot.errors import UserError

# Most videos that the report page shows, its tables count all; and most lines about what is set aside.
_ON_PAGE, _LINES = 200, 1000


def preprocess(
    inputs: Sequence[str | Path], output: str | Path, settings: Preprocess, engine: str = "local"
) -> Outcome:
    """Preprocess files and folders into `output`, a folder or its URL; work of earlier runs is not repeated.

    Raises `UserError` if an input does not exist, another run uses `output`, or no shot is usable.
    """
    check(settings)
    place = Output.of(output)
    with (
        at_work(place.folder, place.fetch) as store,
        make_engine(engine, settings.workers, settings.timeout_minutes * 60) as workers,
        no_full_collections(),
    ):
        outcome = _outcome(inputs, place, settings, store, workers)
        place.publish()
        return outcome


def _outcome(
    inputs: Sequence[str | Path], place: Output, settings: Preprocess, store: Store, workers: Engine
) -> Outcome:
    found = find_inputs(inputs, place, settings, store, workers)
    state = state_of(found, settings)
    outcome = last_outcome(store, place.folder, state)
    if outcome is None:
        with changing(store, place.folder):
            outcome = _Run(found, place.folder, settings, store, workers).outcome(state)
    return replace(outcome, url=place.url)


class _Run:
    """A run that has something to make."""

    def __init__(self, found: Inputs, output: Path, settings: Preprocess, store: Store, engine: Engine) -> None:
        self.found, self.output, self.settings, self.store = found, output, settings, store
        self.firsts = found.firsts()
        # The report shows the first ones.
        drawn = set(islice(self.firsts, _ON_PAGE))
        self.analyser = Analyser(self.firsts, settings, store, engine, Ahead(output, drawn))
        self.storer = Storer(output, settings, store, engine)

    def outcome(self, state: str) -> Outcome:
        """Make all that is missing, and the manifest and the report."""
        analyses = self.analyser.run()
        said, alike = self._remarks(analyses.briefs)
        refused = analyses.refused | analyses.failed | alike
        usable = {c: analyses.keys[c] for c in self.firsts if c in analyses.briefs and c not in refused}
        # Overlays that videos share are searched for in those that are used.
        shared = self.analyser.pooled(analyses, usable)
        planned = plans(self.firsts, usable, shared, self.settings)
        stored, failed = self.storer.run(planned, list(planned)[:_ON_PAGE])
        results = Results(self.firsts, self.settings, self.store)
        said += self._write_manifest(results, planned, refused | failed)
        seconds = total_seconds([*(one.seconds for one in analyses.briefs.values()), results.seconds])
        outcome = Outcome(
            root=self.output,
            page=self.output / "report.html",
            set_aside=self.found.set_aside + results.set_aside,
            remarks=said,
            videos=len(self.found.by_content),
            new=len(analyses.new | stored),
            shots=results.shots,
            totals=list(results.totals.values()),
            frames=sum(one.frames for one in analyses.briefs.values()),
            seconds=seconds,
        )
        undrawn = self._write_report(outcome, {c: planned[c] for c in results.with_shots[:_ON_PAGE]})
        if not (analyses.failed or failed or undrawn):
            keep_outcome(self.store, outcome, state, (plan.key for plan in planned.values()))
        return outcome

    def _remarks(self, briefs: Mapping[str, Brief]) -> tuple[list[Remark], dict[str, str]]:
        """What is remarkable about the videos, and by content those that are set aside because they look alike."""
        found = [(first.path, one) for content, first in self.firsts.items() if (one := briefs.get(content))]
        said, alike = remarks(found), look_alikes(found)
        if self.settings.drop_near_duplicates:
            return said, {c: alike[self.firsts[c].path] for c in briefs if self.firsts[c].path in alike}
        return said + [Remark(path, sentence) for path, sentence in alike.items()], {}

    def _write_manifest(
        self, results: Results, planned: Mapping[str, Plan], refused: Mapping[str, str]
    ) -> list[Remark]:
        """Write the manifest; a remark if it loses shots."""
        rows = results.rows({content: plan.key for content, plan in planned.items()}, refused)
        first = next(rows, None)
        if first is None:  # keep the manifest of an earlier run
            raise UserError(nothing_usable(self.found.set_aside + results.set_aside))
        lost = _dropped(self.output, (str(one.path) for group in self.found.by_content.values() for one in group))
        write_manifest(self.output, chain([first], rows))
        return lost

    def _write_report(self, outcome: Outcome, shown: Mapping[str, Plan]) -> dict[str, str]:
        """Write the report; returns, by content, why videos are not in it, which is tried again by the next run."""
        undrawn = self.storer.draw(shown)
        blocks = with_remarks(self.storer.pages(shown), outcome.remarks)
        totals = [(total.view, total.verdict, total.shots, total.seconds / 3600) for total in outcome.totals]
        stages = stage_shares(outcome.seconds, outcome.frames)
        listed = outcome.set_aside[:_LINES]
        if left := len(outcome.set_aside) - len(listed):
            listed.append(SetAside(f"and {left} more", "not listed, because the page would get too large"))
        write_page(outcome.page, blocks, self.settings, listed, totals, stages)
        return undrawn


def _dropped(output: Path, given: Iterable[str]) -> list[Remark]:
    """A remark if the manifest loses the shots of an earlier run's videos, because they were not given this time."""
    try:
        before = count_sources(output)
    except UserError:  # none, or another version's
        return []
    known = set(given)
    gone = {
        source: count
        for source, count in before.items()
        if source not in known and (is_url(source) or Path(source).exists())
    }
    if not gone:
        return []
    said = f"no longer has the {sum(gone.values())} shots of {len(gone)} earlier videos that were not given this time"
    return [Remark(output / FILE_NAME, said)]
