"""What is known about a video after its analysis, as frozen values, and its record on disk."""

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import TypeAdapter, ValidationError

from data_prep.measure.quality import Quality
from data_prep.text.tickers import Ticker
from data_prep.text.track import Box
from data_prep.video.cropping import Crop
from data_prep.video.decode import Probe
from data_prep.work.records import Records


def pack(covered: np.ndarray) -> str:
    """A bool array as text, one bit per element."""
    return base64.b64encode(np.packbits(covered).tobytes()).decode()


def unpack(text: str, height: int, width: int) -> np.ndarray:
    """The bool `H W` array that `pack` made a text of."""
    bits = np.frombuffer(base64.b64decode(text), np.uint8)
    return np.unpackbits(bits, count=height * width).reshape(height, width) > 0


@dataclass(frozen=True)
class Span:
    """A shot without the blank frames at its ends."""

    start: int
    end: int
    """The frame after the last one."""
    picture: Crop
    """The picture without bars, in upright source pixels."""
    bars_known: bool = True
    """False if bars may come or go within the shot, or it is too dark to tell whether it has those of others."""


@dataclass(frozen=True)
class Segment:
    """The frames from one cut to the next, and what was measured in them."""

    start: int
    end: int
    """The frame after the last one."""
    moving: bool
    """Whether they move enough to tell an overlay from the scene."""
    quality: Quality


@dataclass(frozen=True)
class Text:
    """A burnt-in text, or one that may belong to the scene, and the frames that show it."""

    start: int
    end: int
    """The frame after the last one."""
    box: Box
    bits: str
    """The covered pixels of the box, packed: all areas of a long film take hundreds of megabytes."""
    sure: bool
    """Whether there is evidence that it is burnt in."""
    probability: float | None = None
    """That it is burnt in; None if only rules decided."""
    why: str = ""
    """What it was found by."""

    def covered(self) -> np.ndarray:
        """The pixels that the text covers, bool `H W` of its box."""
        top, left, bottom, right = self.box
        return unpack(self.bits, bottom - top, right - left)


@dataclass(frozen=True)
class Overlay:
    """Logos, watermarks and the like, and the frames that show them."""

    start: int
    end: int
    """The frame after the last one."""
    bits: str
    """The covered pixels of the analysed picture, packed."""
    opacity: float | None
    """0 to 1; None for what the learned finder alone saw."""
    sure: bool = True
    """Whether there is enough evidence that it is burnt in."""
    probability: float | None = None
    """That it is burnt in; None if only rules decided."""
    why: str = ""
    """What it was found by."""


@dataclass(frozen=True)
class Analysis:
    """Everything found in a video."""

    probe: Probe
    frames: int
    size: tuple[int, int]
    """Height and width of the analysed picture, pixels; boxes and covered pixels refer to it."""
    picture: Crop
    """The picture without the bars that the whole film has, in upright source pixels."""
    spans: tuple[Span, ...]
    segments: tuple[Segment, ...]
    finder: str
    """What found burnt-in things: `both`, `learned` or `rules`."""
    moving: bool
    """Whether the shots together move enough to tell an overlay from the scene."""
    texts: tuple[Text, ...]
    overlays: tuple[Overlay, ...]
    tickers: tuple[Ticker, ...]
    fingerprint: tuple[str, ...]
    """Perceptual hashes of about one picture per second."""
    seconds: dict[str, float]
    """Processor seconds by stage."""
    times: str = ""
    """When each frame is shown, packed; only if shots get another frame rate."""

    def to_json(self) -> dict[str, Any]:
        """The analysis as JSON can hold it."""
        return _ANALYSIS.dump_python(self, mode="json")

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Self | None:
        """The analysis that `to_json` made a record of; None if the record is not one."""
        try:
            return _ANALYSIS.validate_python(record)
        except ValidationError:
            return None

    def picture_at(self, number: int) -> Crop:
        """The picture without bars in the frame with this number."""
        return next((span.picture for span in self.spans if span.start <= number < span.end), self.picture)


_ANALYSIS: TypeAdapter[Any] = TypeAdapter(Analysis)


class AnalysisRecords:
    """The records of analysed videos in `output`/analysis: what was found, or why a video can't be used."""

    def __init__(self, output: Path) -> None:
        self._records = Records(output / "analysis")

    def get(self, key: str) -> Analysis | str | None:
        """The analysis, or the reason why the video can't be used; None if this version can read no such record."""
        record = self._records.get(key)
        if record is None:
            return None
        refused = record.get("refused")
        return refused if isinstance(refused, str) else Analysis.from_json(record)

    def usable(self, key: str) -> Analysis | None:
        """The analysis, or None if there is none."""
        found = self.get(key)
        return found if isinstance(found, Analysis) else None

    def put(self, key: str, found: Analysis | str) -> None:
        """Write an analysis, or the reason why a video can't be used, atomically."""
        record = {"refused": found} if isinstance(found, str) else {"refused": None, **found.to_json()}
        self._records.put(key, record)

    def maps_file(self, key: str) -> Path:
        """Where the mean gradients of the video are, to find overlays that videos of one source share."""
        return self._records.folder / f"{key}.npz"
