"""Find the input files, given as files, folders and text lists, in a fixed order."""

import os
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from vidboot.errors import UserError
from vidboot.settings import home


@dataclass(frozen=True, slots=True)
class Source:
    """An input file; `label` is its folder relative to the input folder that it was found in, None at the top."""

    path: Path
    label: str | None


@dataclass(frozen=True)
class SetAside:
    """Something that is not used, and why; `what` is a path, for a shot with its frames."""

    what: str
    reason: str


@dataclass(frozen=True)
class Remark:
    """Something that the user should know about a video that is used, or about some of its frames."""

    path: Path
    text: str
    frames: tuple[int, int] | None = None

    @property
    def what(self) -> str:
        """The path, with the frames if the remark is about some."""
        return str(self.path) + (f" frames {self.frames[0]} to {self.frames[1]}" if self.frames else "")


def scan(inputs: Iterable[str | Path], left_out: Collection[Path] = ()) -> tuple[list[Source], list[SetAside]]:
    """All input files (absolute paths, each once), and what is set aside: empty folders, broken links, odd names.

    A folder gives all files below it except hidden ones; a `.txt` file gives the paths that it lists, one per line,
    relative to itself. Everything below the paths `left_out` (resolved) is ignored.
    Raises `UserError` if an input does not exist.
    """
    left_out = frozenset(left_out)
    found: dict[Path, Source] = {}
    set_aside: list[SetAside] = []
    for item in _expand_lists(inputs):
        if not exists(item):
            raise UserError(f"there is no file or folder {item}; check the input paths")
        path = item.resolve()
        if _below(path, left_out):
            set_aside.append(SetAside(_printable(item), "made by an earlier run into the same output"))
            continue
        sources, others = _walk(path, left_out) if path.is_dir() else ([Source(path, None)], [])
        if not sources and not others:
            others = [SetAside(_printable(item), "empty folder")]
        for source in sources:
            if _printable(source.path) == str(source.path):
                found.setdefault(source.path, source)
            else:
                others.append(SetAside(_printable(source.path), "its name is not UTF-8; rename it"))
        set_aside += others
    # An input that is given twice is listed once.
    return sorted(found.values(), key=lambda s: str(s.path)), list(dict.fromkeys(set_aside))


def exists(path: Path) -> bool:
    """Whether there is a file or folder; False for text that is too long for a path."""
    try:
        return path.exists()
    except OSError:
        return False


def _expand_lists(inputs: Iterable[str | Path]) -> Iterator[Path]:
    for item in (home(Path(item)) for item in inputs):
        if item.suffix != ".txt" or not item.is_file():
            yield item
            continue
        try:
            lines = [line.strip() for line in item.read_text("utf-8-sig").splitlines()]
        except (UnicodeDecodeError, OSError) as error:
            raise UserError(f"the list {item} can't be read ({error}); write one path a line") from None
        yield from (item.parent / home(Path(line)) for line in lines if line and not line.startswith("#"))


def _walk(folder: Path, left_out: Collection[Path]) -> tuple[list[Source], list[SetAside]]:
    """The files below a folder, also in linked folders, and the broken links."""
    sources: list[Source] = []
    broken: list[SetAside] = []
    waiting, linked, seen = [folder], deque[Path](), set()
    # Each folder is entered once, so links can't lead in circles; linked folders come after all others.
    while waiting or linked:
        here = waiting.pop() if waiting else linked.popleft()
        real = here.resolve()
        if real in seen or _below(real, left_out):
            continue
        seen.add(real)
        label = None if here == folder else here.relative_to(folder).as_posix()
        for entry in _entries(here, broken):
            path, is_link = here / entry.name, entry.is_symlink()
            # Of what is no link, the folder itself tells the kind: the file system is not asked again.
            kind = path if is_link else entry
            if kind.is_dir():
                (linked if is_link else waiting).append(path)
            elif kind.is_file():
                if (path.resolve() if is_link else real / entry.name) not in left_out:
                    sources.append(Source(path, label))
            elif is_link:
                broken.append(SetAside(_printable(path), "a link that leads nowhere"))
    return sources, broken


def _entries(folder: Path, broken: list[SetAside]) -> list[os.DirEntry[str]]:
    """What is in a folder, ordered by name, without what is hidden; adds to `broken` if it can't be read."""
    try:
        with os.scandir(folder) as entries:
            return sorted((one for one in entries if not one.name.startswith(".")), key=lambda one: one.name)
    except OSError as error:
        broken.append(_unreadable(error))
        return []


def _unreadable(error: OSError) -> SetAside:
    return SetAside(_printable(Path(error.filename)), f"can't be read ({error.strerror})")


def _below(path: Path, folders: Collection[Path]) -> bool:
    return path in folders or any(parent in folders for parent in path.parents)


def _printable(path: Path) -> str:
    """A path as text that can be written as UTF-8; other bytes are escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
