"""Every picture of the documentation is there, and can be made again by a command that stands beside it."""

import re
from pathlib import Path

import pytest
from pages import BENCH, FENCE, PAGES, PARSED, ROOT, TOOL, commands, name_of, parse, words
from PIL import Image

MOVING = {".gif", ".webp"}
DRAWN = {"architecture.svg"}
"""Pictures that were drawn, not computed."""
LIMIT = 3_000_000
"""Bytes of all moving pictures: a page that shows them must open quickly."""


def paragraphs(page: Path) -> list[str]:
    """What stands between empty lines; a block of code is in one piece."""
    text = FENCE.sub(lambda block: block[0].replace("\n\n", "\n"), page.read_text())
    return re.split(r"\n\s*\n", text)


def pictures(page: Path) -> list[tuple[Path, list[str]]]:
    """The pictures of a page, each with the commands in its paragraph and in the one before and after it."""
    found, parts = [], paragraphs(page)
    for n, part in enumerate(parts):
        beside = "\n\n".join(parts[max(0, n - 1) : n + 2])
        for link in re.findall(r"!\[[^\]]*\]\(\s*([^)\s]+)", part):
            found.append(((page.parent / link).resolve(), commands(beside, f"{TOOL}|{BENCH}")))
    return found


def names(command: str, path: Path) -> bool:
    """Whether the command, or its program's text, has the picture's name."""
    return any(re.search(rf"\b{re.escape(path.name)}\b", text) for text in (command, program_of(command)))


def program_of(command: str) -> str:
    """The text of the program that the command runs."""
    return (ROOT / words(command)[0]).read_text()


SHOWN = [(page, *shown) for page in PAGES for shown in pictures(page)]
COMPUTED = [(page, path, beside) for page, path, beside in SHOWN if path.name not in DRAWN]
NAMES = [f"{name_of(page)}: {path.name}" for page, path, _ in COMPUTED]


def test_there_are_pictures_that_move() -> None:
    assert {path.suffix for _, path, _ in SHOWN} >= {".gif", ".webp", ".png"}


@pytest.mark.parametrize(("page", "path", "beside"), COMPUTED, ids=NAMES)
def test_a_command_beside_it_makes_it(
    page: Path, path: Path, beside: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of a moving picture says its name, or else its program does; plots are parts of a report."""
    assert path.is_file()
    own = [command for command in beside if path.suffix not in MOVING or names(command, path)]
    assert own, f"no command beside {path.name} makes it; beside it are {beside}"
    for command in own:
        with pytest.raises(SystemExit) as stopped:
            parse(command, monkeypatch)
        assert stopped.value.code == PARSED, command


def test_moving_pictures_move_and_are_small() -> None:
    moving = {path for _, path, _ in SHOWN if path.suffix in MOVING}
    assert sum(path.stat().st_size for path in moving) <= LIMIT
    for path in moving:
        with Image.open(path) as picture:
            assert getattr(picture, "n_frames", 1) > 8, path


def test_a_picture_without_its_command_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text("![a](a.gif)\n\n*`python tools/generate.py --run r\n--output b.gif`*\n\nText.\n\n![c](c.png)\n")
    (_, first), (_, second) = pictures(page)
    assert first == ["python tools/generate.py --run r --output b.gif"] and second == []
    with pytest.raises(AssertionError, match="no command beside"):
        (tmp_path / "a.gif").touch()
        test_a_command_beside_it_makes_it(page, tmp_path / "a.gif", first, monkeypatch)
