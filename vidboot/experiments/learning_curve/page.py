"""The page of a learning curve."""

from pathlib import Path
from typing import Any

from rich.table import Table

from vidboot.data.files import write_atomic
from vidboot.experiments.learning_curve.config import CurveConfig
from vidboot.pages import template

PAGE_FILE = "index.html"
_TEMPLATE = template(Path(__file__).with_name("curve.html"))


def write_page(config: CurveConfig, picture: str, errors: Table, correlations: Table | None = None) -> Path:
    """Write the page beside its `picture`, from the tables that are printed; returns its path."""
    text = _TEMPLATE.render(
        seeds=max(config.seeds),
        picture=picture,
        errors=_plain(errors),
        correlations=None if correlations is None else _plain(correlations),
    )
    write_atomic(config.output / PAGE_FILE, text.encode())
    return config.output / PAGE_FILE


def _plain(table: Table) -> dict[str, Any]:
    """A table for the terminal as one for the page."""
    columns = [list(column.cells) for column in table.columns]
    return {
        "title": table.title,
        "titles": [column.header for column in table.columns],
        "rows": list(zip(*columns, strict=True)),
    }
