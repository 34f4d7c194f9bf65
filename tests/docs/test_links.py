"""Links and commands in the documentation are right: files and headings are there, command lines are understood."""

import argparse
import re
import runpy
import shlex
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from vidboot.settings import load_settings

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")],
    key=str,
)
FENCE = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def _prose(page: Path) -> str:
    """A page without its blocks and spans of code, in which brackets are no links."""
    return re.sub(r"`[^`]*`", lambda span: span[0].replace("](", "] ("), FENCE.sub("", page.read_text()))


def _links(page: Path) -> list[str]:
    """The relative links and images of a page."""
    found = re.findall(r"\]\(\s*<?([^)<>\s]+)>?(?:\s+\"[^\"]*\")?\)", _prose(page))
    return [link for link in found if not re.match(r"[a-z]+:", link)]


def _slugs(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them: lower case, no punctuation, hyphens for spaces."""
    slugs: dict[str, int] = {}
    for heading in re.findall(r"^#{1,6} +(.*?)[ #]*$", FENCE.sub("", page.read_text()), re.MULTILINE):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        kept = (c for c in text if c in "-_ " or unicodedata.category(c)[0] in "LNM")
        slug = "".join(kept).replace(" ", "-")
        slugs[slug] = slugs.get(slug, -1) + 1
        if slugs[slug]:
            slugs[f"{slug}-{slugs[slug]}"] = 0
    return set(slugs)


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    broken = []
    for link in _links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and (target.suffix != ".md" or anchor not in _slugs(target))):
            broken.append(link)
    assert broken == []


def test_slugs_are_those_of_github(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# The digits' curve: how, and why\n## Videos of 1,024 frames\n## `clip.train`\n## A\n## A\n")
    expected = {"the-digits-curve-how-and-why", "videos-of-1024-frames", "cliptrain", "a", "a-1"}
    assert _slugs(page) == expected


def _commands(page: Path) -> list[str]:
    """The command lines of a page that run a tool, in blocks and in spans of code, each on one line."""
    text = page.read_text().replace("\\\n", " ")
    blocks = [block[0] for block in FENCE.finditer(text)]
    spans = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", FENCE.sub("", text))]
    lines = [line.strip() for part in blocks for line in part.splitlines()] + spans
    tool = re.compile(r"(python|deepspeed)\b[^#]*\btools/\w+\.py\s")
    return [line for line in lines if tool.match(line) and " … " not in line]


def _words(command: str) -> list[str]:
    """The words of a command from the tool on."""
    words = shlex.split(command, comments=True)
    return words[next(n for n, word in enumerate(words) if re.fullmatch(r"tools/\w+\.py", word)) :]


COMMANDS = sorted({command for page in PAGES for command in _commands(page)})
PARSED = "the arguments are understood"


def _parse(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the tool up to where its arguments are parsed: it ends with `PARSED`, or as it would for a wrong option."""
    words = _words(command)
    monkeypatch.setattr(sys, "argv", words)
    for name in ("parse_args", "parse_known_intermixed_args"):  # parse_intermixed_args calls the second
        monkeypatch.setattr(argparse.ArgumentParser, name, _stopping(getattr(argparse.ArgumentParser, name)))
    runpy.run_path(str(ROOT / words[0]), run_name="__main__")


def _stopping(parse: Any) -> Any:
    """A parser's method that ends the program where it would return."""

    def parsed(self: argparse.ArgumentParser, *args: Any) -> None:
        result = parse(self, *args)
        left = result[1] if isinstance(result, tuple) else []
        unknown = [word for word in left if word.startswith("-")]
        sys.exit(f"unknown: {unknown}" if unknown else PARSED)

    return parsed


def test_there_are_commands() -> None:
    tools = {"preprocess", "train", "generate", "evaluate"}
    assert {Path(_words(command)[0]).stem for command in COMMANDS} == tools


@pytest.mark.parametrize("command", COMMANDS)
def test_command_lines_are_understood(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit) as stopped:
        _parse(command, monkeypatch)
    assert stopped.value.code == PARSED


@pytest.mark.parametrize(
    "command", ["python tools/train.py --confg a.yaml", "python tools/preprocess.py a --output b -x"]
)
def test_a_wrong_option_is_noticed(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit) as stopped:
        _parse(command, monkeypatch)
    assert stopped.value.code != PARSED


@pytest.mark.parametrize("command", [command for command in COMMANDS if re.search(r" \w\S*=", command)])
def test_settings_in_command_lines_are_known(command: str) -> None:
    words = _words(command)
    sections = runpy.run_path(str(ROOT / "docs" / "configuration_page.py"))["SECTIONS"]
    schema = next(schema for _, tool, _, schema in sections if " ".join(words).startswith(tool))
    config = ROOT / words[words.index("--config") + 1] if "--config" in words else None
    # Unknown keys and bad values are refused.
    assert isinstance(load_settings(schema, config, [w for w in words if re.match(r"[a-z]\S*=", w)]), schema)
