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


def nothing_usable(set_aside: list[SetAside]) -> str:
    """The message of a run in which no video supplies a shot: what was set aside, why, and what to do."""
    reasons = "\n".join(f"  {item.what}: {item.reason}" for item in set_aside[:20])
    more = f"\n  and {len(set_aside) - 20} more" if len(set_aside) > 20 else ""
    return (
        f"no usable shot in the inputs\n{reasons}{more}\n"
        "give other files, or lower views.clip_frames if the shots are too short"
    )
