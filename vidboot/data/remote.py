"""Files at URLs (`s3://…`), through fsspec: read whole, kept in a cache on this machine, and sent.

File systems are made by the process that uses them, and are never handed to another one: they have connections and
threads.
"""

import hashlib
import os
import stat
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

from vidboot.data.container import VideoError
from vidboot.data.files import atomic_path
from vidboot.data.members import file_of, member_of
from vidboot.data.urls import url_of
from vidboot.errors import NO_ROOM, UnreachableError, UserError

# What file systems call a hash of a file's content: equal files have equal ones, wherever they lie.
DIGESTS = ("sha256", "md5", "md5Hash", "content_md5", "Content-MD5", "content_hash", "blob_id")
# And what changes whenever a file is written, but says nothing about two files.
_VERSIONS = (
    "ETag", "etag", "LastModified", "last_modified", "Last-Modified", "mtime", "updated", "modified",
    "modificationTime", "created",
)  # fmt: skip
# A web server's answer for what isn't there.
_GONE = 404
# Seconds without a byte after which a web server is given up. By default, aiohttp gives up any file after five minutes.
_SILENT = 60
# Files that are sent or fetched at a time.
_AT_ONCE = 64
# A file of the cache that was used in these seconds may be about to be opened.
_IN_USE = 60


def file_system(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path there."""
    import fsspec

    options = {}
    if url.lower().startswith("http"):
        import aiohttp

        options = {"client_kwargs": {"timeout": aiohttp.ClientTimeout(total=None, sock_read=_SILENT)}}
    system, path = fsspec.core.url_to_fs(url, **options)
    return system, path


@contextmanager
def reached(url: str) -> Iterator[None]:
    """Errors of a file system in words, as `UserError`; those of this machine's disk as they are."""
    try:
        yield
    except ImportError as error:
        raise UserError(
            f"{url} needs a package that isn't installed ({words_of(error)}): pip install 'vidboot[remote]' has those "
            "for s3:// and https://"
        ) from None
    except Exception as error:  # each file system has errors of its own
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            raise
        if _is_gone(url, error):
            raise UserError(f"there is no file or folder {url}; check the input paths") from None
        raise UserError(
            f"{url} can't be reached ({words_of(_cause(url, error))}); check the address, the network and your "
            "credentials"
        ) from None


def words_of(error: BaseException) -> str:
    """The first line of what an error says."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def _cause(url: str, error: Exception) -> BaseException:
    # Of a web address, fsspec says that there is no file for each failure, which is the cause.
    web = url.lower().startswith("http") and isinstance(error, FileNotFoundError)
    return error.__cause__ if web and error.__cause__ is not None else error


def _is_gone(url: str, error: Exception) -> bool:
    cause = _cause(url, error)
    return isinstance(cause, FileNotFoundError) or getattr(cause, "status", None) == _GONE


def version_of(about: Mapping[str, Any], digests: Collection[str] = DIGESTS) -> tuple[str, str] | None:
    """What a file system says that changes with a file, and its name; a hash of its content before a time of change."""
    for name in (*digests, *_VERSIONS):
        value = about.get(name)
        if value not in (None, ""):  # some give a time as a number in a listing
            return name, str(value.timestamp() if isinstance(value, datetime) else value)
    return None


def content_of(url: str) -> bytes | None:
    """What a file at a URL holds; None if there is none. Raises `UserError` if it can't be reached."""
    with reached(url):
        system, path = file_system(url)
        try:
            return system.cat_file(path)
        except Exception as error:  # each file system has errors of its own
            if _is_gone(url, error):
                return None
            raise


def cache_folder() -> Path:
    """Where copies of remote files are kept: `VIDBOOT_CACHE`, by default `~/.cache/vidboot`."""
    return Path(os.environ.get("VIDBOOT_CACHE") or "~/.cache/vidboot").expanduser().absolute()


def folder_of(url: str, kind: str) -> Path:
    """The folder of the cache that belongs to a URL."""
    return cache_folder() / kind / hashlib.sha256(url.encode()).hexdigest()[:20]


def at_hand(folder: Path, name: str) -> Path:
    """A file of a folder, of which a file at a URL is fetched first and stays in the cache.

    Only for files that never change. Raises `VideoError` if it isn't there, and `UnreachableError` if it can't be
    fetched now.
    """
    url = url_of(folder)
    if url is None:
        return folder / name
    # A member of a tar has a file of its own here.
    kept = folder_of(url, "shots") / name.replace(".tar#", ".tar-")
    try:
        # What was used last is deleted last. The time of change stays: others take a file with another one for new.
        os.utime(kept, ns=(time.time_ns(), kept.stat().st_mtime_ns))
    except OSError:
        _fetch(f"{url}/{name}", kept)
    return kept


def _fetch(url: str, kept: Path) -> None:
    try:
        with atomic_path(kept) as partial:
            system, path = file_system(file_of(url))
            if (member := member_of(url)) is None:
                system.get_file(path, str(partial))
            else:  # only its part of the tar
                partial.write_bytes(system.cat_file(path, start=member.offset, end=member.offset + member.size))
            _CACHE.added(partial.stat().st_size)
    except Exception as error:  # each file system has errors of its own
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            raise
        if _is_gone(url, error):
            raise VideoError(url, "isn't there; run tools/preprocess.py again") from None
        # No reason to do without this video: the next ones can't be fetched either.
        raise UnreachableError(f"{url} can't be fetched ({words_of(_cause(url, error))})") from None


def folder_at_hand(folder: Path, names: Collection[str]) -> Path:
    """A folder, of which one at a URL is fetched first: its files with these names, also those in folders inside.

    They are fetched again when one of them has changed. Raises `UserError` if they can't be reached.
    """
    if (url := url_of(folder)) is None:
        return folder
    with reached(url):
        system, root = file_system(url)
        system.invalidate_cache()
        found = {name.removeprefix(root).strip("/"): about for name, about in system.find(root, detail=True).items()}
    wanted = {name: about for name, about in found.items() if name.rpartition("/")[2] in names}
    # Of a file system that tells no change, all are fetched each time.
    said = [f"{name} {version_of(about) or time.time_ns()}" for name, about in sorted(wanted.items())]
    kept = folder_of("\n".join([url, *said]), "runs")
    if not kept.exists():
        partial = kept.with_name(f".partial-{os.getpid()}-{kept.name}")
        RemoteFolder(url).fetch(partial, wanted)
        partial.mkdir(parents=True, exist_ok=True)
        with suppress(OSError):  # another process was quicker
            partial.rename(kept)
    return kept


class _Cache:
    """Keeps the fetched shots below `VIDBOOT_CACHE_GB` (20): those that were not used for longest are deleted."""

    def __init__(self) -> None:
        self._unseen = float("inf")  # bytes that this process has added since it looked

    def added(self, count: int) -> None:
        """Tell of a new file. Only now and then, the folder is looked through."""
        limit = float(os.environ.get("VIDBOOT_CACHE_GB") or 20) * 1e9
        self._unseen += count
        if self._unseen > limit / 20:
            self._unseen = 0
            self._tidy(limit)

    def _tidy(self, limit: float) -> None:
        found = []
        for path in (cache_folder() / "shots").rglob("*"):
            with suppress(OSError):  # another process deletes too
                status = path.stat()
                if stat.S_ISREG(status.st_mode):
                    found.append((status.st_atime, status.st_size, path))
        left = sum(size for _, size, _ in found)
        for used, size, path in sorted(found):
            if left <= 0.9 * limit or used > time.time() - _IN_USE:
                break
            path.unlink(missing_ok=True)
            left -= size


_CACHE = _Cache()


class RemoteFolder:
    """A folder at a URL, to which files are sent. All methods raise `UserError` where it can't be reached."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def check(self) -> None:
        """Raise `UserError` if nothing can be written there, before hours are spent on what is to be."""
        probe = f"{self.url}/.vidboot-{os.getpid()}"
        try:
            system, path = file_system(probe)
            _make_folder(system, path)
            system.pipe_file(path, b"")
            system.rm_file(path)
        except ImportError:
            with reached(self.url):
                raise
        except Exception as error:  # each file system has errors of its own
            raise UserError(
                f"can't write to {self.url} ({words_of(error)}); check the address, the network and your credentials"
            ) from None

    def sizes(self) -> dict[str, int]:
        """Size of each file, by its name relative to the folder."""
        with reached(self.url):
            system, root = file_system(self.url)
            system.invalidate_cache()
            found: Mapping[str, Mapping[str, Any]] = system.find(root, detail=True)
        return {name.removeprefix(root).strip("/"): int(about.get("size") or 0) for name, about in found.items()}

    def send(self, folder: Path, names: Iterable[str]) -> Iterator[int]:
        """Send files of a folder of this machine; yields how many, after each part."""
        left = iter(names)
        while some := list(islice(left, _AT_ONCE)):
            with reached(self.url):
                system, root = file_system(self.url)
                for name in some:
                    _make_folder(system, f"{root}/{name}")
                system.put([str(folder / name) for name in some], [f"{root}/{name}" for name in some])
            yield len(some)

    def fetch(self, folder: Path, names: Iterable[str]) -> None:
        """Fetch files into a folder of this machine; each is whole or absent."""
        for name in names:
            with reached(self.url), atomic_path(folder / name) as partial:
                system, root = file_system(self.url)
                system.get_file(f"{root}/{name}", str(partial))


def _make_folder(system: Any, path: str) -> None:
    """Make the folder of a file, where the file system has folders; in a bucket they are but parts of names."""
    if path.startswith("/"):
        system.makedirs(path.rpartition("/")[0] or "/", exist_ok=True)
