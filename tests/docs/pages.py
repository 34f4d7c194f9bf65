"""The pages, the commands in them, and running a program up to where it has understood its arguments."""

import argparse
import re
import runpy
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")],
    key=str,
)
FENCE = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)
TOOL, BENCH = r"tools/\w+\.py", r"tests/bench/\w+\.py"
PARSED = "the arguments are understood"


def name_of(page: Path) -> str:
    """The page's path from the project's folder."""
    return str(page.relative_to(ROOT))


def commands(text: str, program: str = TOOL) -> list[str]:
    """The command lines in a text that run a program, in blocks and in spans of code, each on one line."""
    text = text.replace("\\\n", " ")
    blocks = [block[0] for block in FENCE.finditer(text)]
    spans = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", FENCE.sub("", text))]
    lines = [line.strip() for part in blocks for line in part.splitlines()] + spans
    runs = re.compile(rf"(python|deepspeed)\b[^#]*\b({program})\s")
    return [line for line in lines if runs.match(line) and " … " not in line]


def words(command: str) -> list[str]:
    """The words of a command from the program on."""
    parts = shlex.split(command, comments=True)
    return parts[next(n for n, word in enumerate(parts) if re.fullmatch(f"{TOOL}|{BENCH}", word)) :]


def parse(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a program up to where its arguments are parsed: it ends with `PARSED`, or as it would for a wrong option."""
    arguments = words(command)
    monkeypatch.setattr(sys, "argv", arguments)
    monkeypatch.syspath_prepend(str((ROOT / arguments[0]).parent))  # as Python does for a program
    for name in ("parse_args", "parse_known_intermixed_args"):  # parse_intermixed_args calls the second
        monkeypatch.setattr(argparse.ArgumentParser, name, _stopping(getattr(argparse.ArgumentParser, name)))
    runpy.run_path(str(ROOT / arguments[0]), run_name="__main__")


def _stopping(parse: Any) -> Any:
    """A parser's method that ends the program where it would return."""

    def parsed(self: argparse.ArgumentParser, *args: Any) -> None:
        result = parse(self, *args)
        left = result[1] if isinstance(result, tuple) else []
        unknown = [word for word in left if word.startswith("-")]
        sys.exit(f"unknown: {unknown}" if unknown else PARSED)

    return parsed
