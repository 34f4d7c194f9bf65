"""Settings of the data that a run is trained on."""

from typing import Annotated

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, field_validator

from vidboot.settings import Folder, Share, Strict


class DataConfig(Strict):
    """Where the shots come from."""

    manifest: Folder
    """Folder that `tools/preprocess.py` wrote."""
    holdout: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of the full videos that no network trains on: half choose gate and stopping point, half are reported."""
    max_full_videos: PositiveInt | None = None
    """Train the residual on at most this many full videos (None: on all)."""
    horizontal_flip: bool = False
    """Mirror half of the training samples."""
    frame_strides: Annotated[list[PositiveInt], Field(min_length=1)] = [1]
    """Train on every k-th frame, for each of these k equally often; the networks are told k. 1 is one of them: videos
    are generated at the full rate."""
    extra_masks: Share = 0.1
    """Share of the clean samples that get the mask of a masked shot, and are asked for what it hides: so networks are
    right with and without holes, and learn what may lie under one."""
    context: Share = 0.2
    """Share of the samples in which the first frames, or all but what a masked shot's mask would hide, come without
    noise: so networks learn to go on from given frames, and to paint out (0: they are only ever told by gradients)."""
    classes: list[str] = []
    """Class labels, as in the manifest (the folder names); other shots count as without a class."""
    label_dropout: Share = 0.1
    """Share of the labelled samples that are trained on without their label, for guidance."""
    num_workers: NonNegativeInt = 1
    """Processes that decode, for each training process."""
    memory_gb: NonNegativeFloat = 1.0
    """Decoded shots that each decoding process keeps in memory: what fits is decoded once."""

    @field_validator("frame_strides")
    @classmethod
    def _full_rate_too(cls, strides: list[int]) -> list[int]:
        if 1 not in strides:
            raise ValueError(f"1 must be among them, because videos are generated at the full rate; got {strides}")
        return strides
