"""Which shots a network can learn from."""

from collections.abc import Sequence

from vidboot.config import RunConfig
from vidboot.data.manifest import Shot
from vidboot.errors import UserError


def supplying(shots: Sequence[Shot], view: str, num_frames: int = 1) -> list[Shot]:
    """The shots that supply a view (`full`, `clip` or `low_res`) and have at least so many frames."""
    return [shot for shot in shots if view in shot.views and shot.num_frames >= num_frames]


def training_shots(config: RunConfig, shots: Sequence[Shot], view: str, num_frames: int, name: str) -> list[Shot]:
    """The shots that supply windows of a view, at every frame stride of the run.

    Raises `UserError` if there are none; `name` is what the message calls the training.
    """
    span = (num_frames - 1) * max(config.data.frame_strides) + 1
    long_enough = supplying(shots, view, span)
    if not long_enough:
        lengths = [shot.num_frames for shot in supplying(shots, view)]
        raise UserError(
            f"nothing to train {name} on: of {len(shots)} training shots in {config.data.manifest}, "
            f"{len(lengths)} supply this view, none with {span} frames (longest: {max(lengths, default=0)})"
        )
    return long_enough
