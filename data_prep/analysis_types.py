"""What is known about a video after its analysis, as frozen values, and its record."""

import base64
import zlib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from data_prep.measure.quality import Quality
from data_prep.text.tickers import Ticker
from data_prep.text.track import Box
from data_prep.video.cropping import Crop
from data_prep.video.decode import Probe
from data_prep.work.store import Store, packed, unpacked


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


@dataclass(frozen=True, slots=True)
class Brief:
    """The parts of an analysis that a run keeps of all its videos together; a whole one may take megabytes."""

    __pydantic_config__ = ConfigDict(val_json_bytes="hex", ser_json_bytes="hex")

    frames: int
    fps: float
    size: tuple[int, int]
    notes: tuple[str, ...]
    tickers: tuple[tuple[int, int], ...]
    """First frame, frame after the last."""
    fingerprint: bytes
    """The perceptual hashes, 8 bytes each; 16 letters in the record."""
    seconds: dict[str, float]

    @classmethod
    def of(cls, analysis: Analysis) -> Self:
        """The brief of an analysis."""
        spans = tuple((ticker.start, ticker.end) for ticker in analysis.tickers)
        fps, notes = analysis.probe.fps, tuple(analysis.probe.notes)
        hashes = bytes.fromhex("".join(analysis.fingerprint))
        return cls(analysis.frames, fps, analysis.size, notes, spans, hashes, analysis.seconds)


@dataclass(frozen=True)
class _Refused:
    """The record of a video that can't be used."""

    refused: str


_BRIEF: TypeAdapter[Any] = TypeAdapter(Brief)
_RECORD: TypeAdapter[Any] = TypeAdapter(Annotated[Brief | _Refused, Field(union_mode="left_to_right")])


class AnalysisRecords:
    """What was found in videos by key, or why a video can't be used."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def briefs(self, keys: Collection[str]) -> Iterator[tuple[str, Brief | str]]:
        """For those keys that have a whole record: the brief, or the reason why the video can't be used."""
        for key, value in self._store.get_many("briefs", keys):
            try:
                # From the text itself, which is faster, and gives all briefs the same strings as names of stages.
                record = _RECORD.validate_json(zlib.decompress(value))
            except (ValidationError, zlib.error):  # damaged: the video is analysed anew
                continue
            yield key, record.refused if isinstance(record, _Refused) else record

    def usable(self, key: str) -> Analysis | None:
        """The analysis, or None if there is none."""
        record = unpacked(self._store.get("analyses", key))
        return None if record is None else Analysis.from_json(record)

    def put(self, key: str, found: Analysis | str, maps: bytes | None = None) -> None:
        """Keep an analysis, with its `packed_maps` if they are given, or the reason why the video can't be used."""
        if isinstance(found, str):
            self._store.put("briefs", key, packed({"refused": found}))
            return
        self._store.put("briefs", key, packed(_BRIEF.dump_python(Brief.of(found), mode="json")))
        self._store.put("analyses", key, packed(found.to_json()))
        if maps is not None:
            self._store.put("maps", key, maps)

    def forget(self, keys: Iterable[str]) -> None:
        """Forget analyses, so that the videos are analysed anew."""
        self._store.delete("briefs", keys)
