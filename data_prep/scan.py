"""Finding the input files: files, folders and text lists, in a fixed order."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from vidboot.errors import UserError


@dataclass(frozen=True)
class Source:
    """An input file; `label` is its folder relative to the input that it was found in, None at the top."""

    path: Path
    label: str | None


@dataclass(frozen=True)
class SetAside:
    """Something that is not used, and why; `what` is a path, with the frames where it is a shot."""

    what: str
    reason: str


@dataclass(frozen=True)
class Remark:
    """Something about a video that is used, or about some of its frames, that the user should know."""

    path: Path
    text: str
    frames: tuple[int, int] | None = None

    @property
    def what(self) -> str:
        """The path, with the frames if it is about some."""
        return str(self.path) + (f" frames {self.frames[0]} to {self.frames[1]}" if self.frames else "")


def scan(inputs: Iterable[str | Path]) -> tuple[list[Source], list[SetAside]]:
    """Files under the inputs, absolute, each once, and the inputs that hold none.

    A folder gives all files below it except hidden ones; a `.txt` file gives the paths it lists, one a line, relative
    to itself. Raises `UserError` if an input does not exist.
    """
    found: dict[Path, Source] = {}
    empty: list[SetAside] = []
    for item in _expand_lists(inputs):
        if not item.exists():
            raise UserError(f"there is no file or folder {item}; check the input paths")
        sources = _walk(item.resolve()) if item.is_dir() else [Source(item.resolve(), None)]
        if not sources:
            empty.append(SetAside(str(item), "empty folder"))
        for source in sources:
            found.setdefault(source.path, source)
    return sorted(found.values(), key=lambda s: str(s.path)), empty


def _expand_lists(inputs: Iterable[str | Path]) -> Iterator[Path]:
    for item in map(Path, inputs):
        if item.suffix != ".txt" or not item.is_file():
            yield item
            continue
        try:
            lines = [line.strip() for line in item.read_text("utf-8").splitlines()]
        except (UnicodeDecodeError, OSError) as error:
            raise UserError(f"the list {item} can't be read ({error}); write one path a line") from None
        yield from (item.parent / line for line in lines if line and not line.startswith("#"))


def _walk(folder: Path) -> list[Source]:
    sources = []
    for path in folder.rglob("*"):
        inside = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(".") for part in inside.parts):
            sources.append(Source(path, inside.parent.as_posix() if len(inside.parts) > 1 else None))
    return sources
