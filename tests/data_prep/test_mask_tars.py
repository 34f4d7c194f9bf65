"""Masks of many shots in one tar: read by other programs, made anew when lost, whole after a kill."""

import io
import shutil
import tarfile

import numpy as np
import pytest
from footage import moving_scene, results, write

from data_prep import mask_tars
from data_prep.config import Preprocess
from data_prep.run import preprocess
from vidboot.data import load_manifest

pytestmark = pytest.mark.usefixtures("in_process")
SETTINGS = Preprocess(
    height=36,
    width=64,
    workers=1,
    finder="rules",
    views={"clip_frames": 8, "full_frames": 32},
    masks=[{"source": "*", "box": [0, 0, 20, 32]}],
)


def films(folder, names="abc"):
    """Films of one shot."""
    return [write(folder / f"{name}.mp4", moving_scene(ord(name), 12)) for name in names]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Films, and the output of an uninterrupted run on them."""
    from engines import InProcess

    root = tmp_path_factory.mktemp("made")
    films(root / "in")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("data_prep.run.make_engine", InProcess)
        preprocess([root / "in"], root / "out", SETTINGS)
    return root


def unpacked(array, height, width):
    return np.unpackbits(array, count=height * width).reshape(height, width) > 0


def test_all_masks_are_in_one_tar_that_other_programs_read(made):
    files = [path for path in (made / "out/masks").rglob("*") if path.is_file()]
    assert len(files) == 1
    with tarfile.open(files[0]) as tar:
        at = {f"masks/{files[0].name}#{one.offset_data}+{one.size}": tar.extractfile(one).read() for one in tar}
    manifest = load_manifest(made / "out")
    assert sorted(at) == sorted(shot.mask_path for shot in manifest) and len(at) == 3
    covered = np.zeros((36, 64), bool)
    covered[:10, :16] = True  # the box at half the size
    for shot in manifest:
        content = np.load(io.BytesIO(at[shot.mask_path]))
        assert np.array_equal(unpacked(content["shapes"][0], 36, 64), covered)
        assert np.array_equal(shot.mask(), np.broadcast_to(~covered, (12, 36, 64)))


@pytest.mark.parametrize("at", ["write_atomic", "_name_places"])
@pytest.mark.parametrize("masks_a_tar", [2, 5000])
def test_a_kill_while_masks_are_packed_changes_no_result(made, tmp_path, monkeypatch, at, masks_a_tar):
    monkeypatch.setattr(mask_tars, "_AT_ONCE", masks_a_tar)
    preprocess([made / "in"], tmp_path / "whole", SETTINGS)
    calls, real, output = iter(range(10)), getattr(mask_tars, at), tmp_path / "out"

    def killed(*given):
        if next(calls) == (1 if masks_a_tar == 2 else 0):
            raise KeyboardInterrupt
        return real(*given)

    monkeypatch.setattr(mask_tars, at, killed)
    with pytest.raises(KeyboardInterrupt):
        preprocess([made / "in"], output, SETTINGS)
    assert not (output / "manifest.parquet").exists()
    monkeypatch.setattr(mask_tars, at, real)
    monkeypatch.setattr("data_prep.storing.store_video", None)  # all work is kept
    preprocess([made / "in"], output, SETTINGS)
    assert results(output) == results(tmp_path / "whole")
    assert all(not shot.mask().all() for shot in load_manifest(output))


def test_a_lost_tar_is_made_again_without_encoding(made, tmp_path, monkeypatch):
    output = shutil.copytree(made / "out", tmp_path / "out")
    shutil.rmtree(output / "masks")
    monkeypatch.setattr("data_prep.tasks.store_shots", None)
    assert preprocess([made / "in"], output, SETTINGS).new == 3
    assert results(output) == results(made / "out")


def test_masks_of_before_stay_for_a_training_that_reads_them(made, tmp_path):
    output = shutil.copytree(made / "out", tmp_path / "out")
    before = list(load_manifest(output))
    masks = [shot.mask() for shot in before]
    other = SETTINGS.model_copy(update={"masks": Preprocess(masks=[{"source": "*", "box": [0, 0, 72, 20]}]).masks})
    films(tmp_path / "more", "d")
    preprocess([made / "in", tmp_path / "more"], output, other)
    after = load_manifest(output)
    assert len(after) == 4 and {s.mask_path for s in after}.isdisjoint(s.mask_path for s in before)
    assert all(np.array_equal(shot.mask(), mask) for shot, mask in zip(before, masks, strict=True))
    assert len(list((output / "masks").iterdir())) == 2
