from dataclasses import replace
from pathlib import Path

import far_away
import numpy as np
import pytest
from far_away import put
from footage import moving_scene, titled_films, write

from data_prep import preview as preview_module
from data_prep import run
from data_prep.config import MaskSettings, Preprocess
from data_prep.preview import preview
from data_prep.run import preprocess
from data_prep.work import engine
from data_prep.work.store import open_store
from vidboot.data import load_manifest
from vidboot.data.members import read_bytes

pytestmark = pytest.mark.usefixtures("in_process")
SETTINGS = Preprocess(height=36, width=64, workers=1).model_copy(
    update={"views": Preprocess().views.model_copy(update={"clip_frames": 8, "full_frames": 32})}
)


@pytest.fixture
def far():
    return far_away.begin()


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """Films with subtitles in a folder, and one with a cut beside it."""
    root = tmp_path_factory.mktemp("films")
    titled_films(root / "talks", 2)
    write(root / "cut.mp4", np.concatenate([moving_scene(0, 40), moving_scene(1, 12), moving_scene(2, 5)]))
    return root


def upload(folder: Path, **says) -> None:
    """Copy a folder to far://in; of its files an etag is said."""
    for path in folder.rglob("*.mp4"):
        name = path.relative_to(folder).as_posix()
        put(f"in/{name}", path.read_bytes(), **says or {"etag": f"of {name}"})


def told(root: Path, start: str) -> dict:
    """All that a manifest and its files hold, by film and first frame, without what names content and place."""
    rows = {}
    for shot in load_manifest(root):
        mask = None if shot.mask_path is None else read_bytes(root / shot.mask_path)
        same = replace(shot, id="", source="", path="", mask_path=None, root=Path())
        rows[shot.source.removeprefix(start), shot.start] = same, (root / shot.path).read_bytes(), mask
    return rows


def test_shots_and_masks_are_those_of_the_files_here_and_each_file_is_fetched_once(far, films, tmp_path):
    upload(films)
    preprocess([films], tmp_path / "here", SETTINGS)
    outcome = preprocess(["far://in"], tmp_path / "far", SETTINGS)
    here, there = told(tmp_path / "here", f"{films}/"), told(tmp_path / "far", "far://in/")
    assert there == here and {mask is None for _, _, mask in here.values()} == {True, False}
    assert sorted(far.fetched) == ["/in/cut.mp4", "/in/talks/film0.mp4", "/in/talks/film1.mp4"]
    assert outcome.new == 3 and "cut.mp4 frames 52 to 57" in outcome.set_aside[0].what
    assert "far://in/talks/film0.mp4" in outcome.page.read_text()
    assert list((tmp_path / "far").glob(".partial*")) == []


def test_what_is_known_is_not_fetched_again(far, films, tmp_path):
    upload(films)
    first = preprocess(["far://in"], tmp_path / "out", SETTINGS)
    far.fetched.clear()
    assert preprocess(["far://in"], tmp_path / "out", SETTINGS) == replace(first, new=0)
    # Other masks are made from what was found.
    masks = [MaskSettings(source="talks/film0.mp4", box=[0, 0, 90, 90])]
    again = preprocess(["far://in"], tmp_path / "out", SETTINGS.model_copy(update={"masks": masks}))
    assert far.fetched == [] and len(again.manifest) == len(first.manifest)
    put("in/new.mp4", (films / "cut.mp4").read_bytes(), etag="new")
    assert preprocess(["far://in"], tmp_path / "out", SETTINGS).new == 1 and far.fetched == ["/in/new.mp4"]


def test_a_file_that_is_written_anew_is_worked_on_anew(far, tmp_path):
    for seed in (0, 1):
        put("a.mp4", write(tmp_path / "a.mp4", moving_scene(seed, 20 + seed)).read_bytes(), mtime=seed)
        (shot,) = preprocess(["far://a.mp4"], tmp_path / "out", SETTINGS).manifest
        assert shot.num_frames == 20 + seed
    assert far.fetched == ["/a.mp4"] * 2


def test_of_files_of_which_nothing_is_said_copies_are_found_and_nothing_is_worked_on_twice(far, films, tmp_path):
    put("a.mp4", (films / "cut.mp4").read_bytes())
    put("b.mp4", (films / "cut.mp4").read_bytes())
    outcome = preprocess(["far://"], tmp_path / "out", SETTINGS)
    assert ("far://b.mp4", "the same file as far://a.mp4") in [(one.what, one.reason) for one in outcome.set_aside]
    # Their hash is that of their bytes, as of files of this machine.
    assert {shot.id for shot in preprocess([films], tmp_path / "here", SETTINGS).manifest} > {
        shot.id for shot in outcome.manifest
    }
    assert preprocess(["far://"], tmp_path / "out", SETTINGS).new == 0


def test_a_broken_connection_sets_a_video_aside_until_the_next_run(far, films, tmp_path):
    upload(films)
    far.breaks["/in/cut.mp4"] = 1000
    outcome = preprocess(["far://in"], tmp_path / "out", SETTINGS)
    (reason,) = [one.reason for one in outcome.set_aside if one.what == "far://in/cut.mp4"]
    assert reason == "can't be fetched ([Errno 104] Connection reset by peer)"
    assert {Path(shot.source).name for shot in outcome.manifest} == {"film0.mp4", "film1.mp4"}
    far.breaks.clear()
    far.fetched.clear()
    outcome = preprocess(["far://in"], tmp_path / "out", SETTINGS)
    assert far.fetched == ["/in/cut.mp4"] and outcome.new == 1
    assert any(shot.source == "far://in/cut.mp4" for shot in outcome.manifest)


def test_damaged_files_and_lists_are_set_aside_as_they_are_here(far, films, tmp_path):
    upload(films)
    whole = (films / "cut.mp4").read_bytes()
    put("in/broken.mp4", whole[: len(whole) // 2], etag="broken")
    put("in/nothing.mp4", b"", etag="nothing")
    put("in/list.m3u8", b"#EXTM3U\nfilm0.mp4\n", etag="list")
    outcome = preprocess(["far://in"], tmp_path / "out", SETTINGS)
    reasons = {one.what.removeprefix("far://in/"): one.reason for one in outcome.set_aside}
    assert "damaged" in reasons["broken.mp4"] and "empty file" in reasons["nothing.mp4"]
    assert reasons["list.m3u8"] == "a list of other files"
    far.fetched.clear()
    preprocess(["far://in"], tmp_path / "out", SETTINGS)
    assert far.fetched == []


def test_a_preview_fetches_a_video_once(far, films, tmp_path, monkeypatch):
    monkeypatch.setattr(preview_module, "make_engine", run.make_engine)
    upload(films)
    page = preview(["far://in"], tmp_path / "out", SETTINGS, 2)
    assert sorted(far.fetched) == ["/in/cut.mp4", "/in/talks/film0.mp4"]
    here = preview([films], tmp_path / "here", SETTINGS, 2)
    assert page.read_text().count("data:image") == here.read_text().count("data:image") > 2
    assert not (tmp_path / "out/shots").exists()


def test_shots_that_were_lost_are_encoded_again(far, films, tmp_path):
    upload(films)
    (tmp_path / "out").mkdir()
    first = told_of(tmp_path)
    lost = next((tmp_path / "out").rglob("*.mp4"))
    lost.unlink()
    far.fetched.clear()
    assert told_of(tmp_path) == first and len(far.fetched) == 1


def told_of(tmp_path):
    preprocess(["far://in"], tmp_path / "out", SETTINGS)
    return told(tmp_path / "out", "far://in/")


def test_copies_of_a_run_that_was_killed_are_deleted(far, films, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/.partial-remote-abc.mp4").write_bytes(b"x")
    preprocess([films / "cut.mp4"], tmp_path / "out", SETTINGS)
    assert list((tmp_path / "out").glob(".partial*")) == []


def test_remote_shots_that_leave_the_manifest_are_told(far, films, tmp_path):
    upload(films)
    preprocess(["far://in"], tmp_path / "out", SETTINGS)
    outcome = preprocess(["far://in/cut.mp4"], tmp_path / "out", SETTINGS)
    assert any("shots of 2 earlier videos" in one.text for one in outcome.remarks)


def test_near_duplicates_here_and_far_away_are_told(far, films, tmp_path):
    put("z.mp4", (films / "talks/film0.mp4").read_bytes(), etag="1")
    outcome = preprocess([films / "talks/film0.mp4", "far://z.mp4"], tmp_path / "out", SETTINGS)
    assert [(one.what, one.text) for one in outcome.remarks if "looks like" in one.text] == [
        ("far://z.mp4", f"looks like {films / 'talks/film0.mp4'}, but is encoded differently")
    ]
    # Kept and read again, a remark has the same place.
    assert preprocess([films / "talks/film0.mp4", "far://z.mp4"], tmp_path / "out", SETTINGS) == replace(outcome, new=0)


def test_worker_processes_fetch_for_themselves(films, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "make_engine", engine.make_engine)
    preprocess([f"file://{films}"], tmp_path / "out", SETTINGS)
    monkeypatch.setattr(engine.LocalEngine, "_pool_of", None)  # no process is started
    assert preprocess([f"file://{films}"], tmp_path / "out", SETTINGS).new == 0
    with open_store(tmp_path / "out") as store:
        assert list(store.keys("hashes")) == []  # none was read to be known
