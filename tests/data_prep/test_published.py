"""An output folder at a URL: what is sent there, in which order, and what another machine does with it."""

import far_away
import pytest
from far_away import put
from footage import moving_scene, titled_films, write

from data_prep import run
from data_prep.config import Preprocess
from data_prep.preview import preview
from data_prep.run import preprocess
from data_prep.unused import unused
from vidboot.data import VideoError, load_manifest
from vidboot.errors import UnreachableError, UserError

pytestmark = pytest.mark.usefixtures("in_process")
SETTINGS = Preprocess(height=36, width=64, workers=1).model_copy(
    update={"views": Preprocess().views.model_copy(update={"clip_frames": 8, "full_frames": 32})}
)


@pytest.fixture
def far(monkeypatch, tmp_path):
    monkeypatch.setenv("VIDBOOT_CACHE", str(tmp_path / "cache"))
    return far_away.begin()


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    root = tmp_path_factory.mktemp("films")
    titled_films(root, 2)
    return root


def another_machine(monkeypatch, tmp_path):
    monkeypatch.setenv("VIDBOOT_CACHE", str(tmp_path / "other"))


def test_shots_at_a_url_are_those_of_a_folder_and_the_manifest_is_sent_last(far, films, tmp_path, monkeypatch):
    here = preprocess([films], tmp_path / "here", SETTINGS)
    there = preprocess([films], "far://bucket/out/", SETTINGS)
    assert there.url == "far://bucket/out" and there.new == 2
    made = [name.removeprefix("/bucket/out/") for name in far.sent]
    assert made[-3:] == ["report.html", "records.sqlite", "manifest.parquet"] and len(made) == len(set(made))
    assert {name.partition("/")[0] for name in made[:-3]} == {"shots", "masks"}
    assert all(
        (tmp_path / "here" / name).read_bytes() == far.store[f"/bucket/out/{name}"].getvalue() for name in made[:-3]
    )
    another_machine(monkeypatch, tmp_path)
    for one, other in zip(here.manifest, load_manifest("far://bucket/out"), strict=True):
        assert one == other
        assert (one.frames() == other.frames()).all() and (one.mask([0, 5]) == other.mask([0, 5])).all()
    # Each shot once and whole; of the tar of masks only parts.
    assert sorted(far.fetched) == sorted(name for name in far.sent if name.startswith("/bucket/out/shots/"))


def test_what_is_there_is_not_sent_again_and_what_was_lost_is(far, films):
    preprocess([films], "far://out", SETTINGS)
    lost = next(name for name in far.sent if "/shots/" in name)
    del far.store[lost]
    far.sent.clear()
    assert preprocess([films], "far://out", SETTINGS).new == 0
    assert far.sent == [lost]


def test_after_a_broken_connection_the_same_command_sends_the_rest(far, films, monkeypatch):
    monkeypatch.setattr(run, "_ON_PAGE", 0)
    far.breaks["/out/manifest.parquet"] = 0
    with pytest.raises(UserError, match=r"^far://out can't be reached \(.*reset by peer\); check the address"):
        preprocess([films], "far://out", SETTINGS)
    assert "/out/manifest.parquet" not in far.store
    before = list(far.sent)
    far.breaks.clear()
    far.sent.clear()
    assert preprocess([films], "far://out", SETTINGS).new == 0
    assert far.sent[-1] == "/out/manifest.parquet" and not any("/shots/" in name for name in far.sent)
    assert {*before, *far.sent} == set(far.store)


def test_another_machine_goes_on_from_what_is_there(far, films, tmp_path, monkeypatch):
    first = preprocess([films], "far://out", SETTINGS)
    another_machine(monkeypatch, tmp_path)
    write(tmp_path / "more/new.mp4", moving_scene(5, 40))
    monkeypatch.setattr(run, "_ON_PAGE", 0)
    far.sent.clear()
    second = preprocess([films, tmp_path / "more"], "far://out", SETTINGS)
    assert second.new == 1 and len(second.manifest) == len(first.manifest) + 1
    assert sum("/shots/" in name for name in far.sent) == 1


def test_inputs_around_the_output_are_not_its_shots(far, films):
    for path in films.glob("*.mp4"):
        put(f"all/{path.name}", path.read_bytes(), etag=path.name)
    first = preprocess(["far://all"], "far://all/data", SETTINGS)
    assert preprocess(["far://all"], "far://all/data", SETTINGS).new == 0
    assert {shot.source for shot in first.manifest} == {"far://all/film0.mp4", "far://all/film1.mp4"}


def test_a_place_that_can_not_be_written_is_told_before_any_work(far, films, monkeypatch):
    def refuse(self, path, value, **kwargs):
        raise PermissionError("Access Denied")

    monkeypatch.setattr(far, "pipe_file", refuse)
    with pytest.raises(UserError, match=r"^can't write to far://out \(Access Denied\); check the address, the network"):
        preprocess([films], "far://out", SETTINGS)
    with pytest.raises(UserError, match=r"^there is no manifest in far://out; run tools/preprocess.py"):
        load_manifest("far://out")
    with pytest.raises(UserError, match=r"^far://out is no folder of this machine; --unused and --shards work on"):
        unused("far://out")


def test_a_preview_stays_on_this_machine(far, films, tmp_path):
    page = preview([films], "far://out", SETTINGS, 1)
    assert page.is_relative_to(tmp_path / "cache") and page.exists() and far.sent == []


def test_shots_that_are_gone_are_named_and_a_broken_connection_ends_the_training(far, films, tmp_path, monkeypatch):
    preprocess([films], "far://out", SETTINGS)
    another_machine(monkeypatch, tmp_path)
    gone, broken, *_ = load_manifest("far://out")
    del far.store[f"/out/{gone.path}"]
    with pytest.raises(VideoError, match=r"far://out/shots/.* isn't there; run tools/preprocess.py again"):
        gone.frames([0])
    far.breaks[f"/out/{broken.path}"] = 100
    with pytest.raises(UnreachableError, match=r"far://out/shots/.* can't be fetched \(.*reset by peer\)"):
        broken.frames([0])
    far.breaks.clear()
    assert len(broken.frames([0, 1])) == 2
    assert not list((tmp_path / "other").rglob(".partial*"))
