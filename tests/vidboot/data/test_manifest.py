from dataclasses import fields

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vidboot.data.manifest import ManifestRow, Shot, check_classes, load_manifest, load_rows, write_manifest
from vidboot.data.masks import Event, MaskTrack
from vidboot.data.video import write_video
from vidboot.errors import UserError


def row(**changes):
    values = {
        "id": "a1", "source": "/films/a.mp4", "start": 5, "end": 8, "path": "shots/a.mp4", "num_frames": 3, "fps": 24.0,
        "height": 16, "width": 20, "crop": (0, 4, 90, 120), "picture": (0, 0, 90, 160), "views": ("clip",),
        "verdict": "masked", "reason": "a logo", "mask": "a.npz", "sharpness": 1.0, "detail": 1.0, "motion": 2.0,
        "brightness": 99.0, "blockiness": 1.0,
        "label": "films",
    }  # fmt: skip
    return ManifestRow(**values | changes)


@pytest.fixture
def folder(tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (3, 16, 20, 3), dtype=np.uint8)
    write_video(tmp_path / "shots/a.mp4", frames, 24, lossless=True)
    MaskTrack(3, 16, 20, [Event(1, 2, np.ones((16, 20), bool))]).save(tmp_path / "a.npz")
    write_manifest(tmp_path, [row(), row(id="b2", mask=None, label=None, views=("full", "clip"), verdict="clean")])
    return tmp_path, frames


def test_rows_come_back_as_shots_with_frames_and_masks(folder):
    root, frames = folder
    first, second = load_manifest(root)
    assert (first.source, first.start, first.end, first.crop) == ("/films/a.mp4", 5, 8, (0, 4, 90, 120))
    assert (first.verdict, first.label, first.views) == ("masked", "films", {"clip"})
    assert np.array_equal(first.frames(), frames) and np.array_equal(first.frames([2, 0]), frames[[2, 0]])
    assert first.mask().all(axis=(1, 2)).tolist() == [True, False, True]
    assert first.mask([1]).shape == (1, 16, 20) and first.mask([1]).dtype == bool
    assert second.label is None and second.mask().all()


def test_rows_come_back_as_they_were_also_where_most_is_missing(tmp_path):
    least = {
        name: getattr(row(), name) for name in ("id", "source", "start", "end", "path", "num_frames", "fps", "crop")
    }
    rows = [row(), ManifestRow(**least, height=16, width=20), row(id="b2", picture=None, reason=None)]
    write_manifest(tmp_path, rows)
    assert list(load_rows(tmp_path)) == rows
    stored = pq.read_table(tmp_path / "manifest.parquet")
    assert stored.column_names == [field.name for field in fields(ManifestRow)]
    assert stored.to_pylist()[1]["picture"] is None


def test_the_columns_are_of_the_types_that_older_manifests_have(folder):
    """Read by pyarrow alone: numbers of 64 bits, lists without a fixed size, a meaning for each."""
    schema = pq.read_schema(folder[0] / "manifest.parquet")
    kinds = {field.name: str(field.type).replace("element: ", "item: ") for field in schema}
    lists = {"crop": "list<item: int64>", "picture": "list<item: int64>", "views": "list<item: string>"}
    numbers = dict.fromkeys(("start", "end", "num_frames", "height", "width"), "int64")
    measures = ("fps", "sharpness", "detail", "motion", "brightness", "blockiness")
    assert kinds == dict.fromkeys(kinds, "string") | lists | numbers | dict.fromkeys(measures, "double")
    assert all(field.metadata[b"meaning"] for field in schema)


def test_a_shot_is_its_row_with_the_folder(tmp_path):
    other = row(id="b2", mask=None, views=("full", "clip"), label="sea", num_frames=9)
    write_manifest(tmp_path, [row(), other])
    for shot, one in zip(load_manifest(tmp_path), (row(), other), strict=True):
        values = one.values() | {"mask_path": one.mask, "views": frozenset(one.views), "root": tmp_path}
        assert {field.name: getattr(shot, field.name) for field in fields(Shot)}.items() <= values.items()


def test_a_row_of_plain_values_takes_lists_and_no_other_columns():
    values = row().values() | {"crop": [0, 4, 90, 120], "views": ["clip"], "taste": "sweet"}
    assert ManifestRow.of(values) == row()


def test_shots_are_found_by_view(folder):
    manifest = load_manifest(folder[0])
    assert [shot.id for shot in manifest.supplying("full")] == ["b2"]
    assert [shot.id for shot in manifest.supplying("clip")] == ["a1", "b2"]
    assert manifest.supplying("low_res") == ()
    with pytest.raises(ValueError, match="no view 'clips'"):
        manifest.supplying("clips")


def test_units_and_version_are_in_the_file(folder):
    schema = pq.read_schema(folder[0] / "manifest.parquet")
    assert schema.metadata[b"vidboot_schema_version"] == b"1"
    assert b"frames per second" in schema.field("fps").metadata[b"meaning"]


def test_another_version_a_damaged_and_a_missing_manifest_tell_what_to_run(folder, tmp_path):
    root, _ = folder
    path = root / "manifest.parquet"
    with pytest.raises(UserError, match=r"no manifest in .*preprocess"):
        load_manifest(tmp_path / "elsewhere")
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({"vidboot_schema_version": "0"}), path)
    with pytest.raises(UserError, match=r"schema version 0.*preprocess"):
        load_manifest(root)
    pq.write_table(pa.table({"id": ["x"]}), path)
    with pytest.raises(UserError, match=r"schema version none.*preprocess"):
        load_manifest(root)
    path.write_bytes(b"PAR1 broken")
    with pytest.raises(UserError, match=r"can't be read.*preprocess"):
        load_manifest(root)


@pytest.mark.parametrize(
    ("name", "says"),
    [("film", "did you mean 'films'"), ("/in/films/", "did you mean 'films'"), ("x", "there are: films")],
)
def test_a_class_that_no_shot_has_is_refused_with_the_nearest(folder, name, says):
    shots = load_manifest(folder[0])
    check_classes(shots, ["films"])
    with pytest.raises(UserError, match=f"no shot has the label '{name}'; {says}.*not a path"):
        check_classes(shots, ["films", name])
