"""What can be asked of `tools/app.py`, with limits and defaults. Imports no torch."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, PositiveInt

from vidboot.options import Option
from vidboot.settings import Strict

LIMITS = "what is refused, and how long files are kept"
"""Heading in the help."""


class AppRequest(Strict):
    """Which run to show, where, and what is refused."""

    run: Annotated[Path, Option(metavar="DIR")]
    """Run folder that tools/train.py wrote."""
    host: Annotated[str, Option(metavar="ADDRESS")] = "127.0.0.1"
    """Address to listen on; there is no password, so another one than this machine's own lets everybody in."""
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """Port to listen on (default: the first free one from 7860 on)."""
    max_megabytes: Annotated[PositiveInt, Option(group=LIMITS)] = 200
    """Largest file that may be dropped, in megabytes of 2^20 bytes."""
    max_frames: Annotated[PositiveInt, Option(group=LIMITS)] = 1000
    """Most frames of a clip that is dropped, and of a video that is made."""
    max_minutes: Annotated[PositiveInt, Option(group=LIMITS)] = 10
    """Longest search for what is burnt into a clip."""
    keep_minutes: Annotated[PositiveInt, Option(group=LIMITS)] = 60
    """Minutes after which what was dropped, and what was made of it, is deleted."""

    @property
    def max_bytes(self) -> int:
        """Largest file that may be dropped, in bytes."""
        return self.max_megabytes * 2**20
