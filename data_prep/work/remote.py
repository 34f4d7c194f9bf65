"""Files on remote file systems, through fsspec: found without being read, and fetched for as long as they are needed.

File systems are made by the process that uses them, and are never handed to another one: they have connections and
threads.
"""

import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from data_prep.work.locations import Location, Remote
from data_prep.work.workers import NO_ROOM
from vidboot.data.container import UnreadableError
from vidboot.errors import UserError

# What file systems call a hash of a file's content: equal files have equal ones, wherever they lie.
_DIGESTS = ("sha256", "md5", "md5Hash", "content_md5", "Content-MD5", "content_hash", "blob_id")
# And what changes whenever a file is written, but says nothing about two files.
_VERSIONS = (
    "ETag", "etag", "LastModified", "last_modified", "Last-Modified", "mtime", "updated", "modified",
    "modificationTime", "created",
)  # fmt: skip
COPY = ".partial-remote-"
"""How the names of copies begin."""
# A web server's answer for what isn't there.
_GONE = 404
# Seconds without a byte after which a web server is given up. By default, aiohttp gives up any file after five minutes.
_SILENT = 60


def files_at(place: Remote) -> list[tuple[Remote, str | None]]:
    """The file at a URL, or all files below a folder except hidden ones, each with its folder relative to that.

    Reads no file. Raises `UserError` if there is nothing, or if it can't be reached.
    """
    with _reached(place):
        system, root = _file_system(place)
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
    with _reached(place):
        system, path = _file_system(place)
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
        system, path = _file_system(source)
        system.get_file(path, str(file))
        system.invalidate_cache()
        now = _described(source, system.info(path))
    except Exception as error:  # each file system has errors of its own
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            raise
        raise UnreadableError(str(source), f"can't be fetched ({_words(error)})") from None
    size = file.stat().st_size
    if now.size is not None and size != now.size:
        raise UnreadableError(str(source), f"can't be fetched (only {size} of {now.size} bytes came)")
    # A listing may say something else than what is said about a file alone.
    if now.kind == source.kind and now.content != source.content:
        raise UnreadableError(str(source), "changed while it was fetched; run the same command again")


def _file_system(place: Remote) -> tuple[Any, str]:
    """The file system of a URL, and the path there."""
    import fsspec

    options = {}
    if place.url.lower().startswith("http"):
        import aiohttp

        options = {"client_kwargs": {"timeout": aiohttp.ClientTimeout(total=None, sock_read=_SILENT)}}
    system, path = fsspec.core.url_to_fs(place.url, **options)
    return system, path


def _described(place: Remote, about: Mapping[str, Any]) -> Remote:
    """A file with what its file system says about it."""
    names = (*_DIGESTS, "ETag") if place.url.startswith("s3") else _DIGESTS  # S3's is made from the content
    said = next(((name, about[name]) for name in (*names, *_VERSIONS) if about.get(name) not in (None, "")), None)
    size = about.get("size")
    if said is None:
        return Remote(place.url, size)
    name, value = said
    if isinstance(value, datetime):  # some give a time as a number in a listing
        value = value.timestamp()
    parts = [name, str(value), str(size)] + ([] if name in names else [place.url])
    return Remote(place.url, size, hashlib.sha256("\0".join(parts).encode()).hexdigest(), name)


@contextmanager
def _reached(place: Remote) -> Iterator[None]:
    """Errors of a file system in words, as `UserError`."""
    try:
        yield
    except ImportError as error:
        raise UserError(
            f"{place} needs a package that isn't installed ({_words(error)}): pip install 'vidboot[remote]' has those "
            "for s3:// and https://"
        ) from None
    except Exception as error:  # each file system has errors of its own
        # Of a web address, fsspec says so for each failure, which is the cause.
        web = place.url.lower().startswith("http") and isinstance(error, FileNotFoundError)
        cause = error.__cause__ if web and error.__cause__ is not None else error
        if isinstance(cause, FileNotFoundError) or getattr(cause, "status", None) == _GONE:
            raise UserError(f"there is no file or folder {place}; check the input paths") from None
        raise UserError(
            f"{place} can't be reached ({_words(cause)}); check the address, the network and your credentials"
        ) from None


def _words(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
