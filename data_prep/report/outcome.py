"""What a run has to show for itself."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from data_prep.work.scan import Remark, SetAside
from vidboot.data.manifest import Manifest, ManifestRow, load_manifest


@dataclass
class ViewTotal:
    """The shots of one verdict that can supply a view."""

    view: str
    verdict: str
    shots: int = 0
    frames: int = 0
    seconds: float = 0.0

    def add(self, row: ManifestRow) -> None:
        """Count a shot."""
        self.shots += 1
        self.frames += row.num_frames
        self.seconds += row.num_frames / row.fps


@dataclass(frozen=True)
class Outcome:
    """The result of a run: the manifest, the report page, and what the user should know."""

    root: Path
    """Folder of the manifest."""
    page: Path
    set_aside: list[SetAside]
    remarks: list[Remark]
    videos: int
    new: int
    """Videos that no earlier run had processed."""
    shots: int
    totals: list[ViewTotal]
    frames: int
    """Frames of all usable videos."""
    seconds: dict[str, float]
    """Processor seconds of all usable videos, by stage."""
    url: str | None = None
    """Where a copy of the folder is, if one was asked for."""

    @cached_property
    def manifest(self) -> Manifest:
        """The shots; read when first asked for, because a hundred thousand videos have millions."""
        return load_manifest(self.root)


def nothing_usable(set_aside: list[SetAside]) -> str:
    """The message of a run in which no video supplies a shot: what was set aside, why, and what to do."""
    reasons = "\n".join(f"  {item.what}: {item.reason}" for item in set_aside[:20])
    more = f"\n  and {len(set_aside) - 20} more" if len(set_aside) > 20 else ""
    return (
        f"no usable shot in the inputs\n{reasons}{more}\n"
        "give other files, or lower views.clip_frames if the shots are too short"
    )
