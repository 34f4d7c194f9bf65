"""Settings of preprocessing; `configs/preprocess.yaml` lists all of them with their defaults."""

import hashlib
import json
from pathlib import Path
from typing import Literal, Self

import pydantic
from pydantic import Field

from vidboot.errors import UserError
from vidboot.settings import Strict


class ShotSettings(Strict):
    """Where one shot ends and the next begins."""

    ratio: float = Field(3.0, gt=1)
    """A cut's change is at least this many times the mean change of the four frames around it."""
    min_change: float = Field(15.0, gt=0)
    """Smallest change of hue, saturation and brightness (mean of 0 to 255) that can be a cut."""
    black: float = Field(12.0, ge=0)
    """Mean brightness (0 to 255) under which a frame counts as faded to black."""


class TextSettings(Strict):
    """How subtitles and titles are found."""

    detector: Literal["auto", "opencv", "model"] = "auto"
    """`opencv`: OpenCV alone; `model`: also a neural text detector (extra `ocr`); `auto`: that if it is installed."""


class ViewSettings(Strict):
    """What a shot must have to supply a view."""

    clip_frames: int = Field(16, ge=1)
    """Frames that a shot needs to supply the clip view; shorter shots are set aside."""
    full_frames: int = Field(128, ge=1)
    """Frames that a shot needs to supply the full and the low-resolution view."""
    low_res_factor: int = Field(4, ge=1)
    """Scale of the low-resolution view: a shot whose detail is coarser by at most this factor supplies that view."""
    min_brightness: float = Field(4.0, ge=0)
    """Mean brightness (0 to 255) under which a shot supplies no view."""
    min_motion: float = Field(0.0, ge=0)
    """Mean change from frame to frame (grey levels) under which a shot supplies no view."""
    max_blockiness: float | None = Field(None, gt=0)
    """Brightness steps at the borders of compression blocks over steps elsewhere, above which a shot supplies no view.

    Null: no limit. Strongly compressed film has 2 to 3, but pixel art has thousands.
    """

    @pydantic.model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.full_frames < self.clip_frames:
            raise ValueError(f"full_frames ({self.full_frames}) must be at least clip_frames ({self.clip_frames})")
        return self


class MaskSettings(Strict):
    """A mask of your own, for the sources whose name or path matches a pattern such as `news_*.mp4`."""

    source: str
    """Pattern of the file's name or path."""
    box: list[int] | None = Field(None, min_length=4, max_length=4)
    """Top, left, height, width of what is covered, upright source pixels."""
    picture: str | None = None
    """A picture of the source's size, dark where the source is covered."""
    start: int = Field(0, ge=0)
    """First frame that is covered."""
    end: int | None = Field(None, ge=1)
    """Frame after the last one that is covered; null: up to the end."""
    replace: bool = False
    """Replace what is found, instead of adding to it."""
    remove: bool = False
    """Take away what is found inside the box or the picture's dark parts; what is found elsewhere stays masked."""

    @pydantic.model_validator(mode="after")
    def _covers(self) -> Self:
        if self.box is not None and (min(self.box[:2]) < 0 or min(self.box[2:]) < 1):
            raise ValueError(f"box {self.box} must be top, left (from 0), height, width (from 1)")
        if self.end is not None and self.end <= self.start:
            raise ValueError(f"end ({self.end}) must be after start ({self.start})")
        if self.remove and self.replace:
            raise ValueError("remove and replace exclude each other; make two masks")
        if self.remove and self.box is None and self.picture is None:
            raise ValueError("remove must have a box or a picture, in which what is found is taken away")
        return self

    def digest(self) -> str:
        """Hash of the mask and of its picture's content; raises `UserError` if the picture can't be read."""
        values = self.model_dump(mode="json") | {"content": None if self.picture is None else _hash_of(self.picture)}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


class StoreSettings(Strict):
    """How shots are written."""

    crf: int = Field(10, ge=0, le=51)
    """x264's constant rate factor: lower is better and larger."""
    gop: int = Field(8, ge=1)
    """Frames from one key frame to the next; few make random access fast."""
    lossless: bool = False
    """Keep the scaled RGB values exactly; files are several times larger."""


class Preprocess(Strict):
    """All settings of preprocessing."""

    height: int = Field(128, ge=8)
    """Stored height in pixels; frames are cropped at the centre to the stored aspect ratio, then scaled."""
    width: int = Field(128, ge=8)
    """Stored width in pixels."""
    workers: int | None = Field(None, ge=1)
    """Videos processed at the same time; null: one for each core."""
    timeout_minutes: float = Field(240.0, gt=0)
    """A video that takes longer is set aside."""
    fps: float | None = Field(None, gt=0)
    """Frames per second of the shots: frames of faster videos are left out. Null: each shot keeps its own."""
    slower: Literal["refuse", "keep"] = "refuse"
    """A shot with fewer frames per second than `fps` is set aside, or kept as it is. A rate within 1 % is as good."""
    deinterlace: bool = False
    """Mend interlaced frames (FFmpeg's bwdif). Otherwise they stay as they are, with a remark."""
    finder: Literal["both", "learned", "rules"] = "both"
    """What finds burnt-in things: the learned finder and rules together, or one of them alone."""
    drop_near_duplicates: bool = False
    """Set aside videos that look like another one (re-encoded or scaled); they are reported in any case."""
    shots: ShotSettings = ShotSettings()
    text: TextSettings = TextSettings()
    views: ViewSettings = ViewSettings()
    store: StoreSettings = StoreSettings()
    masks: list[MaskSettings] = []
    """Masks of your own, which add to what is found, replace it or take parts of it away."""

    def digest(self, has_model: bool) -> str:
        """Hash of all settings that change the results, except `masks`, and of whether the text model is used."""
        values = self.model_dump(mode="json", exclude={"workers", "timeout_minutes", "drop_near_duplicates", "masks"})
        values["model"] = has_model
        # Constants, so that the hash is that of outputs made by earlier versions, whose videos need no new analysis.
        values["masks"] = values["pictures"] = []
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _hash_of(picture: str) -> str:
    try:
        return hashlib.sha256(Path(picture).read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(
            f"the mask picture {picture} can't be read ({error.strerror}); check masks in the settings"
        ) from None
