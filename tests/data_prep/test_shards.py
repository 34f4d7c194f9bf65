"""Shots in tars: WebDataset's layout to Python's tarfile, and the same samples as files to training."""

import json
import tarfile
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import torch
from footage import moving_scene, write

from data_prep import shards
from data_prep.config import Preprocess
from data_prep.run import preprocess
from data_prep.shards import write_shards
from vidboot.data import load_manifest, random_access
from vidboot.data.config import DataConfig
from vidboot.data.datasets import ViewDataset
from vidboot.data.manifest import load_rows
from vidboot.data.masks import MaskTrack
from vidboot.errors import UserError
from vidboot.generation.inputs import InputFiles, find_shot

SETTINGS = Preprocess(
    height=36,
    width=64,
    workers=1,
    finder="rules",
    views={"clip_frames": 8, "full_frames": 32},
    masks=[{"source": "[ab].mp4", "box": [0, 0, 20, 32]}],
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Four films, two of them masked, and the output of a run on them."""
    from engines import InProcess

    root = tmp_path_factory.mktemp("made")
    for name in "abcd":
        write(root / f"in/{name}.mp4", moving_scene(ord(name), 12))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("data_prep.run.make_engine", InProcess)
        preprocess([root / "in"], root / "out", SETTINGS)
    return root


def two_shots(output: Path) -> float:
    """Megabytes of a tar that two shots fill."""
    return 1.5 * max(path.stat().st_size for path in output.rglob("*.mp4")) / 1e6


def test_tarfile_finds_each_shot_with_its_row_and_mask(made, tmp_path):
    done = write_shards(made / "out", tmp_path, two_shots(made / "out"))
    tars = sorted(tmp_path.glob("*.tar"))
    assert (done.tars, done.shots, len(tars)) == (2, 4, 2)
    assert done.bytes == sum(path.stat().st_size for path in tars)
    rows, samples, places = list(load_rows(made / "out")), [], {}
    for path in tars:
        with tarfile.open(path) as tar:
            members = [(one.name.split("."), tar.extractfile(one).read(), one.offset_data) for one in tar]
        # A sample is what follows each other under one name, as WebDataset groups it.
        for key, group in groupby(members, key=lambda member: member[0][0]):
            group = list(group)
            samples.append((key, {name[1]: content for name, content, _ in group}))
            places |= {".".join(name): f"{path.name}#{offset}+{len(content)}" for name, content, offset in group}
    assert [key for key, _ in samples] == [row.id for row in rows]
    for row, (_, sample) in zip(rows, samples, strict=True):
        assert sample["mp4"] == (made / "out" / row.path).read_bytes()
        said = json.loads(sample["json"])
        assert (said["source"], said["start"], said["end"], said["fps"]) == (row.source, row.start, row.end, row.fps)
        assert said["verdict"] == row.verdict and sample.keys() >= {"mp4", "json"}
        assert ("npz" in sample) == (row.mask is not None) == (row.verdict == "masked")
        if row.mask is not None:
            (tmp_path / "mask.npz").write_bytes(sample["npz"])
            assert not MaskTrack.load(tmp_path / "mask.npz").frames()[:, :10, :16].any()
    copied = list(load_rows(tmp_path))
    assert [row.path for row in copied] == [places[f"{row.id}.mp4"] for row in rows]
    assert [row.mask for row in copied] == [places.get(f"{row.id}.npz") for row in rows]


@pytest.mark.parametrize("reader", ["torchcodec.decoders", "decord", None])
def test_training_samples_are_those_of_files_bit_for_bit(made, tmp_path, monkeypatch, reader):
    module = None if reader is None else pytest.importorskip(reader)
    monkeypatch.setattr(random_access, "_imported", lambda name: module if name == reader else None)
    random_access._reader.cache_clear()
    write_shards(made / "out", tmp_path, two_shots(made / "out"))
    options = DataConfig(manifest=tmp_path, memory_gb=0.0, extra_masks=0.5, context=0.5, frame_strides=[1, 2])
    one, other = (
        ViewDataset(load_manifest(folder), {4: 0.5, 5: 0.5}, 3, 2, options) for folder in (made / "out", tmp_path)
    )
    masked = 0
    for index in range(24):
        sample, same = one[index], other[index]
        assert sample.pop("shot").startswith("shots/") and same.pop("shot").partition("#")[0].endswith(".tar")
        assert sample.keys() == same.keys()
        assert all(torch.equal(torch.as_tensor(sample[k]), torch.as_tensor(same[k])) for k in sample)
        masked += not sample["loss_mask"].all()
    assert 0 < masked < 24
    random_access._reader.cache_clear()


def test_a_shot_in_a_tar_is_repaired_like_a_file(made, tmp_path):
    write_shards(made / "out", tmp_path)
    shot, file = load_manifest(tmp_path)[0], load_manifest(made / "out")[0]
    assert find_shot(tmp_path / shot.path) == shot
    known, same = (InputFiles(36, 64, repair=s.root / s.path) for s in (shot, file))
    assert known.check() == same.check() == 12
    assert known.hashes()["repair_hash"] == same.hashes()["repair_hash"]


def test_a_call_that_was_killed_goes_on_where_it_was(made, tmp_path, monkeypatch):
    size = two_shots(made / "out")
    write_shards(made / "out", tmp_path / "whole", size)
    calls, real = iter(range(9)), shards.write_tar

    def killed(file, members):
        file.write(b"half of it")
        if next(calls) == 1:
            raise KeyboardInterrupt
        file.seek(0)
        real(file, members)

    monkeypatch.setattr(shards, "write_tar", killed)
    with pytest.raises(KeyboardInterrupt):
        write_shards(made / "out", tmp_path / "out", size)
    (first,) = (tmp_path / "out").glob("*.tar")
    assert not (tmp_path / "out/manifest.parquet").exists()
    (tmp_path / "out/.partial-1-000001-0a.tar").write_bytes(b"left by a kill that nothing could tidy up after")
    before = first.stat()
    write_shards(made / "out", tmp_path / "out", size)
    assert first.stat() == before
    whole, done = ({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("whole", "out"))
    assert done == whole


def test_a_new_copy_replaces_tars_that_hold_something_else_and_nothing_of_the_users(made, in_process, tmp_path):
    size = two_shots(made / "out")
    write_shards(made / "out", tmp_path / "shards", size)
    (tmp_path / "shards/mine.tar").write_bytes(b"the user's own")
    first, second = sorted((tmp_path / "shards").glob("0*.tar"))
    kept, output = second.stat(), made / "out"
    before = load_manifest(output)[0].mask()
    changed = SETTINGS.model_copy(update={"masks": Preprocess(masks=[{"source": "a.mp4", "box": [0, 0, 40, 9]}]).masks})
    preprocess([made / "in"], output, changed)
    write_shards(output, tmp_path / "shards", size)
    assert second.stat() == kept and not first.exists()  # of the second, no mask has changed
    assert {path.name for path in (tmp_path / "shards").glob("*.tar")} > {"mine.tar", second.name}
    assert len(list((tmp_path / "shards").glob("*.tar"))) == 3
    now = load_manifest(tmp_path / "shards")[0].mask()
    assert not np.array_equal(now, before) and np.array_equal(now, load_manifest(output)[0].mask())
    preprocess([made / "in"], output, SETTINGS)


def test_what_can_not_be_copied_is_told(made, tmp_path):
    with pytest.raises(UserError, match=r"is an output folder of tools/preprocess\.py; choose another one"):
        write_shards(made / "out", made / "out")
    with pytest.raises(UserError, match="there is no manifest in"):
        write_shards(tmp_path, tmp_path / "shards")
    assert list(tmp_path.iterdir()) == []
    path = made / "out" / next(load_rows(made / "out")).path
    path.rename(path.with_suffix(".away"))
    with pytest.raises(UserError, match=r"can't be read .*run tools/preprocess\.py again as for this manifest"):
        write_shards(made / "out", tmp_path / "shards")
    path.with_suffix(".away").rename(path)


def test_the_command(made, tmp_path, main_of, capsys):
    assert main_of("preprocess", "--output", made / "out", "--shards", tmp_path) == 0
    assert "4 shots in 1 tars" in capsys.readouterr().out
    assert main_of("preprocess", "x.mp4", "--output", made / "out", "--shards", tmp_path) == 2
