"""The manifest: one parquet row per shot, written by preprocessing, read by everything else."""

import difflib
import gc
import types
import typing
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from functools import cache, lru_cache
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal, overload

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Bool, UInt8

from vidboot.data.files import atomic_path
from vidboot.data.masks import MaskTrack
from vidboot.data.members import file_of
from vidboot.data.remote import at_hand, content_of
from vidboot.data.urls import url_of
from vidboot.data.video import read_frames
from vidboot.errors import UserError

SCHEMA_VERSION = 1
FILE_NAME = "manifest.parquet"

VIEWS = ("full", "clip", "low_res")
# Rows that are written or read at a time, and rows that are made at a time to be written, which take ten times the
# memory, a kilobyte or two each: a file may have millions.
_AT_ONCE, _MADE = 20_000, 2000

VERDICTS = ("clean", "masked", "uncertain")
Verdict = Literal["clean", "masked", "uncertain"]

Timing = Literal["own", "dropped", "near", "slower"]

Box = tuple[int, int, int, int]
"""Top, left, height, width in pixels."""


@dataclass(frozen=True)
class ManifestRow:
    """One row of the manifest. The fields are its columns; the text beside each type is stored in the file."""

    id: Annotated[str, "hash of the source file's content, the span and the stored size"]
    source: Annotated[str, "path or URL of the file that the shot was cut from"]
    start: Annotated[int, "first source frame, counted in display order from 0"]
    end: Annotated[int, "source frame after the last one"]
    path: Annotated[str, "stored video, relative to the manifest's folder; in a tar: TAR#OFFSET+BYTES"]
    num_frames: Annotated[int, "frames stored: one for each source frame, or fewer (see timing)"]
    fps: Annotated[float, "frames per second; the mean over the shot if the source's rate varies"]
    height: Annotated[int, "stored height, pixels"]
    width: Annotated[int, "stored width, pixels"]
    crop: Annotated[Box, "top, left, height, width of the stored region, upright source pixels"]
    picture: Annotated[Box | None, "top, left, height, width of the source's picture without letterbox bars"] = None
    timing: Annotated[
        Timing,
        "own: the source's frame rate; dropped: frames left out to get the rate that was asked for; near: the source's "
        "is within 1 % of that; slower: the source's is below it",
    ] = "own"
    views: Annotated[tuple[str, ...], "views that the shot can supply: full, clip, low_res"] = ()
    verdict: Annotated[Verdict, "clean, masked (see mask) or uncertain (something may be burnt in)"] = "clean"
    reason: Annotated[str | None, "why the verdict is what it is"] = None
    sharpness: Annotated[float | None, "variance of the Laplacian, squared grey levels"] = None
    detail: Annotated[float | None, "share of the source's resolution that holds detail, 0 to 1"] = None
    motion: Annotated[float | None, "mean change from frame to frame, grey levels of 0 to 255"] = None
    brightness: Annotated[float | None, "mean brightness, 0 to 255"] = None
    blockiness: Annotated[float | None, "steps at the borders of 8x8 blocks over steps elsewhere; 1 is none"] = None
    mask: Annotated[str | None, "mask, named like path; null: every pixel is clean"] = None
    label: Annotated[str | None, "folder of the source, relative to the input folder; null at its top"] = None

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "ManifestRow":
        """A row from plain values, as JSON and Arrow give them: lists become tuples, other columns are left out."""
        given = {name: values[name] for name in _COLUMNS if name in values}
        row: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in given.items()}
        return cls(**row)

    def values(self) -> dict[str, Any]:
        """The row by column."""
        return {name: getattr(self, name) for name in _COLUMNS}


# Looked up once: a manifest may have millions of rows.
_COLUMNS = tuple(column.name for column in fields(ManifestRow))


def _arrow_type(annotation: Any) -> pa.DataType:
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return _arrow_type(next(one for one in inner if one is not types.NoneType))
    if origin is tuple:
        # No fixed size, even for a box: versions of Arrow read a missing list of fixed size in different ways.
        return pa.list_(_arrow_type(inner[0]))
    return {str: pa.string(), int: pa.int64(), float: pa.float64(), Literal: pa.string()}[origin or annotation]


def _schema() -> pa.Schema:
    """A column for each field, with its meaning."""
    columns = typing.get_type_hints(ManifestRow, include_extras=True)
    parts = ((name, *typing.get_args(annotated)) for name, annotated in columns.items())
    return pa.schema([pa.field(name, _arrow_type(kind), metadata={"meaning": note}) for name, kind, note in parts])


_SCHEMA = _schema()


@dataclass(frozen=True)
class Shot:
    """A stretch of a source video without a cut, stored at the training size: a row of the manifest, ready to read."""

    id: str
    source: str
    start: int
    end: int
    path: str
    num_frames: int
    fps: float
    height: int
    width: int
    crop: Box
    """The stored region, in upright source pixels."""
    views: frozenset[str]
    verdict: Verdict
    reason: str | None
    """Why the verdict is what it is."""
    mask_path: str | None
    label: str | None
    root: Path = field(compare=False, repr=False)
    """Folder of the manifest, or its URL as a path; `path` and `mask_path` are relative to it."""

    def frames(self, indices: Sequence[int] | None = None) -> UInt8[np.ndarray, "T H W C"]:
        """The stored frames with these numbers (None: all), RGB; raises `VideoError` if the file can't be read."""
        return read_frames(at_hand(self.root, self.path), indices)

    def mask(self, indices: Sequence[int] | None = None) -> Bool[np.ndarray, "T H W"]:
        """The masks of these frames, true where a pixel is clean; raises `UserError` if the file can't be read."""
        if self.mask_path is None:
            return MaskTrack(self.num_frames, self.height, self.width).frames(indices)
        path = at_hand(self.root, self.mask_path)
        holder = Path(file_of(path))
        return _mask_track(path, holder.stat().st_mtime_ns if holder.exists() else None).frames(indices)


@lru_cache(maxsize=512)
def _mask_track(path: Path, changed: int | None) -> MaskTrack:
    """A mask file, kept in memory until it changes: it is small, and needed whenever a clip is read."""
    return MaskTrack.load(path)


class Manifest(Sequence[Shot]):
    """The shots of one preprocessed folder, ordered by source and start."""

    def __init__(self, root: Path, shots: Iterable[Shot]) -> None:
        self.root, self.shots = root, tuple(shots)

    def __len__(self) -> int:
        return len(self.shots)

    @overload
    def __getitem__(self, index: int) -> Shot: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Shot, ...]: ...

    def __getitem__(self, index: int | slice) -> Shot | tuple[Shot, ...]:
        return self.shots[index]

    def supplying(self, view: str) -> tuple[Shot, ...]:
        """Shots that can supply a view: 'full', 'clip' or 'low_res'."""
        if view not in VIEWS:
            raise ValueError(f"there is no view '{view}', only {', '.join(VIEWS)}")
        return tuple(shot for shot in self.shots if view in shot.views)


def check_size(shots: Iterable[Shot], height: int, width: int, folder: Path) -> None:
    """Raise `UserError` unless the shots of a folder are stored at the height and width of the run's videos."""
    if other := {(shot.height, shot.width) for shot in shots} - {(height, width)}:
        stored = "×".join(map(str, other.pop()))
        raise UserError(
            f"{folder} holds videos of {stored}, but video.height and video.width are {height}×{width}: run "
            f"tools/preprocess.py with height={height} width={width}"
        )


def check_classes(shots: Iterable[Shot], classes: Sequence[str]) -> None:
    """Raise `UserError` for a class that no shot has as its label, with the nearest label."""
    labels = sorted({shot.label for shot in shots if shot.label is not None})
    for name in classes:
        if name not in labels:
            near = difflib.get_close_matches(name.rstrip("/").rpartition("/")[2], labels, n=1, cutoff=0.5)
            hint = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(labels) or 'none'}."
            raise UserError(
                f"data.classes: no shot has the label '{name}'; {hint} A label is the name of a folder inside the "
                "input folder, not a path"
            )


def write_manifest(folder: str | Path, rows: Iterable[ManifestRow]) -> None:
    """Write the rows, in their order, atomically; only `_AT_ONCE` of them are in memory, most as Arrow's columns."""
    schema = _SCHEMA.with_metadata({"vidboot_schema_version": str(SCHEMA_VERSION)})
    left = iter(rows)
    with atomic_path(Path(folder) / FILE_NAME) as partial, pq.ParquetWriter(partial, schema) as writer:
        while parts := list(islice(_batches(left, schema), _AT_ONCE // _MADE)):
            writer.write_table(pa.Table.from_batches(parts))


def _batches(rows: Iterator[ManifestRow], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    while some := [row.values() for row in islice(rows, _MADE)]:
        yield pa.RecordBatch.from_pylist(some, schema=schema)


def load_manifest(folder: str | Path) -> Manifest:
    """Read the manifest of a preprocessed folder, or of one at a URL; raises `UserError` as `load_rows` does."""
    folder = Path(folder)
    table = _read_table(folder, _SCHEMA.names)
    with _without_collection():
        return Manifest(folder, [shot for part in table.to_batches(_AT_ONCE) for shot in _shots(part, folder)])


@contextmanager
def _without_collection() -> Iterator[None]:
    """Don't look for garbage while many objects are made that all stay: that takes as long as making them."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def _shots(part: pa.RecordBatch, root: Path) -> Iterator[Shot]:
    """The shots of some rows, by column: to make a `ManifestRow` of each first would take longer than all else."""
    names = [field.name for field in fields(Shot) if field.name != "root"]
    values = {name: part["mask" if name == "mask_path" else name].to_pylist() for name in names}
    # Shots with the same views share one object.
    shared: Callable[[tuple[str, ...]], frozenset[str]] = cache(frozenset)
    values["crop"] = [tuple(crop) for crop in values["crop"]]
    values["views"] = [shared(tuple(views)) for views in values["views"]]
    return (Shot(*each) for each in zip(*values.values(), [root] * part.num_rows, strict=True))


def load_rows(folder: str | Path) -> Iterator[ManifestRow]:
    """The rows of the manifest in a preprocessed folder, made one after another.

    Raises `UserError` if it is missing, damaged or of another schema version.
    """
    table = _read_table(Path(folder), _SCHEMA.names)
    return (ManifestRow.of(values) for part in table.to_batches(_AT_ONCE) for values in part.to_pylist())


def count_sources(folder: str | Path) -> dict[str, int]:
    """By source, the number of its shots in the manifest; raises `UserError` as `load_rows` does."""
    return Counter(_read_table(Path(folder), ["source"])["source"].to_pylist())


def named_files(folder: str | Path) -> set[str]:
    """The files that hold the manifest's shots and masks, relative to `folder`; raises `UserError` as `load_rows`."""
    table = _read_table(Path(folder), ["path", "mask"])
    return {file_of(name) for column in table.columns for name in column.to_pylist() if name is not None}


def _read_table(folder: Path, columns: Sequence[str]) -> pa.Table:
    """Columns of the manifest in a folder; raises `UserError` if it is missing, damaged or of another version."""
    url, path = url_of(folder), folder / FILE_NAME
    again = "run tools/preprocess.py with --output on that folder"
    content = None if url is None else content_of(f"{url}/{FILE_NAME}")
    if content is None and (url is not None or not path.is_file()):
        raise UserError(f"there is no manifest in {url or folder}; {again}")
    file = path if content is None else pa.BufferReader(content)
    try:
        stored = pq.ParquetFile(file)  # `pq.read_table` would load pandas, where it is installed
        schema = stored.schema_arrow
        version = (schema.metadata or {}).get(b"vidboot_schema_version", b"none").decode()
        missing = set(columns) - set(schema.names)
        if version == str(SCHEMA_VERSION) and not missing:
            return stored.read(columns=list(columns))
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"the manifest {path} can't be read ({error}); {again}") from None
    if version != str(SCHEMA_VERSION):
        raise UserError(f"{path} has schema version {version}, this program reads {SCHEMA_VERSION}; {again}")
    raise UserError(f"{path} has no column {', '.join(sorted(missing))}; {again}")
