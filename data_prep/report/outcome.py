"""What a run has to show for itself."""

from dataclasses import dataclass
from pathlib import Path

from data_prep.work.scan import Remark, SetAside
from vidboot.data.manifest import Manifest


@dataclass(frozen=True)
class Outcome:
    """The result of a run: the manifest, the report page, and what the user should know."""

    manifest: Manifest
    page: Path
    set_aside: list[SetAside]
    remarks: list[Remark]
    videos: int
    new: int
    """Videos that no earlier run had processed."""
    frames: int
    """Frames of all usable videos."""
    seconds: dict[str, float]
    """Processor seconds of all usable videos, by stage."""
