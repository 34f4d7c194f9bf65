"""What the pages' handlers have in common."""

import functools
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr

from vidboot.app.progress import Update
from vidboot.errors import UserError, sentence_of

T = TypeVar("T")

MODEL: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": 1}
"""Of events that compute: one at a time, whoever asks; the others wait in the queue, which says their place."""
NOT_MADE = "Not made; the message says why."
"""Stands where progress stood, when an event ends with a message."""


def sentences(handler: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    """The handler, with what the user can correct, or the machine lacks, said on the page."""

    @functools.wraps(handler)
    def run(*values: Any, **more: Any) -> Iterator[Any]:
        """Run the handler."""
        try:
            yield from handler(*values, **more)
        except UserError as error:
            raise gr.Error(str(error), duration=None, print_exception=False) from None
        except Exception as error:  # what the machine lacks has many types; a bug is raised again
            if (said := sentence_of(error)) is None:
                raise
            raise gr.Error(said, duration=None, print_exception=False) from None

    return run


def shown(
    updates: Generator[Update, None, T], outputs: Callable[[str, str | None], tuple]
) -> Generator[tuple, None, T]:
    """Yield each update as the page's outputs; returns what the work returns. A page that is closed ends the work."""
    try:
        while True:
            try:
                update = next(updates)
            except StopIteration as end:
                return end.value
            yield outputs(update.text, None if update.video is None else str(update.video))
    finally:
        updates.close()


def whole(value: Any, name: str) -> int:
    """A field's whole number; raises `UserError` if there is none."""
    if not isinstance(value, int | float) or value != int(value):
        raise UserError(f"give a whole number for the {name}")
    return int(value)


def path_of(value: Any) -> Path | None:
    """The path of a dropped file, if there is one."""
    return Path(value) if value else None
