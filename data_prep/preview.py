"""A report about a few videos, of which nothing but the analysis is stored."""

from collections.abc import Sequence
from pathlib import Path

from data_prep.analysing import Ahead, Analyser
from data_prep.config import Preprocess
from data_prep.folder import at_work
from data_prep.inputs import check, find_inputs
from data_prep.published import Output
from data_prep.report.findings import look_alikes, remarks, stage_shares
from data_prep.report.outcome import nothing_usable
from data_prep.report.page import with_remarks, write_page
from data_prep.storing import Storer, plans
from data_prep.tasks import preview_video
from data_prep.work.engine import TaskError, make_engine, with_progress
from data_prep.work.scan import Remark, SetAside
from data_prep.work.stopwatch import total_seconds
from data_prep.work.workers import reason_of
from vidboot.data.video import VideoError
from vidboot.errors import UserError


def preview(inputs: Sequence[str | Path], output: str | Path, settings: Preprocess, count: int) -> Path:
    """Write a report page about the first `count` videos to `output`; only their analyses are stored besides.

    Raises `UserError` like `preprocess`.
    """
    check(settings)
    place = Output.of(output)
    output = place.folder
    with (
        at_work(output, place.fetch) as store,
        make_engine("local", settings.workers, settings.timeout_minutes * 60) as workers,
    ):
        found = find_inputs(inputs, place, settings, store, workers)
        firsts = found.firsts(count)
        analyser = Analyser(firsts, settings, store, workers, Ahead(output, set(firsts), stores=False))
        analyses = analyser.run()
        refused = analyses.refused | analyses.failed
        found.set_aside.extend(SetAside(str(firsts[content].path), reason) for content, reason in refused.items())
        usable = {c: analyses.keys[c] for c in firsts if c in analyses.briefs}
        planned = plans(firsts, usable, analyser.pooled(analyses, usable), settings)
        storer, blocks = Storer(output, settings, store, workers), {}
        jobs = (storer.job(plan, drawn=True) for plan in planned.values())
        for ended in with_progress(workers, preview_video, jobs, len(planned), "drawing"):
            for job, result in ended:
                if isinstance(result, VideoError | TaskError):
                    found.set_aside.append(SetAside(str(job.path), reason_of(result)))
                else:
                    blocks[job.path] = result
        if not blocks:
            raise UserError(nothing_usable(found.set_aside))
        briefs = [(first.path, analyses.briefs[content]) for content, first in firsts.items() if content in usable]
        said = remarks(briefs) + [Remark(path, sentence) for path, sentence in look_alikes(briefs).items()]
        shown = with_remarks(((blocks[path], path) for path in sorted(blocks, key=str)), said)
        seconds = total_seconds(one.seconds for _, one in briefs)
        page, frames = output / "preview.html", sum(one.frames for _, one in briefs)
        write_page(page, shown, settings, found.set_aside, stages=stage_shares(seconds, frames))
        return page
