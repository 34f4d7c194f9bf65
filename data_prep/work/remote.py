"""Files on remote file systems, through fsspec: found without being read, and fetched for as long as they are needed.

File systems are made by the process that uses them, and are never handed to another one: they have connections and
threads.
"""

import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from data_prep.work.locations import Location, Remote
from vidboot.data.container import UnreadableError
from vidboot.data.remote import DIGESTS, file_system, reached, version_of, words_of
from vidboot.errors import NO_ROOM

COPY = ".partial-remote-"
"""How the names of copies begin."""


def files_at(place: Remote) -> list[tuple[Remote, str | None]]:
    """The file at a URL, or all files below a folder except hidden ones, each with its folder relative to that.

    Reads no file. Raises `UserError` if there is nothing, or if it can't be reached.
    """
    with reached(place.url):
        system, root = file_system(place.url)
        system.invalidate_cache()  # of an earlier run in the same process
        about = system.info(root)
        if about["type"] != "directory":
            return [(_described(place, about), None)]
        below = {}
        for name, found in system.find(root, detail=True).items():
            inside = name.removeprefix(root).strip("/")
            if not name.endswith("/") and not any(part.startswith(".") for part in inside.split("/")):
                below[inside] = _described(place.joined(inside), found)
        return [(below[inside], inside.rpartition("/")[0] or None) for inside in sorted(below)]


def lines_of(place: Remote) -> list[str]:
    """The lines of a text file; raises `UserError` if it can't be read, and `UnicodeDecodeError`."""
    with reached(place.url):
        system, path = file_system(place.url)
        content = system.cat_file(path)
    return content.decode("utf-8-sig").splitlines()


@contextmanager
def fetched(source: Location, folder: Path) -> Iterator[Path]:
    """A file of this machine with the content of `source`: itself, or a copy in `folder` that is deleted afterwards.

    Raises `UnreadableError` if it can't be fetched now.
    """
    if isinstance(source, Path):
        yield source
        return
    # FFmpeg takes the ending for a hint. A run that is killed leaves the file, and the next one deletes it.
    handle, name = tempfile.mkstemp(source.suffix, COPY, folder)
    os.close(handle)
    try:
        _fetch(source, Path(name))
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _fetch(source: Remote, file: Path) -> None:
    try:
        system, path = file_system(source.url)
        system.get_file(path, str(file))
        system.invalidate_cache()
        now = _described(source, system.info(path))
    except Exception as error:  # each file system has errors of its own
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            raise
        raise UnreadableError(str(source), f"can't be fetched ({words_of(error)})") from None
    size = file.stat().st_size
    if now.size is not None and size != now.size:
        raise UnreadableError(str(source), f"can't be fetched (only {size} of {now.size} bytes came)")
    # A listing may say something else than what is said about a file alone.
    if now.kind == source.kind and now.content != source.content:
        raise UnreadableError(str(source), "changed while it was fetched; run the same command again")


def _described(place: Remote, about: Mapping[str, Any]) -> Remote:
    """A file with what its file system says about it."""
    digests = (*DIGESTS, "ETag") if place.url.startswith("s3") else DIGESTS  # S3's is made from the content
    size, said = about.get("size"), version_of(about, digests)
    if said is None:
        return Remote(place.url, size)
    name, value = said
    parts = [name, value, str(size)] + ([] if name in digests else [place.url])
    return Remote(place.url, size, hashlib.sha256("\0".join(parts).encode()).hexdigest(), name)
