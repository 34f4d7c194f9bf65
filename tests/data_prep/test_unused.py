import pytest
from footage import moving_scene, write

from data_prep.config import Preprocess
from data_prep.run import preprocess
from data_prep.unused import unused
from vidboot.data import load_manifest
from vidboot.errors import UserError

SETTINGS = Preprocess(height=36, width=64, workers=1, finder="rules", views={"clip_frames": 8, "full_frames": 32})
MASKED = SETTINGS.model_copy(update={"masks": Preprocess(masks=[{"source": "*", "box": [0, 0, 20, 20]}]).masks})


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_only_what_runs_wrote_and_the_manifest_does_not_name_is_deleted(in_process, tmp_path):
    one, two = (write(tmp_path / f"{name}.mp4", moving_scene(seed, 20)) for seed, name in enumerate("ab"))
    output = tmp_path / "out"
    larger = MASKED.model_copy(update={"height": 45, "width": 80})
    preprocess([one, two], output, larger)
    old = set(files(output))
    preprocess([one, two], output, MASKED)
    both = set(files(output)) - old
    preprocess([one], output, MASKED)
    (old_shot, other) = sorted(name for name in old if name.startswith("shots/"))
    folder = output / old_shot.rsplit("/", 1)[0]
    (folder / "0000000-0000099.mp4").write_bytes(b"the user's own, named like a shot")
    (output / "shots/mine.mp4").write_bytes(b"the user's own")
    (output / other).write_bytes(b"the user's own, in a shot's place")
    before = files(output)
    named = {name.partition("#")[0] for shot in load_manifest(output) for name in (shot.path, shot.mask_path)}
    gone = {name for name in old | both if name.startswith(("shots/", "masks/"))} - named - {other}
    assert len(gone) == 3 and len(named) == 2
    assert {name.rsplit(".")[-1] for name in gone} == {"mp4", "tar"}
    found = unused(output)
    assert (found.files, found.bytes) == (3, sum(len(before[name]) for name in gone))
    assert files(output) == before
    assert unused(output, delete=True) == found
    kept = files(output)
    assert kept.keys() == before.keys() - gone
    assert all(kept[name] == before[name] for name in kept if name != "records.sqlite")
    assert unused(output).files == 0
    assert all(any(path.iterdir()) for path in output.rglob("*") if path.is_dir())
    assert preprocess([one], output, MASKED).new == 0
    # What was deleted is made again when it is wanted again, from the analysis.
    again = preprocess([one, two], output, MASKED)
    assert (again.new, len(again.manifest)) == (1, 2) and all(shot.frames().any() for shot in again.manifest)


def test_a_folder_without_a_manifest_is_told_and_left_alone(tmp_path):
    (tmp_path / "films").mkdir()
    with pytest.raises(UserError, match="there is no manifest in"):
        unused(tmp_path / "films", delete=True)
    assert list((tmp_path / "films").iterdir()) == []
