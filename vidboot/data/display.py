"""Showing videos in notebooks and pages, and tables in terminals and logs."""

import base64
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxtyping import Float
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from torch import _C, Tensor


class Video(Tensor):
    """A float video C T H W in [-1, 1] that notebooks show as a player; operations on it give plain tensors."""

    fps: float

    @classmethod
    def __torch_function__(
        cls, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        with _C.DisableTorchFunctionSubclass():
            return function(*args, **(kwargs or {}))

    def __deepcopy__(self, memo: dict[int, Any]) -> "Video":
        return as_video(self.as_subclass(Tensor).clone(), self.fps)

    def _repr_html_(self) -> str:
        return f'<video controls loop autoplay muted src="{mp4_address(self.as_subclass(Tensor), self.fps)}"></video>'


def mp4_address(video: Float[Tensor, "C T H W"], fps: float) -> str:
    """A video in [-1, 1] as a data URL that holds the whole mp4, for pages that need no other file."""
    from vidboot.data.datasets import to_frames
    from vidboot.data.video import write_video

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        write_video(path, to_frames(video), fps)
        return f"data:video/mp4;base64,{base64.b64encode(path.read_bytes()).decode()}"


def as_video(video: Float[Tensor, "C T H W"], fps: float) -> Video:
    """The same tensor, which notebooks show as a player with `fps` frames per second."""
    shown = video.as_subclass(Video)
    shown.fps = fps
    return shown


def print_table(table: Table) -> None:
    """Print a table at its full width: in a log file, rich would wrap everything to 80 columns."""
    console = Console()
    full = Measurement.get(console, console.options.update(max_width=1000), table).maximum
    Console(width=max(console.width, full)).print(table)
