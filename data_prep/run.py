"""One preprocessing run: scan, hash, process what is new, write the manifest."""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from data_prep.analysis_types import Analysis, AnalysisRecords, pack
from data_prep.config import Preprocess
from data_prep.manifest_rows import results
from data_prep.masking import matching
from data_prep.overlays.pooling import pooled_overlay
from data_prep.report.edits import pattern_of
from data_prep.report.findings import brief, hours_of, look_alikes, remarks, stage_shares
from data_prep.report.outcome import Outcome, nothing_usable
from data_prep.report.page import write_page
from data_prep.tasks import AnalyseJob, HashJob, StoreJob, analyse_video, hash_file, preview_video, store_video
from data_prep.text.model import model_for
from data_prep.work.engine import Engine, TaskError, largest_first, make_engine, with_progress
from data_prep.work.hashes import HashCache
from data_prep.work.records import RECORD_VERSION, Records
from data_prep.work.scan import Remark, SetAside, Source, scan
from data_prep.work.stopwatch import total_seconds
from data_prep.work.workers import reason_of
from vidboot.data.manifest import FILE_NAME, VERDICTS, VIEWS, load_manifest, write_manifest
from vidboot.data.video import VideoError
from vidboot.errors import UserError
from vidboot.settings import home

# Most videos that the report page shows; its tables count all.
_ON_PAGE = 200
# Folders of the files that runs write, named by 20 letters of a hash, and those of records, named by all 64.
_FOLDERS, _RECORDS = ("shots", "masks"), ("analysis", "encoded", "pages", "records")
_HASH, _RECORD = re.compile("[0-9a-f]{20}"), re.compile(r"([0-9a-f]{64}|hashes)\.(json|npz)")


def preprocess(
    inputs: Sequence[str | Path], output: str | Path, settings: Preprocess, engine: str = "local"
) -> Outcome:
    """Preprocess files and folders into `output`; work of earlier runs is not repeated.

    Raises `UserError` if an input does not exist, another run uses `output`, or no shot is usable.
    """
    _check(settings)
    output = home(Path(output)).resolve()
    with _at_work(output), make_engine(engine, settings.workers, settings.timeout_minutes * 60) as workers:
        by_content, set_aside = _scan(inputs, output, workers, settings)
        firsts = _firsts(by_content)
        refused, analyses, analysed = _analyse(firsts, output, settings, workers)
        briefs = _briefs(firsts, analyses, output)
        said, alike = remarks(briefs), look_alikes(briefs)
        if settings.drop_near_duplicates:
            refused |= {c: alike[firsts[c].path] for c in analyses if firsts[c].path in alike}
            analyses = {c: key for c, key in analyses.items() if c not in refused}
        else:
            said += [Remark(path, sentence) for path, sentence in alike.items()]
        jobs = _store_jobs(firsts, analyses, output, settings)
        stored, failed = _store(jobs, output, workers)
        refused |= failed
        rows, left, stored_seconds = results(firsts, jobs, refused, output, settings)
        set_aside += left
        if not rows:  # keep the manifest of an earlier run
            raise UserError(nothing_usable(set_aside))
        said += _dropped(output, {str(source.path) for group in by_content.values() for source in group})
        write_manifest(output, rows)
        manifest = load_manifest(output)
        frames = sum(one.frames for one in briefs.values())
        seconds = total_seconds([*(one.seconds for one in briefs.values()), stored_seconds])
        page, new = output / "report.html", len(analysed | stored)
        outcome = Outcome(manifest, page, set_aside, said, len(by_content), new, frames, seconds)
        _write_report(outcome, [jobs[c] for c in firsts if c in jobs and c not in refused], settings)
        return outcome


def preview(inputs: Sequence[str | Path], output: str | Path, settings: Preprocess, count: int) -> Path:
    """Write a report page about the first `count` videos to `output`; only their analyses are stored besides.

    Raises `UserError` like `preprocess`.
    """
    _check(settings)
    output = home(Path(output)).resolve()
    with _at_work(output), make_engine("local", settings.workers, settings.timeout_minutes * 60) as workers:
        by_content, set_aside = _scan(inputs, output, workers, settings)
        firsts = _firsts(by_content, count)
        refused, analyses, _ = _analyse(firsts, output, settings, workers)
        briefs = _briefs(firsts, analyses, output)
        alike = [Remark(path, sentence) for path, sentence in look_alikes(briefs).items()]
        set_aside += [SetAside(str(firsts[content].path), reason) for content, reason in refused.items()]
        jobs = _store_jobs(firsts, analyses, output, settings)
        blocks = {}
        for job, result in with_progress(workers, preview_video, list(jobs.values()), "drawing"):
            if isinstance(result, VideoError | TaskError):
                set_aside.append(SetAside(str(job.path), reason_of(result)))
            else:
                blocks[job.path] = result
        if not blocks:
            raise UserError(nothing_usable(set_aside))
        page, said = output / "preview.html", remarks(briefs) + alike
        shown = [_with_remarks(blocks[path], path, said) for path in sorted(blocks)]
        stages = stage_shares(
            total_seconds(one.seconds for one in briefs.values()), sum(one.frames for one in briefs.values())
        )
        write_page(page, shown, settings, set_aside, stages=stages)
        return page


def _check(settings: Preprocess) -> None:
    """Raise `UserError` if the settings name something missing."""
    model_for(settings.text)
    for mask in settings.masks:
        mask.digest()


@contextmanager
def _at_work(output: Path) -> Iterator[None]:
    """Lock `output` against other runs, and delete partial files of runs that were killed."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        (output / ".lock").touch()
    except OSError as error:
        raise UserError(f"can't write to {output} ({error.strerror}); choose another --output") from None
    try:
        with FileLock(output / ".lock", timeout=0):
            for partial in output.rglob(".partial-*"):
                partial.unlink(missing_ok=True)
            yield
    except Timeout:
        raise UserError(f"another run is at work on {output}; wait for it or choose another --output") from None


def _scan(
    inputs: Sequence[str | Path], output: Path, engine: Engine, settings: Preprocess
) -> tuple[dict[str, list[Source]], list[SetAside]]:
    """The inputs by content, and what is set aside: unreadable files, copies, masks that match no file."""
    sources, set_aside = scan(inputs, _made(output))
    used = {number for source in sources for number in matching(settings.masks, source.path)}
    unused = ((n, mask.source) for n, mask in enumerate(settings.masks) if n not in used)
    set_aside += [SetAside(f"masks.{number} for {pattern}", "fits none of the files") for number, pattern in unused]
    by_content, unreadable = _by_content(sources, HashCache(output / "records" / "hashes.json"), engine)
    set_aside += unreadable
    for first, *twins in by_content.values():
        set_aside += [SetAside(str(twin.path), f"the same file as {first.path}") for twin in twins]
    return by_content, set_aside


def _made(output: Path) -> list[Path]:
    """What runs wrote into the output folder, which may be inside an input folder.

    A folder of the user's own may have the same name: then it is only what lies in it beside the user's files.
    """
    made = [output / name for name in (FILE_NAME, "report.html", "preview.html", ".lock")]
    for names, pattern in ((_FOLDERS, _HASH), (_RECORDS, _RECORD)):
        for folder in (output / name for name in names):
            inside = list(folder.iterdir()) if folder.is_dir() else []
            own = [path for path in inside if pattern.fullmatch(path.name)]
            made += [folder] if len(own) == len(inside) else own
    return made


def _dropped(output: Path, given: set[str]) -> list[Remark]:
    """A remark if the manifest loses the shots of an earlier run's videos, because they were not given this time."""
    try:
        before = Counter(str(shot.source) for shot in load_manifest(output))
    except UserError:  # none, or another version's
        return []
    gone = {source: count for source, count in before.items() if source not in given and Path(source).exists()}
    if not gone:
        return []
    said = f"no longer has the {sum(gone.values())} shots of {len(gone)} earlier videos that were not given this time"
    return [Remark(output / FILE_NAME, said)]


def _firsts(by_content: dict[str, list[Source]], count: int | None = None) -> dict[str, Source]:
    """The first file of each content, ordered by path; only the first `count` of them."""
    firsts = [(content, group[0]) for content, group in by_content.items()]
    return dict(sorted(firsts, key=lambda item: str(item[1].path))[:count])


def _analyse(
    firsts: dict[str, Source], output: Path, settings: Preprocess, engine: Engine
) -> tuple[dict[str, str], dict[str, str], set[str]]:
    """By content: why videos can't be used, and the keys of the others' analyses; and the contents that were new."""
    records = AnalysisRecords(output)
    digest = settings.digest(model_for(settings.text) is not None)
    keys = {content: _key("analysis", content, digest) for content in firsts}
    jobs = {c: AnalyseJob(s.path, keys[c], output, settings) for c, s in firsts.items() if records.get(keys[c]) is None}
    failed = _failures(engine, analyse_video, jobs, "analysing")
    refused = {c: reason for c in firsts if isinstance(reason := records.get(keys[c]), str)}
    refused |= failed
    return refused, {c: key for c, key in keys.items() if c not in refused}, set(jobs)


def _store_jobs(
    firsts: dict[str, Source], analyses: dict[str, str], output: Path, settings: Preprocess
) -> dict[str, StoreJob]:
    """By content, the job that stores each video."""
    pooled = _pooled(firsts, analyses, output)
    jobs = {}
    for c, key in analyses.items():
        path, shared = firsts[c].path, pooled[c]
        # The user's masks depend on the file's name, which records do not hold.
        own = [settings.masks[number].digest() for number in matching(settings.masks, path)]
        store_key = _key("store", key, str(shared), str(own))
        jobs[c] = StoreJob(path, key, store_key, output, settings, shared)
    return jobs


def _store(jobs: dict[str, StoreJob], output: Path, engine: Engine) -> tuple[set[str], dict[str, str]]:
    """Store videos that are not stored yet, or no longer complete; returns which, and why jobs failed."""
    records = Records(output / "records")
    new = {content: job for content, job in jobs.items() if not records.has_whole(job.key, output)}
    return set(new), _failures(engine, store_video, new, "storing")


def _failures(engine: Engine, task: Callable[[Any], Any], jobs: dict[str, Any], unit: str) -> dict[str, str]:
    """Run a task for each job; returns, by content, why jobs failed.

    A worker that died, a time limit and a missing disk leave no record, so that the next run tries again.
    """
    contents = {job.key: content for content, job in jobs.items()}
    results = with_progress(engine, task, largest_first(jobs.values()), unit)
    failed = ((job, result) for job, result in results if isinstance(result, VideoError | TaskError))
    return {contents[job.key]: reason_of(result) for job, result in failed}


def _pooled(firsts: dict[str, Source], analyses: dict[str, str], output: Path) -> dict[str, str | None]:
    """By content, the packed overlay that the videos of a folder and size share; None if they are too few to decide."""
    records = AnalysisRecords(output)
    groups: dict[tuple, list[str]] = {}
    for content, key in analyses.items():
        if (analysis := records.usable(key)) is not None:
            groups.setdefault((firsts[content].path.parent, analysis.size), []).append(content)
    shared: dict[str, str | None] = dict.fromkeys(analyses)
    for members in groups.values():
        # Ordered by content, so that the order on the command line does not matter.
        covered = pooled_overlay([records.maps_file(analyses[c]) for c in sorted(members)])
        shared.update(dict.fromkeys(members, None if covered is None else pack(covered)))
    return shared


def _by_content(
    sources: list[Source], cache: HashCache, engine: Engine
) -> tuple[dict[str, list[Source]], list[SetAside]]:
    """Files grouped by content, each group ordered by path; and those that can't be read."""
    hashes = {source.path: cache.get(source.path) for source in sources}
    jobs = [HashJob(path) for path, known in hashes.items() if known is None]
    unreadable = []
    for job, result in with_progress(engine, hash_file, jobs, "reading"):
        if isinstance(result, VideoError | TaskError):
            unreadable.append(SetAside(str(job.path), reason_of(result)))
        else:
            hashes[job.path] = result[-1]
            cache.put(job.path, result)
    cache.save()
    groups: dict[str, list[Source]] = {}
    for source in sources:
        if (digest := hashes[source.path]) is not None:
            groups.setdefault(digest, []).append(source)
    return groups, unreadable


def _key(kind: str, *parts: str) -> str:
    return hashlib.sha256(" ".join([str(RECORD_VERSION), kind, *parts]).encode()).hexdigest()


def _briefs(firsts: dict[str, Source], analyses: dict[str, str], output: Path) -> dict[Path, Analysis]:
    """By path, the parts of the analyses that the run as a whole needs."""
    records = AnalysisRecords(output)
    every = ((firsts[content].path, records.usable(key)) for content, key in analyses.items())
    return {path: brief(analysis) for path, analysis in every if analysis is not None}


def _write_report(outcome: Outcome, jobs: list[StoreJob], settings: Preprocess) -> None:
    pages, manifest = Records(outcome.manifest.root / "pages"), outcome.manifest
    blocks = ((block, job.path) for job in jobs if (block := pages.get(job.key)) is not None)
    shown = [_with_remarks(*each, outcome.remarks) for each in islice(blocks, _ON_PAGE)]
    totals = []
    for view in VIEWS:
        for said in VERDICTS:
            shots = [shot for shot in manifest.supplying(view) if shot.verdict == said]
            totals.append((view, said, len(shots), hours_of(shots)))
    stages = stage_shares(outcome.seconds, outcome.frames)
    write_page(outcome.page, shown, settings, outcome.set_aside, totals, stages)


def _with_remarks(block: dict[str, Any], path: Path, said: list[Remark]) -> dict[str, Any]:
    mine = [remark for remark in said if remark.path == path]
    sentences = [f"frames {r.frames[0]} to {r.frames[1]}: {r.text}" if r.frames else r.text for r in mine]
    # The file may have been renamed since it was stored.
    return {**block, "name": path.name, "pattern": pattern_of(path), "remarks": sentences}
