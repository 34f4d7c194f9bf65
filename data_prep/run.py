"""One preprocessing run: scan, hash, work on what is new, write the manifest."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from tqdm import tqdm

from data_prep.analysis import pack
from data_prep.config import Preprocess
from data_prep.engine import Engine, LocalEngine, TaskError
from data_prep.hashes import HashCache
from data_prep.pooling import pooled_overlay
from data_prep.records import RECORD_VERSION, Records
from data_prep.scan import SetAside, Source, scan
from data_prep.tasks import AnalyseJob, HashJob, StoreJob, analyse_video, hash_file, store_video
from vidboot.data.manifest import Manifest, load_manifest, write_manifest
from vidboot.data.video import VideoError
from vidboot.errors import UserError


@dataclass(frozen=True)
class Outcome:
    """What a run made: the manifest, what was set aside, and how many videos were new to it."""

    manifest: Manifest
    set_aside: list[SetAside]
    videos: int
    new: int


def preprocess(inputs: Sequence[str | Path], output: str | Path, settings: Preprocess) -> Outcome:
    """Preprocess files and folders into `output`; what is done already is not done again.

    Raises `UserError` if an input does not exist, another run is at work on `output`, or nothing usable was found.
    """
    output = Path(output).resolve()
    sources, set_aside = scan(inputs)
    output.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(output / ".lock", timeout=0):
            _remove_partial_files(output)
            with LocalEngine(settings.workers, settings.timeout_minutes * 60) as engine:
                return _run(sources, set_aside, output, settings, engine)
    except Timeout:
        raise UserError(f"another run is at work on {output}; wait for it or choose another --output") from None


def _run(
    sources: list[Source], set_aside: list[SetAside], output: Path, settings: Preprocess, engine: Engine
) -> Outcome:
    by_content, unreadable = _by_content(sources, HashCache(output / "records" / "hashes.json"), engine)
    set_aside += unreadable
    set_aside += [
        SetAside(str(twin.path), f"the same file as {first.path}")
        for first, *twins in by_content.values()
        for twin in twins
    ]
    firsts = {content: group[0] for content, group in by_content.items()}
    refused, analyses, worked = _analyse(firsts, output, settings, engine)
    keys, stored = _store(firsts, analyses, output, settings, engine)
    rows = []
    for content, source in sorted(firsts.items(), key=lambda item: str(item[1].path)):
        if content in refused:
            set_aside.append(SetAside(str(source.path), refused[content]))
            continue
        made, left = _rows(source, content, Records(output / "records").get(keys[content]) or {}, settings)
        rows += made
        set_aside += left
    write_manifest(output, rows)
    if not rows:
        raise UserError(_nothing_usable(set_aside))
    return Outcome(load_manifest(output), set_aside, len(by_content), len(worked | stored))


def _analyse(
    firsts: dict[str, Source], output: Path, settings: Preprocess, engine: Engine
) -> tuple[dict[str, str], dict[str, str], set[str]]:
    """Reasons of what can't be used, keys of the analyses of the rest, both by content; and what was new."""
    records = Records(output / "analysis")
    keys = {content: _key("analysis", content, settings.digest()) for content in firsts}
    jobs = {c: AnalyseJob(s.path, keys[c], output, settings) for c, s in firsts.items() if records.get(keys[c]) is None}
    for job, result in _with_progress(engine, analyse_video, list(jobs.values()), "analysing"):
        if isinstance(result, TaskError):
            records.put(job.key, {"refused": str(result)})
    refused = {c: reason for c in firsts if (reason := (records.get(keys[c]) or {}).get("refused")) is not None}
    return refused, {c: key for c, key in keys.items() if c not in refused}, set(jobs)


def _store(
    firsts: dict[str, Source], analyses: dict[str, str], output: Path, settings: Preprocess, engine: Engine
) -> tuple[dict[str, str], set[str]]:
    """Keys of the stored videos by content, and what was new."""
    pooled = _pooled(firsts, analyses, output)
    records = Records(output / "records")
    keys = {c: _key("store", analysis, str(pooled[c])) for c, analysis in analyses.items()}
    jobs = {
        c: StoreJob(firsts[c].path, analyses[c], key, output, settings, pooled[c])
        for c, key in keys.items()
        if records.get(key) is None
    }
    for job, result in _with_progress(engine, store_video, list(jobs.values()), "storing"):
        if isinstance(result, TaskError):
            records.put(job.key, {"refused": str(result)})
    return keys, set(jobs)


def _pooled(firsts: dict[str, Source], analyses: dict[str, str], output: Path) -> dict[str, str | None]:
    """For each video what the videos of its folder and size share, packed; None where they are too few to tell."""
    groups: dict[tuple, list[str]] = {}
    for content, key in analyses.items():
        size = tuple((Records(output / "analysis").get(key) or {})["size"])
        groups.setdefault((firsts[content].path.parent, size), []).append(content)
    shared: dict[str, str | None] = {}
    for members in groups.values():
        # By content, so that the order of the command line does not matter.
        covered = pooled_overlay([output / "analysis" / f"{analyses[c]}.npz" for c in sorted(members)])
        shared.update(dict.fromkeys(members, None if covered is None else pack(covered)))
    return shared


def _by_content(
    sources: list[Source], cache: HashCache, engine: Engine
) -> tuple[dict[str, list[Source]], list[SetAside]]:
    """Sources with the same bytes together, first by path in front; and those that can't be read."""
    hashes = {source.path: cache.get(source.path) for source in sources}
    jobs = [HashJob(path) for path, known in hashes.items() if known is None]
    unreadable = []
    for job, result in _with_progress(engine, hash_file, jobs, "reading"):
        if isinstance(result, VideoError | TaskError):
            unreadable.append(SetAside(str(job.path), getattr(result, "reason", str(result))))
        else:
            hashes[job.path] = result
            cache.put(job.path, result)
    cache.save()
    groups: dict[str, list[Source]] = {}
    for source in sources:
        digest = hashes[source.path]
        if digest is not None:
            groups.setdefault(digest, []).append(source)
    return groups, unreadable


def _with_progress(engine: Engine, task: Callable[[Any], Any], jobs: Sequence[Any], unit: str) -> Any:
    return tqdm(engine.run(task, jobs), total=len(jobs), desc=unit, unit="file", disable=not jobs)


def _key(kind: str, *parts: str) -> str:
    return hashlib.sha256(" ".join([str(RECORD_VERSION), kind, *parts]).encode()).hexdigest()


def _rows(
    source: Source, content: str, record: dict[str, Any], settings: Preprocess
) -> tuple[list[dict[str, Any]], list[SetAside]]:
    if record.get("refused") is not None:
        return [], [SetAside(str(source.path), record["refused"])]
    rows = [_row(source, content, shot, settings) for shot in record["shots"]]
    left = [SetAside(f"{source.path} frames {start} to {end}", why) for start, end, why in record["set_aside"]]
    return rows, left


def _row(source: Source, content: str, shot: dict[str, Any], settings: Preprocess) -> dict[str, Any]:
    identity = [content, shot["start"], shot["end"], shot["crop"], settings.height, settings.width]
    return {
        **shot,
        "id": hashlib.sha256(repr(identity).encode()).hexdigest()[:16],
        "source": str(source.path),
        "num_frames": shot["end"] - shot["start"],
        "height": settings.height,
        "width": settings.width,
        "label": source.label,
    }


def _remove_partial_files(output: Path) -> None:
    """Left by a run that was killed: nobody will finish them."""
    for path in output.rglob(".partial-*"):
        path.unlink(missing_ok=True)


def _nothing_usable(set_aside: list[SetAside]) -> str:
    reasons = "\n".join(f"  {item.what}: {item.reason}" for item in set_aside[:20])
    more = f"\n  and {len(set_aside) - 20} more" if len(set_aside) > 20 else ""
    return (
        f"no usable shot in the inputs\n{reasons}{more}\n"
        "give other files, or lower views.clip_frames if the shots are too short"
    )
