"""Find the input files, given as files, folders and text lists, in a fixed order."""

import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from vidboot.errors import UserError
from vidboot.settings import home


@dataclass(frozen=True)
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
    sources, broken = [], []
    waiting, seen = [folder], set()
    # Each folder is entered once, so links can't lead in circles; linked folders come after all others.
    while waiting:
        for root, folders, files in os.walk(waiting.pop(0), onerror=lambda error: broken.append(_unreadable(error))):
            here = Path(root)
            real = here.resolve()
            if real in seen or _below(real, left_out):
                folders.clear()
                continue
            seen.add(real)
            shown = sorted(name for name in folders if not name.startswith("."))
            folders[:] = [name for name in shown if not (here / name).is_symlink()]
            waiting += [here / name for name in shown if (here / name).is_symlink()]
            label = None if here == folder else here.relative_to(folder).as_posix()
            for path in (here / name for name in sorted(files) if not name.startswith(".")):
                if path.is_file():
                    if path.resolve() not in left_out:
                        sources.append(Source(path, label))
                elif path.is_symlink():
                    broken.append(SetAside(_printable(path), "a link that leads nowhere"))
    return sources, broken


def _unreadable(error: OSError) -> SetAside:
    return SetAside(_printable(Path(error.filename)), f"can't be read ({error.strerror})")


def _below(path: Path, folders: Collection[Path]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


def _printable(path: Path) -> str:
    """A path as text that can be written as UTF-8; other bytes are escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
