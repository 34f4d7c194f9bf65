"""A copy of the manifest's shots in a few large tars, which the file system of a cluster keeps better than millions of
small files: WebDataset's layout, and a manifest that training reads like any other.

A shot is three members: `ID.mp4`, `ID.json` (its row of the manifest) and, if something is masked in it, `ID.npz`.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm

from data_prep.folder import at_work, local_folder
from data_prep.work.store import FILE_NAME as RECORDS
from vidboot.data.files import atomic_path, write_atomic
from vidboot.data.manifest import ManifestRow, count_sources, load_rows, named_files, write_manifest
from vidboot.data.members import Member, file_of, places_of, read_bytes, size_of, write_tar
from vidboot.errors import UserError

# The tars that this or an earlier call has begun, one a line.
_LIST = ".shards"


@dataclass(frozen=True)
class Shards:
    """What was copied."""

    folder: Path
    tars: int
    shots: int
    bytes: int


@dataclass(frozen=True)
class _Part:
    """A member to be: what it is read from, or its content."""

    name: str
    size: int
    source: Path | None
    content: bytes
    stamp: str
    """Changes with the content."""

    @classmethod
    def of(cls, name: str, output: Path, stored: str) -> "_Part":
        source = output / stored
        size, changed = size_of(source), Path(file_of(source)).stat().st_mtime_ns
        return cls(name, size, source, b"", f"{name} {stored} {size} {changed}")

    def read(self) -> bytes:
        """What goes into the tar. Raises `UserError` if the file is no longer as long as it was."""
        content = self.content if self.source is None else read_bytes(self.source)
        if len(content) != self.size:
            raise UserError(f"{self.source} has changed while it was copied; run the same command again")
        return content


_Sample = tuple[ManifestRow, list[_Part]]


def write_shards(output: str | Path, folder: str | Path, megabytes: float = 1000) -> Shards:
    """Copy the shots that the manifest in `output` names into tars of about so many megabytes each.

    A tar's name depends on what it holds, so that a call that was stopped goes on where it was. Tars of earlier calls
    that the new manifest does not name are deleted, after it is written.
    Raises `UserError` if there is no manifest, a run is at work on `output`, or `folder` is the output of a run.
    """
    output, folder = local_folder(output), local_folder(folder)
    if (folder / RECORDS).exists():
        raise UserError(f"--shards {folder} is an output folder of tools/preprocess.py; choose another one")
    count = sum(count_sources(output).values())
    with at_work(output):
        rows = tqdm(load_rows(output), total=count, desc="copying", unit="shot")
        write_manifest(folder, _written(rows, output, folder, megabytes * 1e6))
    tars = named_files(folder)
    _clear(folder, tars)
    return Shards(folder, len(tars), count, sum((folder / name).stat().st_size for name in tars))


def _written(rows: Iterable[ManifestRow], output: Path, folder: Path, limit: float) -> Iterator[ManifestRow]:
    """The rows with their places in the tars, which are written on the way."""
    for number, samples in enumerate(_shards(rows, output, limit)):
        yield from _write(number, samples, folder)


def _shards(rows: Iterable[ManifestRow], output: Path, limit: float) -> Iterator[list[_Sample]]:
    """The shots of each tar: as many as reach the limit, in the manifest's order."""
    samples, size = [], 0
    for row in rows:
        parts = _parts(row, output)
        samples.append((row, parts))
        size += sum(part.size for part in parts)
        if size >= limit:
            yield samples
            samples, size = [], 0
    if samples:
        yield samples


def _parts(row: ManifestRow, output: Path) -> list[_Part]:
    text = json.dumps({**row.values(), "path": None, "mask": None}, sort_keys=True).encode()
    try:
        parts = [_Part.of(f"{row.id}.mp4", output, row.path)]
        parts += [] if row.mask is None else [_Part.of(f"{row.id}.npz", output, row.mask)]
    except OSError as error:
        raise UserError(
            f"{row.path} can't be read ({error.strerror}); run tools/preprocess.py again as for this manifest, which "
            "makes what is missing, then --shards"
        ) from None
    return [*parts, _Part(f"{row.id}.json", len(text), None, text, text.decode())]


def _write(number: int, samples: list[_Sample], folder: Path) -> Iterator[ManifestRow]:
    """Write one tar, if it isn't there yet; yields its rows."""
    parts = [part for _, some in samples for part in some]
    name = f"{number:06}-{hashlib.sha256(' '.join(part.stamp for part in parts).encode()).hexdigest()[:8]}.tar"
    if not (folder / name).exists():
        write_atomic(folder / _LIST, f"{_listed(folder)}{name}\n".encode())
        with atomic_path(folder / name) as partial, partial.open("wb") as file:
            write_tar(file, ((part.name, part.read()) for part in parts))
    places = dict(zip((part.name for part in parts), places_of(part.size for part in parts), strict=True))
    for row, _ in samples:
        mask = None if row.mask is None else str(Member(name, *places[f"{row.id}.npz"]))
        yield replace(row, path=str(Member(name, *places[f"{row.id}.mp4"])), mask=mask)


def _listed(folder: Path) -> str:
    return (folder / _LIST).read_text() if (folder / _LIST).exists() else ""


def _clear(folder: Path, tars: set[str]) -> None:
    """Delete tars of earlier calls, and what calls that were killed left of others."""
    for name in set(_listed(folder).split()) - tars:
        (folder / name).unlink(missing_ok=True)
    for partial in folder.glob(".partial-*"):
        partial.unlink(missing_ok=True)
    write_atomic(folder / _LIST, "".join(f"{name}\n" for name in sorted(tars)).encode())
