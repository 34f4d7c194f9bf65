"""The manifest: one parquet row per shot, made by preprocess, read by everything else."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Bool, UInt8

from vidboot.data.files import atomic_path
from vidboot.data.masks import MaskTrack
from vidboot.data.video import read_frames
from vidboot.errors import UserError

SCHEMA_VERSION = 1
FILE_NAME = "manifest.parquet"

VIEWS = ("full", "clip", "low_res")
VERDICTS = ("clean", "masked", "uncertain")
Verdict = Literal["clean", "masked", "uncertain"]

# Arrow type and unit or meaning of each column, stored in the file beside the data. Lists have no fixed size: versions of
# Arrow don't agree on how a missing one is stored.
_COLUMNS: dict[str, tuple[pa.DataType, str]] = {
    "id": (pa.string(), "hash of the source file's content, the span and the stored size"),
    "source": (pa.string(), "path of the file that the shot was cut from"),
    "start": (pa.int64(), "first source frame, counted in display order from 0"),
    "end": (pa.int64(), "source frame after the last one"),
    "path": (pa.string(), "stored video, relative to the manifest's folder"),
    "num_frames": (pa.int64(), "frames stored, one for each source frame"),
    "fps": (pa.float64(), "frames per second; the mean over the shot if the source's rate varies"),
    "height": (pa.int64(), "stored height, pixels"),
    "width": (pa.int64(), "stored width, pixels"),
    "crop": (pa.list_(pa.int64()), "top, left, height, width of the stored region, upright source pixels"),
    "picture": (pa.list_(pa.int64()), "top, left, height, width of the source's picture without letterbox bars"),
    "views": (pa.list_(pa.string()), "views that the shot can supply: full, clip, low_res"),
    "verdict": (pa.string(), "clean, masked (see mask) or uncertain (something may be burnt in)"),
    "reason": (pa.string(), "why the verdict is what it is"),
    "sharpness": (pa.float64(), "variance of the Laplacian, squared grey levels"),
    "detail": (pa.float64(), "share of the source's resolution that holds detail, 0 to 1"),
    "motion": (pa.float64(), "mean change from frame to frame, grey levels of 0 to 255"),
    "brightness": (pa.float64(), "mean brightness, 0 to 255"),
    "blockiness": (pa.float64(), "steps at the borders of 8x8 blocks over steps elsewhere; 1 is none"),
    "mask": (pa.string(), "mask file, relative to the manifest's folder; null: every pixel is clean"),
    "label": (pa.string(), "folder of the source, relative to the input folder; null at its top"),
}
_SCHEMA = pa.schema([pa.field(name, kind, metadata={"meaning": note}) for name, (kind, note) in _COLUMNS.items()])


@dataclass(frozen=True)
class Shot:
    """One row of the manifest: a stretch of a source video without a cut, stored at the training size."""

    id: str
    source: str
    start: int
    end: int
    path: str
    num_frames: int
    fps: float
    height: int
    width: int
    crop: tuple[int, int, int, int]
    """Top, left, height, width of the stored region in upright source pixels."""
    views: frozenset[str]
    verdict: Verdict
    reason: str | None
    """Why the verdict is what it is."""
    mask_path: str | None
    label: str | None
    root: Path = field(compare=False, repr=False)
    """Folder of the manifest, which `path` and `mask_path` are relative to."""

    def frames(self, indices: Sequence[int] | None = None) -> UInt8[np.ndarray, "T H W C"]:
        """Stored frames with these numbers (all if None), RGB; raises `VideoError` if the file can't be read."""
        return read_frames(self.root / self.path, indices)

    def mask(self, indices: Sequence[int] | None = None) -> Bool[np.ndarray, "T H W"]:
        """Masks of the same frames, True = clean; raises `UserError` if the mask file can't be read."""
        if self.mask_path is None:
            return MaskTrack(self.num_frames, self.height, self.width).frames(indices)
        path = self.root / self.mask_path
        return _mask_track(path, path.stat().st_mtime_ns if path.exists() else None).frames(indices)


@lru_cache(maxsize=512)
def _mask_track(path: Path, changed: int | None) -> MaskTrack:
    """A mask file, read once until it changes: a clip needs it as often as its video, and it is small."""
    return MaskTrack.load(path)


class Manifest(Sequence[Shot]):
    """The shots of one preprocessed folder, ordered by source and start."""

    def __init__(self, root: Path, shots: Iterable[Shot]) -> None:
        self.root, self.shots = root, tuple(shots)

    def __len__(self) -> int:
        return len(self.shots)

    def __getitem__(self, index: Any) -> Any:
        return self.shots[index]

    def supplying(self, view: str) -> tuple[Shot, ...]:
        """Shots that can supply a view: 'full', 'clip' or 'low_res'."""
        if view not in VIEWS:
            raise ValueError(f"there is no view '{view}', only {', '.join(VIEWS)}")
        return tuple(shot for shot in self.shots if view in shot.views)


def check_size(shots: Iterable[Shot], height: int, width: int, folder: Path) -> None:
    """Raise `UserError` unless the shots of this folder are stored at the size of the run's videos."""
    if other := {(shot.height, shot.width) for shot in shots} - {(height, width)}:
        stored = "×".join(map(str, other.pop()))
        raise UserError(
            f"{folder} holds videos of {stored}, but video.height and video.width are {height}×{width}: run "
            f"tools/preprocess.py with height={height} width={width}"
        )


def write_manifest(folder: str | Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write the rows, one dictionary per shot with the columns of the schema, in their order, atomically."""
    table = pa.Table.from_pylist(list(rows), schema=_SCHEMA)
    table = table.replace_schema_metadata({"vidboot_schema_version": str(SCHEMA_VERSION)})
    with atomic_path(Path(folder) / FILE_NAME) as partial:
        pq.write_table(table, partial)


def load_manifest(folder: str | Path) -> Manifest:
    """Read the manifest of a preprocessed folder.

    Raises `UserError` if it is missing, damaged or of another schema version.
    """
    folder = Path(folder)
    path = folder / FILE_NAME
    again = "run tools/preprocess.py with --output on that folder"
    if not path.is_file():
        raise UserError(f"there is no manifest in {folder}; {again}")
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"the manifest {path} can't be read ({error}); {again}") from None
    version = (table.schema.metadata or {}).get(b"vidboot_schema_version", b"none").decode()
    if version != str(SCHEMA_VERSION):
        raise UserError(f"{path} has schema version {version}, this program reads {SCHEMA_VERSION}; {again}")
    missing = set(_COLUMNS) - set(table.column_names)
    if missing:
        raise UserError(f"{path} has no column {', '.join(sorted(missing))}; {again}")
    return Manifest(folder, [_shot(row, folder) for row in table.to_pylist()])


def _shot(row: dict[str, Any], root: Path) -> Shot:
    row = {**row, "crop": tuple(row["crop"]), "views": frozenset(row["views"]), "mask_path": row["mask"], "root": root}
    return Shot(**{f.name: row[f.name] for f in fields(Shot)})
