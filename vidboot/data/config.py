"""Settings of the data that a run is trained on."""

from typing import Annotated

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, field_validator

from vidboot.settings import Folder, Share, Strict


class DataConfig(Strict):
    """Which shots a run is trained on, and how samples are made of them."""

    manifest: Folder
    """Folder that `tools/preprocess.py` wrote, or its URL."""
    holdout: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of the full videos that no network is trained on: half of them to calibrate and to choose gate and stopping
    point, half to report on."""
    max_full_videos: PositiveInt | None = None
    """Train the residual on at most this many full videos (None: on all)."""
    horizontal_flip: bool = False
    """Mirror half of the training samples, left to right."""
    frame_strides: Annotated[list[PositiveInt], Field(min_length=1)] = [1]
    """Train on every k-th frame, for each of these k equally often; k is an input of the networks. 1 must be among
    them, because videos are generated at the full rate."""
    extra_masks: Share = 0.1
    """Share of the unmasked samples that get the mask of a masked shot, while the loss covers the hidden pixels too.
    This way networks learn to denoise with and without holes, and what may lie under one."""
    context: Share = 0.2
    """Share of the samples in which some pixels come without noise: the first frames, or all but what a masked shot's
    mask would hide. This way networks learn to continue given frames and to repair (0: they never get such pixels, and
    generation conditions by moment matching only)."""
    classes: list[str] = []
    """Class labels, as in the manifest (names of folders); shots with another label have no class."""
    label_dropout: Share = 0.1
    """Share of the labelled samples that are trained on without their label, which classifier-free guidance needs."""
    num_workers: NonNegativeInt = 1
    """Decoding processes of each training process."""
    memory_gb: NonNegativeFloat = 1.0
    """Memory, in GB, of each decoding process for decoded shots: what fits is decoded once."""

    @field_validator("frame_strides")
    @classmethod
    def _full_rate_too(cls, strides: list[int]) -> list[int]:
        if 1 not in strides:
            raise ValueError(f"1 must be among them, because videos are generated at the full rate; got {strides}")
        return strides
