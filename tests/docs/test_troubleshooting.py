"""The messages quoted on the troubleshooting page are those that the program gives, and all of them are there."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "troubleshooting.md"
RAISED = {"UserError", "VideoError", "UnreadableError", "TaskError"}
"""Errors whose last argument is a message for the user."""


@cache
def _quoted() -> list[str]:
    """The code spans of the page that stand where messages do: in front of an item, joined by commas."""
    text = PAGE.read_text().split("## Without a message")[0]
    items = (" ".join(item.split()) for item in re.findall(r"^- (.*(?:\n(?!- |#|\n).*)*)", text, re.MULTILINE))
    return [span for item in items for span in re.findall(r"`([^`]+)`", item.split(" — ")[0])]


def _text(node: ast.AST) -> str | None:
    """A string of the code with … for what is filled in, on one line; None for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return " ".join(node.value.replace("%s", "…").split())
    if isinstance(node, ast.JoinedStr):
        parts = [part.value if isinstance(part, ast.Constant) else "…" for part in node.values]
        return " ".join("".join(parts).split())
    return None


@cache
def _nodes() -> list[ast.AST]:
    paths = [path for room in ("vidboot", "data_prep", "tools") for path in (ROOT / room).rglob("*.py")]
    return [node for path in paths for node in ast.walk(ast.parse(path.read_text()))]


def _raised() -> Iterator[str]:
    """What the code raises for the user, as far as it is written where it is raised."""
    for node in _nodes():
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in RAISED and node.args:
            message = _text(node.args[-1])
            if message is not None and _letters(message) > 5:
                yield message


def _letters(text: str) -> int:
    return len(re.findall(r"[A-Za-z]", text))


@cache
def _pattern(message: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, message.split("…"))))


def _says(message: str, quote: str) -> bool:
    """Whether a quote is that message, whose … may stand for words; but not for nearly all of them."""
    return _pattern(message).fullmatch(quote) is not None and _letters(message) >= 0.2 * _letters(quote)


def test_every_message_for_the_user_is_on_the_page() -> None:
    assert [message for message in _raised() if not any(_says(message, quote) for quote in _quoted())] == []


def test_every_message_on_the_page_is_in_the_code() -> None:
    texts = {text for node in _nodes() if (text := _text(node)) is not None}
    assert [quote for quote in _quoted() if not any(_says(text, quote) for text in texts)] == []
