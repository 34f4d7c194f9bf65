"""Settings of preprocessing; `configs/preprocess.yaml` shows every one with its default."""

import hashlib
import json
from typing import Self

import pydantic
from pydantic import Field

from vidboot.strict import Strict


class ShotSettings(Strict):
    """Where one shot ends and the next begins."""

    ratio: float = Field(3.0, gt=1)
    """A cut's change is at least this many times the mean change of the four frames around it."""
    min_change: float = Field(15.0, gt=0)
    """Smallest change of hue, saturation and brightness (mean of 0 to 255) that can be a cut."""
    black: float = Field(12.0, ge=0)
    """Mean brightness (0 to 255) under which a frame counts as faded to black."""


class ViewSettings(Strict):
    """What a shot must have to supply a view."""

    clip_frames: int = Field(16, ge=1)
    """Frames that a shot needs to supply the clip view; shorter shots are set aside."""
    full_frames: int = Field(128, ge=1)
    """Frames that a shot needs to supply the full and the low-resolution view."""

    @pydantic.model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.full_frames < self.clip_frames:
            raise ValueError(f"full_frames ({self.full_frames}) must be at least clip_frames ({self.clip_frames})")
        return self


class StoreSettings(Strict):
    """How shots are written."""

    crf: int = Field(12, ge=0, le=51)
    """x264's constant rate factor: lower is better and larger."""
    gop: int = Field(8, ge=1)
    """Frames from one key frame to the next; short ones make random access fast."""
    lossless: bool = False
    """Keep the scaled RGB values exactly; files are several times larger."""


class Preprocess(Strict):
    """All settings of preprocessing."""

    height: int = Field(128, ge=8)
    """Stored height in pixels; pictures are cropped at the centre to the stored aspect, then scaled."""
    width: int = Field(128, ge=8)
    """Stored width in pixels."""
    workers: int | None = Field(None, ge=1)
    """Videos worked on at the same time; null takes one for each core."""
    timeout_minutes: float = Field(240.0, gt=0)
    """A video that takes longer is set aside."""
    shots: ShotSettings = ShotSettings()
    views: ViewSettings = ViewSettings()
    store: StoreSettings = StoreSettings()

    def digest(self) -> str:
        """Hash of every setting that changes what is stored."""
        values = self.model_dump(mode="json", exclude={"workers", "timeout_minutes"})
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
