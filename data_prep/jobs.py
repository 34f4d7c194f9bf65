"""What is handed to worker processes, and what they hand back: plain values."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.analysis_types import Analysis
from data_prep.config import Preprocess
from data_prep.work.locations import Location


@dataclass(frozen=True)
class HashJob:
    """A file whose content hash is wanted."""

    path: Location
    output: Path
    """Folder for a copy of a remote file."""


@dataclass(frozen=True)
class AnalyseJob:
    """A video to be analysed; `key` names its records."""

    path: Location
    key: str
    settings: Preprocess
    output: Path
    stores: bool = False
    """Whether its shots are encoded at once; for a remote video, so that it is fetched once."""
    drawn: bool = False
    """Whether frames for the report are made at once."""


@dataclass(frozen=True)
class Analysed:
    """What was found in a video, with its `packed_maps`; or why it can't be used."""

    found: Analysis | str
    maps: bytes = b""
    encoded: dict[str, Any] | None = None
    """The record of its encoded shots, if they were made at once."""
    pictures: dict[str, str] | None = None
    """Frames for the report by number, if they were made at once."""


@dataclass(frozen=True)
class StoreJob:
    """A video to be stored, with what earlier runs know about it."""

    path: Location
    analysis: str
    """Key of the records that do not depend on masks."""
    key: str
    output: Path
    settings: Preprocess
    pooled: str | None
    """Overlays that the videos of its source share, packed."""
    found: bytes | None
    """Its analysis, packed: whole analyses of long films would fill the queue of jobs."""
    encoded: dict[str, Any] | None = None
    """The record of its encoded shots; None if they must be encoded."""
    pictures: dict[str, str] | None = None
    """Frames for the report, by number; None if they must be decoded."""
    drawn: bool = False
    """Whether the report shows it."""


@dataclass(frozen=True)
class StoredVideo:
    """What was stored of a video; of `encoded`, `pictures` and `page` only what the job did not have."""

    record: dict[str, Any]
    files: dict[str, int]
    """Sizes of its files, which are relative to the output folder."""
    masks: dict[str, bytes]
    """Contents of its mask files, under the names that the record gives them."""
    encoded: dict[str, Any] | None = None
    pictures: dict[str, str] | None = None
    page: dict[str, Any] | None = None
    """The report's part about it."""
