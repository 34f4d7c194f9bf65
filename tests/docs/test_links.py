"""Links and commands in the documentation are right: files and headings are there, command lines are understood."""

import re
import runpy
import unicodedata
from pathlib import Path

import pytest
from pages import FENCE, PAGES, PARSED, ROOT, commands, name_of, parse, words

from vidboot.settings import load_settings


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


@pytest.mark.parametrize("page", PAGES, ids=name_of)
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


COMMANDS = sorted({command for page in PAGES for command in commands(page.read_text())})


def test_there_are_commands() -> None:
    tools = {"preprocess", "train", "generate", "evaluate"}
    assert {Path(words(command)[0]).stem for command in COMMANDS} == tools


@pytest.mark.parametrize("command", COMMANDS)
def test_command_lines_are_understood(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit) as stopped:
        parse(command, monkeypatch)
    assert stopped.value.code == PARSED


@pytest.mark.parametrize(
    "command", ["python tools/train.py --confg a.yaml", "python tools/preprocess.py a --output b -x"]
)
def test_a_wrong_option_is_noticed(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit) as stopped:
        parse(command, monkeypatch)
    assert stopped.value.code != PARSED


@pytest.mark.parametrize("command", [command for command in COMMANDS if re.search(r" \w\S*=", command)])
def test_settings_in_command_lines_are_known(command: str) -> None:
    given = words(command)
    sections = runpy.run_path(str(ROOT / "docs" / "configuration_page.py"))["SECTIONS"]
    schema = next(schema for _, tool, _, schema in sections if " ".join(given).startswith(tool))
    config = ROOT / given[given.index("--config") + 1] if "--config" in given else None
    # Unknown keys and bad values are refused.
    assert isinstance(load_settings(schema, config, [w for w in given if re.match(r"[a-z]\S*=", w)]), schema)
