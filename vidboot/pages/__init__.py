"""The look of all report pages: one template with its style and its script, in one file that needs no other."""

from pathlib import Path
from typing import Any

import jinja2

_HERE = Path(__file__).parent


def in_step() -> str:
    """The function `keepInStep` of JavaScript: several videos show the same moment."""
    return (_HERE / "in_step.js").read_text("utf-8")


def template(path: Path) -> jinja2.Template:
    """The template of a page, which begins with `{% extends "base.html" %}`; it may include files beside it."""
    loader = jinja2.FileSystemLoader([path.parent, _HERE])
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["significant"] = significant
    return environment.get_template(path.name)


def significant(value: Any) -> str:
    """A number with three significant digits, without an exponent."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
