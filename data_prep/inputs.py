"""The input files of a run: found, hashed, and grouped by content."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data_prep.config import Preprocess
from data_prep.jobs import HashJob
from data_prep.masking import matching
from data_prep.published import Output
from data_prep.tasks import hash_file
from data_prep.text.model import model_for
from data_prep.work.engine import Engine, TaskError, with_progress
from data_prep.work.hashes import keep_hash, known_hashes
from data_prep.work.scan import SetAside, Source, scan
from data_prep.work.store import FILE_NAMES, Store
from data_prep.work.workers import reason_of
from vidboot.data.manifest import FILE_NAME
from vidboot.data.video import VideoError

# Folders of what runs write, named by 20 letters of a hash, in folders named by the first two; and folders of records
# that earlier versions wrote, named by all 64.
_FOLDERS, OLD_FOLDERS = ("shots", "masks"), ("analysis", "encoded", "pages", "records")
_HASH, OLD_RECORD = re.compile(r"[0-9a-f]{20}(\.tar)?"), re.compile(r"([0-9a-f]{64}|hashes)\.(json|npz)")
_BEGINNING = re.compile("[0-9a-f]{2}")


@dataclass(frozen=True)
class Inputs:
    """The input files by content, each group ordered by path; and what is set aside."""

    by_content: dict[str, list[Source]]
    set_aside: list[SetAside]

    def firsts(self, count: int | None = None) -> dict[str, Source]:
        """The first file of each content, ordered by path; only the first `count` of them."""
        firsts = [(content, group[0]) for content, group in self.by_content.items()]
        return dict(sorted(firsts, key=lambda item: str(item[1].path))[:count])


def check(settings: Preprocess) -> None:
    """Raise `UserError` if the settings name something missing."""
    model_for(settings.text)
    for mask in settings.masks:
        mask.digest()


def find_inputs(
    inputs: Sequence[str | Path], place: Output, settings: Preprocess, store: Store, engine: Engine
) -> Inputs:
    """All inputs; set aside are unreadable files, copies, and masks that match no file."""
    sources, set_aside = scan(inputs, _made(place.folder), place.url)
    used = {number for source in sources for number in matching(settings.masks, source.path)}
    unused = ((n, mask.source) for n, mask in enumerate(settings.masks) if n not in used)
    set_aside += [SetAside(f"masks.{number} for {pattern}", "fits none of the files") for number, pattern in unused]
    by_content, unreadable = _by_content(sources, place.folder, store, engine)
    set_aside += unreadable
    for first, *twins in by_content.values():
        set_aside += [SetAside(str(twin.path), f"the same file as {first.path}") for twin in twins]
    return Inputs(by_content, set_aside)


def _made(output: Path) -> list[Path]:
    """What runs wrote into the output folder, which may be inside an input folder.

    A folder of the user's own may have the same name: then it is only what lies in it beside the user's files.
    """
    made = [output / name for name in (FILE_NAME, "report.html", "preview.html", ".lock", *FILE_NAMES)]
    return (
        made
        + [path for name in _FOLDERS for path in _own(output / name, _HASH)]
        + [path for name in OLD_FOLDERS for path in _own(output / name, OLD_RECORD)]
    )


def _own(folder: Path, pattern: re.Pattern[str]) -> list[Path]:
    """What runs wrote into a folder of theirs: the folder itself, or all but what is the user's."""
    if not folder.is_dir():
        return []
    own, inside = [], list(folder.iterdir())
    for path in inside:
        if pattern.fullmatch(path.name):
            own.append(path)
        elif _BEGINNING.fullmatch(path.name):
            own += _own(path, pattern)
    return [folder] if own == inside else own


def _by_content(
    sources: list[Source], output: Path, store: Store, engine: Engine
) -> tuple[dict[str, list[Source]], list[SetAside]]:
    """Files grouped by content, each group ordered by path; and those that can't be read."""
    hashes = known_hashes(store, (source.path for source in sources))
    paths = [source.path for source in sources if source.path not in hashes]
    unreadable = {}
    for ended in with_progress(engine, hash_file, (HashJob(path, output) for path in paths), len(paths), "reading"):
        with store.together():
            for job, result in ended:
                if isinstance(result, VideoError | TaskError):
                    unreadable[job.path] = SetAside(str(job.path), reason_of(result))
                else:
                    hashes[job.path] = result[-1]
                    keep_hash(store, job.path, result)
    groups: dict[str, list[Source]] = {}
    for source in sources:
        if (digest := hashes.get(source.path)) is not None:
            groups.setdefault(digest, []).append(source)
    # In the order of the sources, not in that in which reading ended, so that equal inputs give equal results.
    return groups, [unreadable[path] for path in paths if path in unreadable]
