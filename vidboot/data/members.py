"""Files inside an uncompressed tar, by name: `X.tar#OFFSET+BYTES` stands wherever the path of a stored file may stand.

A network file system keeps one large file far better than a million small ones, and a part of it is read without the
rest: by Python from an offset, by FFmpeg through its `subfile` protocol.
"""

import io
import re
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_NAME = re.compile(r"(.*\.tar)#(\d+)\+(\d+)", re.DOTALL)


@dataclass(frozen=True)
class Member:
    """Bytes of a tar."""

    tar: str
    offset: int
    """Of the first one."""
    size: int

    def __str__(self) -> str:
        return f"{self.tar}#{self.offset}+{self.size}"


def member_of(path: str | Path) -> Member | None:
    """The member that a name stands for; None for a file of its own."""
    found = _NAME.fullmatch(str(path))
    return None if found is None else Member(found[1], int(found[2]), int(found[3]))


def file_of(path: str | Path) -> str:
    """The file that holds what `path` stands for: the tar, or the file itself."""
    member = member_of(path)
    return str(path) if member is None else member.tar


def size_of(path: str | Path) -> int:
    """Bytes of a file or member; raises `OSError` if the file isn't there."""
    member, size = member_of(path), Path(file_of(path)).stat().st_size
    return size if member is None else max(0, min(member.size, size - member.offset))


def read_bytes(path: str | Path, limit: int | None = None) -> bytes:
    """The content of a file or member, or its first `limit` bytes; raises `OSError` if it can't be read."""
    member = member_of(path)
    with Path(file_of(path)).open("rb") as file:
        if member is None:
            return file.read(limit)
        file.seek(member.offset)
        return file.read(member.size if limit is None else min(limit, member.size))


def for_ffmpeg(path: str | Path) -> str:
    """The name by which FFmpeg's libraries open a file or member."""
    member = member_of(path)
    if member is None:
        return str(path)
    return f"subfile,,start,{member.offset},end,{member.offset + member.size},,:{Path(member.tar).absolute()}"


def places_of(sizes: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Where the members of a tar lie that `write_tar` makes: offset and size of each."""
    offset = 0
    for size in sizes:
        offset += tarfile.BLOCKSIZE  # the header
        yield offset, size
        offset += -(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


def write_tar(file: io.BufferedIOBase, members: Iterable[tuple[str, bytes]]) -> None:
    """Write members, whose names have at most 100 letters; the same members give the same bytes."""
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in members:
            about = tarfile.TarInfo(name)
            about.size = len(data)
            tar.addfile(about, io.BytesIO(data))
