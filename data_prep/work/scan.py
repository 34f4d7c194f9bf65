"""Find the input files, given as files, folders and text lists, in a fixed order."""

import os
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from data_prep.work.locations import Location, Remote, is_url, location
from data_prep.work.remote import files_at, lines_of
from vidboot.errors import UserError
from vidboot.settings import home

# Questions to remote file systems at a time.
_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Source:
    """An input file; `label` is its folder relative to the input folder that it was found in, None at the top."""

    path: Location
    label: str | None


@dataclass(frozen=True)
class SetAside:
    """Something that is not used, and why; `what` is a path, for a shot with its frames."""

    what: str
    reason: str


@dataclass(frozen=True)
class Remark:
    """Something that the user should know about a video that is used, or about some of its frames."""

    path: Location
    text: str
    frames: tuple[int, int] | None = None

    @property
    def what(self) -> str:
        """The path, with the frames if the remark is about some."""
        return str(self.path) + (f" frames {self.frames[0]} to {self.frames[1]}" if self.frames else "")


def scan(
    inputs: Iterable[str | Path], left_out: Collection[Path] = (), output_url: str | None = None
) -> tuple[list[Source], list[SetAside]]:
    """All input files (absolute paths or URLs, each once), and what is set aside: empty folders, broken links, …

    A folder gives all files below it except hidden ones; a `.txt` file gives the paths and URLs that it lists, one per
    line, relative to itself. Everything below the paths `left_out` (resolved) and below `output_url` is ignored.
    Raises `UserError` if an input does not exist, or can't be reached.
    """
    left_out = frozenset(left_out)
    found: dict[Location, Source] = {}
    set_aside: list[SetAside] = []
    items = list(_expand_lists(inputs))
    remote = _remote_files(items)
    for item in items:
        sources, others = (remote[item], []) if isinstance(item, Remote) else _local_files(item, left_out)
        if output_url is not None:
            sources = [one for one in sources if not str(one.path).startswith(f"{output_url}/")]
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


def _remote_files(items: Iterable[Location]) -> dict[Location, list[Source]]:
    """The files of each remote input. Several are asked for at a time: a list may name thousands of them."""
    remote = list(dict.fromkeys(item for item in items if isinstance(item, Remote)))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = zip(remote, pool.map(files_at, remote), strict=True)
        return {item: [Source(file, label) for file, label in files] for item, files in found}


def _local_files(item: Path, left_out: Collection[Path]) -> tuple[list[Source], list[SetAside]]:
    """The files of one input of this machine, and what of it is set aside."""
    if not exists(item):
        raise UserError(f"there is no file or folder {item}; check the input paths")
    path = item.resolve()
    if _below(path, left_out):
        return [], [SetAside(_printable(item), "made by an earlier run into the same output")]
    return _walk(path, left_out) if path.is_dir() else ([Source(path, None)], [])


def exists(path: Path) -> bool:
    """Whether there is a file or folder; False for text that is too long for a path."""
    try:
        return path.exists()
    except OSError:
        return False


def _expand_lists(inputs: Iterable[str | Path]) -> Iterator[Location]:
    for item in map(location, inputs):
        if item.suffix != ".txt" or (isinstance(item, Path) and not item.is_file()):
            yield item
            continue
        try:
            lines = lines_of(item) if isinstance(item, Remote) else item.read_text("utf-8-sig").splitlines()
        except (UnicodeDecodeError, OSError) as error:
            raise UserError(f"the list {item} can't be read ({error}); write one path a line") from None
        wanted = [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]
        yield from (_beside(item, line) for line in wanted)


def _beside(item: Location, line: str) -> Location:
    """What a line of a list names, relative to the list."""
    if is_url(line):
        return Remote(line)
    return item.parent.joined(line) if isinstance(item, Remote) else item.parent / home(Path(line))


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


def _printable(path: Location) -> str:
    """A path as text that can be written as UTF-8; other bytes are escaped."""
    return os.fsencode(str(path)).decode("utf-8", "backslashreplace")
