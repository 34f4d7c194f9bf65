"""One preprocessing run: scan, hash, work on what is new, write the manifest."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from tqdm import tqdm

from data_prep.config import Preprocess
from data_prep.engine import LocalEngine, TaskError
from data_prep.hashes import HashCache
from data_prep.records import RECORD_VERSION, Records
from data_prep.scan import SetAside, Source, scan
from data_prep.tasks import HashJob, VideoJob, hash_file, process_video
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
            return _run(sources, set_aside, output, settings)
    except Timeout:
        raise UserError(f"another run is at work on {output}; wait for it or choose another --output") from None


def _run(sources: list[Source], set_aside: list[SetAside], output: Path, settings: Preprocess) -> Outcome:
    engine = LocalEngine(settings.workers, settings.timeout_minutes * 60)
    by_content, unreadable = _by_content(sources, HashCache(output / "records" / "hashes.json"), engine)
    set_aside += unreadable
    set_aside += [
        SetAside(str(twin.path), f"the same file as {first.path}")
        for first, *twins in by_content.values()
        for twin in twins
    ]
    records = Records(output / "records")
    keys = {content: _key(content, settings) for content in by_content}
    jobs = [
        VideoJob(by_content[content][0].path, key, output, settings)
        for content, key in keys.items()
        if records.get(key) is None
    ]
    for job, result in _with_progress(engine, process_video, jobs, "videos"):
        if isinstance(result, TaskError):
            records.put(job.key, {"refused": str(result)})
    rows = []
    for content, key in sorted(keys.items(), key=lambda item: str(by_content[item[0]][0].path)):
        made, left = _rows(by_content[content][0], content, records.get(key) or {}, settings)
        rows += made
        set_aside += left
    write_manifest(output, rows)
    if not rows:
        raise UserError(_nothing_usable(set_aside))
    return Outcome(load_manifest(output), set_aside, len(by_content), len(jobs))


def _by_content(
    sources: list[Source], cache: HashCache, engine: LocalEngine
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


def _with_progress(engine: LocalEngine, task: Callable[[Any], Any], jobs: Sequence[Any], unit: str) -> Any:
    return tqdm(engine.run(task, jobs), total=len(jobs), desc=unit, unit="file", disable=not jobs)


def _key(content: str, settings: Preprocess) -> str:
    return hashlib.sha256(f"{RECORD_VERSION} {content} {settings.digest()}".encode()).hexdigest()


def _rows(
    source: Source, content: str, record: dict[str, Any], settings: Preprocess
) -> tuple[list[dict[str, Any]], list[SetAside]]:
    if record.get("refused") is not None:
        return [], [SetAside(str(source.path), record["refused"])]
    rows = [_row(source, content, shot, settings) for shot in record["shots"]]
    needed = settings.views.clip_frames
    set_aside = [
        SetAside(f"{source.path} frames {start} to {end}", f"too short (a clip needs {needed} frames)")
        for start, end in record["too_short"]
    ]
    return rows, set_aside


def _row(source: Source, content: str, shot: dict[str, Any], settings: Preprocess) -> dict[str, Any]:
    frames = shot["end"] - shot["start"]
    identity = [content, shot["start"], shot["end"], shot["crop"], settings.height, settings.width]
    return {
        **shot,
        "id": hashlib.sha256(repr(identity).encode()).hexdigest()[:16],
        "source": str(source.path),
        "num_frames": frames,
        "height": settings.height,
        "width": settings.width,
        "views": ["full", "clip", "low_res"] if frames >= settings.views.full_frames else ["clip"],
        "verdict": "clean",
        "mask": None,
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
