import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from footage import TRAILER, moving_scene, titled_films, write

from data_prep import analysing, run
from data_prep.config import MaskSettings, Preprocess, TextSettings
from data_prep.jobs import AnalyseJob, StoreJob
from data_prep.run import preprocess
from data_prep.tasks import analyse_video, store_video
from data_prep.work import engine
from data_prep.work.hashes import keep_hash, stamped_hash
from data_prep.work.store import open_store, packed
from vidboot.data import load_manifest, read_frames
from vidboot.errors import UserError

pytestmark = pytest.mark.usefixtures("in_process")
SETTINGS = Preprocess(height=36, width=64, workers=1).model_copy(
    update={"views": Preprocess().views.model_copy(update={"clip_frames": 8, "full_frames": 32})}
)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """One run over good and bad files; other tests check its results."""
    root = tmp_path_factory.mktemp("run")
    films = root / "in"
    write(films / "sea/two_shots.mp4", np.concatenate([moving_scene(0, 40), moving_scene(1, 12), moving_scene(2, 5)]))
    shutil.copy(films / "sea/two_shots.mp4", films / "twin.mp4")
    (films / "words.mp4").write_text("no pictures here\n" * 100)
    whole = write(root / "whole.mp4", moving_scene(3, 60)).read_bytes()
    (films / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (films / "nothing.mp4").write_bytes(b"")
    (root / "empty").mkdir()
    return root, preprocess([films, root / "empty"], root / "out", SETTINGS)


def test_shots_have_their_span_size_views_and_label(done):
    root, outcome = done
    found = [(s.start, s.end, s.num_frames, sorted(s.views), s.verdict, s.label) for s in outcome.manifest]
    # The finder knows overlays by their looks, so that two seconds are enough.
    assert found == [
        (0, 40, 40, ["clip", "full", "low_res"], "clean", "sea"),
        (40, 52, 12, ["clip"], "clean", "sea"),
    ]
    assert all((s.height, s.width, s.fps) == (36, 64, 24.0) for s in outcome.manifest)
    assert all(s.frames().shape == (s.num_frames, 36, 64, 3) for s in outcome.manifest)
    assert len({s.id for s in outcome.manifest}) == 2
    assert list(load_manifest(root / "out")) == list(outcome.manifest)


def test_stored_frames_are_the_sources_scaled_by_area(done):
    root, outcome = done
    shot = outcome.manifest[1]
    source = read_frames(root / "in/sea/two_shots.mp4", range(shot.start, shot.end))
    wanted = np.stack([cv2.resize(f, (64, 36), interpolation=cv2.INTER_AREA) for f in source])
    assert np.abs(shot.frames().astype(int) - wanted).mean() < 3


def test_everything_that_is_set_aside_has_its_reason(done):
    reasons = {item.what.rsplit("/", 1)[-1]: item.reason for item in done[1].set_aside}
    assert reasons.keys() == {
        "empty", "words.mp4", "cut.mp4", "nothing.mp4", "twin.mp4", "two_shots.mp4 frames 52 to 57"
    }  # fmt: skip
    assert reasons["empty"] == "empty folder"
    assert "not a video" in reasons["words.mp4"]
    assert "damaged" in reasons["cut.mp4"]
    assert "empty file" in reasons["nothing.mp4"]
    assert "the same file as" in reasons["twin.mp4"]
    assert "too short" in reasons["two_shots.mp4 frames 52 to 57"]


def test_the_time_is_told_by_stage(done):
    seconds = done[1].seconds
    assert seconds.keys() == {"decoding", "shots", "texts", "overlays", "finder", "bars and quality", "storing"}
    assert all(spent > 0 for spent in seconds.values()) and done[1].frames == 57


def files(folder):
    """Everything that a run wrote."""
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_second_run_works_on_nothing_and_gives_the_same(done, monkeypatch):
    root, _ = done
    before, stamps = {p: p.read_bytes() for p in files(root / "out")}, times(root / "out/shots")
    monkeypatch.setattr(run, "make_engine", engine.make_engine)
    monkeypatch.setattr(engine.LocalEngine, "_pool_of", None)  # no process is started
    again = preprocess([root / "in", root / "empty"], root / "out", SETTINGS)
    assert {p: p.read_bytes() for p in files(root / "out")} == before
    assert times(root / "out").items() >= stamps.items()
    assert again == replace(done[1], new=0) and list(again.manifest) == list(done[1].manifest)


def test_only_what_is_new_is_worked_on(done, tmp_path):
    root, _ = done
    shutil.copytree(root / "out", tmp_path / "out")
    extra = write(tmp_path / "extra.mp4", moving_scene(9, 20))
    outcome = preprocess([root / "in", extra], tmp_path / "out", SETTINGS)
    assert outcome.new == 1 and len(outcome.manifest) == 3


def test_a_centre_crop_keeps_the_aspect_and_is_recorded(tmp_path):
    # Grey, because films store colours at half the resolution, too coarse for these blocks.
    scene = moving_scene(0, 20, height=48, width=160)[..., :1].repeat(3, axis=-1)
    path = write(tmp_path / "wide.mp4", scene)
    settings = SETTINGS.model_copy(update={"height": 32, "width": 32})
    (shot,) = preprocess([path], tmp_path / "out", settings).manifest
    assert shot.crop == (0, 56, 48, 48)
    wanted = [cv2.resize(f[:, 56:104], (32, 32), interpolation=cv2.INTER_AREA) for f in read_frames(path)]
    assert np.abs(shot.frames().astype(int) - np.stack(wanted)).mean() < 3


def test_nothing_usable_is_an_error_that_says_what_to_do(tmp_path):
    path = write(tmp_path / "short.mp4", moving_scene(0, 5))
    with pytest.raises(UserError, match=r"(?s)too short.*lower views.clip_frames"):
        preprocess([path], tmp_path / "out", SETTINGS)


def test_then_an_earlier_manifest_stays(done, tmp_path):
    root, before = done
    shutil.copytree(root / "out", tmp_path / "out")
    with pytest.raises(UserError, match="no usable shot"):
        preprocess([write(tmp_path / "short.mp4", moving_scene(0, 5))], tmp_path / "out", SETTINGS)
    assert len(load_manifest(tmp_path / "out")) == len(before.manifest)


def test_shots_that_leave_the_manifest_are_told(done, tmp_path):
    root, before = done
    shutil.copytree(root / "out", tmp_path / "out")
    outcome = preprocess([write(tmp_path / "extra.mp4", moving_scene(9, 20))], tmp_path / "out", SETTINGS)
    (remark,) = outcome.remarks
    assert f"the {len(before.manifest)} shots of 1 earlier videos" in remark.text and len(outcome.manifest) == 1


@pytest.mark.parametrize("kind", ["shots", "masks"])
def test_what_was_lost_or_damaged_is_made_again(tmp_path, kind):
    film = write(tmp_path / "a.mp4", moving_scene(0, 20))
    settings = SETTINGS.model_copy(update={"masks": [MaskSettings(source="a.mp4", box=[0, 0, 20, 20])]})
    preprocess([film], tmp_path / "out", settings)
    (file,) = (path for path in (tmp_path / "out" / kind).rglob("*") if path.is_file())
    before = file.read_bytes()
    for damage in (file.unlink, lambda: file.write_bytes(before[:60])):
        damage()
        assert preprocess([film], tmp_path / "out", settings).new == 1
        assert file.read_bytes() == before
    assert preprocess([film], tmp_path / "out", settings).new == 0


def records(output, *tables):
    """What the store holds in some tables; two analyses of one video differ, because they tell how long they took."""
    with open_store(output) as store:
        return {table: dict(store.get_many(table, list(store.keys(table)))) for table in tables}


def times(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_a_mask_that_changes_costs_no_decoding(tmp_path, monkeypatch):
    """The analysis and the encoded shots depend neither on the user's masks, nor on what a folder's videos share."""
    films = [write(tmp_path / f"in/{name}.mp4", moving_scene(seed, 20)) for seed, name in enumerate("abcdef")]
    plain = preprocess(films[:1], tmp_path / "out", SETTINGS)
    before, known = times(tmp_path / "out/shots"), records(tmp_path / "out", "analyses", "encoded")
    picture = tmp_path / "cover.png"
    for rows in (20, 40):
        cv2.imwrite(str(picture), np.where(np.arange(72)[:, None] < rows, 0, np.full((72, 128), 255)).astype(np.uint8))
        settings = SETTINGS.model_copy(update={"masks": [MaskSettings(source="a.mp4", picture=str(picture))]})
        outcome = preprocess(films[:1], tmp_path / "out", settings)
        (shot,) = outcome.manifest
        assert outcome.new == 1 and shot.verdict == "masked"
        assert not shot.mask()[:, : rows // 2].any() and shot.mask()[:, rows // 2 + 4 :].all()
    assert times(tmp_path / "out/shots") == before
    assert records(tmp_path / "out", "analyses", "encoded") == known
    assert np.array_equal(shot.frames(), plain.manifest[0].frames())
    # Six videos of a folder are pooled, which changes the mask of each.
    monkeypatch.setattr(analysing, "pooled_overlay", lambda maps: np.arange(72)[:, None] < np.full(128, 30))
    shots = preprocess(films, tmp_path / "out", SETTINGS).manifest
    assert len(shots) == 6 and all(shot.verdict == "masked" for shot in shots)
    assert all(not shot.mask()[:, :14].any() and shot.mask()[:, 17:].all() for shot in shots)
    assert times(tmp_path / "out/shots").items() >= before.items()
    assert records(tmp_path / "out", "analyses")["analyses"].items() >= known["analyses"].items()


def test_a_mask_that_is_taken_away_costs_no_decoding_either(tmp_path):
    (film,) = titled_films(tmp_path / "in", 1)
    settings = SETTINGS.model_copy(update={"text": TextSettings(detector="opencv")})
    before = preprocess([film], tmp_path / "out", settings).manifest[0]
    made = times(tmp_path / "out/shots"), records(tmp_path / "out", "analyses", "encoded")
    assert not before.mask()[20].all() and before.verdict == "masked"
    away = [MaskSettings(source="film0.mp4", box=[0, 0, 180, 320], start=12, remove=True)]
    outcome = preprocess([film], tmp_path / "out", settings.model_copy(update={"masks": away}))
    after = outcome.manifest[0]
    assert outcome.new == 1 and after.verdict == "masked"  # for its frames before 12
    assert np.array_equal(after.mask()[:12], before.mask()[:12]) and after.mask()[12:].all()
    every = [MaskSettings(source="film0.mp4", box=[0, 0, 180, 320], remove=True)]
    (shot,) = preprocess([film], tmp_path / "out", settings.model_copy(update={"masks": every})).manifest
    assert shot.mask().all() and shot.verdict != "masked"
    assert (times(tmp_path / "out/shots"), records(tmp_path / "out", "analyses", "encoded")) == made


def test_a_mask_for_none_of_the_videos_is_told(tmp_path):
    film = write(tmp_path / "a.mp4", moving_scene(0, 20))
    settings = SETTINGS.model_copy(update={"masks": [MaskSettings(source="b.mp4", box=[0, 0, 20, 20])]})
    (told,) = preprocess([film], tmp_path / "out", settings).set_aside
    assert (told.what, told.reason) == ("masks.0 for b.mp4", "fits none of the files")


@pytest.mark.parametrize("output", ["/proc/x", "file"])
def test_an_output_that_cannot_be_written_is_one_clear_line(tmp_path, output):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"can't write to .*; choose another --output"):
        preprocess([TRAILER], tmp_path / output, SETTINGS)


def test_two_runs_on_one_output_are_refused(tmp_path):
    from filelock import FileLock

    (tmp_path / "out").mkdir()
    with FileLock(tmp_path / "out/.lock"), pytest.raises(UserError, match="another run is at work"):
        preprocess([TRAILER], tmp_path / "out", SETTINGS)


def test_a_video_that_is_encoded_again_and_scaled_is_reported_and_dropped_by_setting(tmp_path):
    frames = moving_scene(0, 60)
    write(tmp_path / "in/a.mp4", frames)
    small = np.stack([cv2.resize(f, (96, 54), interpolation=cv2.INTER_AREA) for f in frames])
    write(tmp_path / "in/b.mp4", small, crf="30")
    write(tmp_path / "in/c.mp4", moving_scene(1, 60))
    kept = preprocess([tmp_path / "in"], tmp_path / "out", SETTINGS)
    (remark,) = kept.remarks
    assert remark.what.endswith("b.mp4") and "a.mp4" in remark.text and len(kept.manifest) == 3
    page = kept.page.read_text()
    assert page.count("but is encoded differently</p>") == 1 and "<td>texts</td>" in page
    dropping = SETTINGS.model_copy(update={"drop_near_duplicates": True})
    dropped = preprocess([tmp_path / "in"], tmp_path / "out", dropping)
    assert dropped.new == 0 and dropped.remarks == []
    assert [Path(shot.source).name for shot in dropped.manifest] == ["a.mp4", "c.mp4"]
    assert [Path(item.what).name for item in dropped.set_aside] == ["b.mp4"]


def test_what_fails_for_want_of_time_is_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "make_engine", engine.make_engine)
    # Each takes several times as long as the interval at which the pool checks the time limit.
    write(tmp_path / "in/good.mp4", moving_scene(0, 1200))
    write(tmp_path / "in/long.mp4", moving_scene(1, 1600))
    (tmp_path / "out").mkdir()
    with open_store(tmp_path / "out") as store:  # so that only the work on pictures exceeds the limit
        for path in (tmp_path / "in").iterdir():
            keep_hash(store, path, stamped_hash(path))
    hurried = SETTINGS.model_copy(update={"timeout_minutes": 1e-4})
    with pytest.raises(UserError, match=r"(?s)good.mp4: took longer than.*long.mp4: took longer than"):
        preprocess([tmp_path / "in"], tmp_path / "out", hurried)
    outcome = preprocess([tmp_path / "in"], tmp_path / "out", SETTINGS)
    assert len(outcome.manifest) == 2 and outcome.set_aside == []


def test_a_file_that_is_away_for_a_while_is_tried_again(tmp_path):
    path, output = write(tmp_path / "a.mp4", moving_scene(0, 40)), tmp_path / "out"
    job = AnalyseJob(tmp_path / "away.mp4", "key", SETTINGS, tmp_path)
    assert "can't be opened" in str(analyse_video(job))
    path.rename(tmp_path / "away.mp4")
    found = packed(analyse_video(job).found.to_json())
    stored = StoreJob(path, "key", "stored", output, SETTINGS, None, found)
    assert "can't be opened" in str(store_video(stored))
    (tmp_path / "away.mp4").rename(path)
    assert len(store_video(stored).record["shots"]) == 1


def test_a_file_that_goes_during_the_run_is_tried_again_by_the_next(tmp_path, monkeypatch):
    films = [write(tmp_path / f"in/{name}.mp4", moving_scene(seed, 20)) for seed, name in enumerate("ab")]
    reading = run.find_inputs

    def gone_after_reading(*given):
        found = reading(*given)
        films[0].rename(tmp_path / "away.mp4")
        return found

    monkeypatch.setattr(run, "find_inputs", gone_after_reading)
    outcome = preprocess([tmp_path / "in"], tmp_path / "out", SETTINGS)
    assert [item.reason.split(" (")[0] for item in outcome.set_aside] == ["can't be opened"]
    monkeypatch.undo()
    (tmp_path / "away.mp4").rename(films[0])
    again = preprocess([tmp_path / "in"], tmp_path / "out", SETTINGS)
    assert (again.new, len(again.manifest), again.set_aside) == (1, 2, [])


def test_an_output_among_the_inputs_is_no_input_and_a_black_film_is_named(tmp_path):
    write(tmp_path / "good.mp4", moving_scene(0, 40))
    write(tmp_path / "black.mp4", np.zeros((20, 72, 128, 3), np.uint8))
    for name in ("out", "out", "", ""):
        if not name:
            shutil.rmtree(tmp_path / "out", ignore_errors=True)
        outcome = preprocess([tmp_path], tmp_path / name, SETTINGS)
        assert [Path(shot.source).name for shot in outcome.manifest] == ["good.mp4"]
        assert [(Path(item.what).name, item.reason) for item in outcome.set_aside] == [
            ("black.mp4 frames 0 to 20", "every frame is black")
        ]


def test_a_file_that_is_renamed_has_the_masks_of_its_new_name(tmp_path):
    path = write(tmp_path / "in/a.mp4", moving_scene(0, 40))
    mask = MaskSettings(source="news_*", box=[0, 0, 30, 30])
    settings = SETTINGS.model_copy(update={"masks": [mask]})
    assert preprocess([tmp_path / "in"], tmp_path / "out", settings).manifest[0].verdict != "masked"
    path.rename(tmp_path / "in/news_a.mp4")
    assert preprocess([tmp_path / "in"], tmp_path / "out", settings).manifest[0].verdict == "masked"
    (tmp_path / "in/news_a.mp4").rename(path)
    assert preprocess([tmp_path / "in"], tmp_path / "out", settings).manifest[0].verdict != "masked"


def test_two_playlists_of_the_same_text_are_lists_and_their_own_segments_are_used(tmp_path):
    for number, name in enumerate("AB"):
        for part in range(2):
            write(tmp_path / f"in/{name}/{part}.ts", moving_scene(2 * number + part, 12), rate=25)
        (tmp_path / f"in/{name}/a.m3u8").write_text(
            "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:0.48,\n0.ts\n#EXTINF:0.48,\n1.ts\n#EXT-X-ENDLIST\n"
        )
    outcome = preprocess([tmp_path / "in"], tmp_path / "out", SETTINGS)
    assert [Path(s.source).relative_to(tmp_path / "in").as_posix() for s in outcome.manifest] == [
        "A/0.ts", "A/1.ts", "B/0.ts", "B/1.ts"
    ]  # fmt: skip
    lists = [(item.what, item.reason) for item in outcome.set_aside]
    assert lists == [(str(tmp_path / f"in/{name}/a.m3u8"), "a list of other files") for name in "AB"]


def test_folders_of_the_users_that_are_named_like_a_runs_are_used(tmp_path):
    for number, name in enumerate(("shots", "masks", "records", "shots/ab")):
        write(tmp_path / name / "film.mp4", moving_scene(number, 12))
    first = preprocess([tmp_path], tmp_path, SETTINGS)
    again = preprocess([tmp_path], tmp_path, SETTINGS)
    for outcome in (first, again):
        found = [Path(shot.source).relative_to(tmp_path).as_posix() for shot in outcome.manifest]
        assert found == ["masks/film.mp4", "records/film.mp4", "shots/ab/film.mp4", "shots/film.mp4"]
    assert (first.new, again.new, again.videos) == (4, 0, 4)


def test_a_tilde_in_inputs_lists_and_output_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / "a.mp4", moving_scene(0, 12))
    write(tmp_path / "b.mp4", moving_scene(1, 12))
    (tmp_path / "list.txt").write_text("~/b.mp4\n")
    preprocess(["~/a.mp4", "~/list.txt"], "~/out", SETTINGS)
    assert len(load_manifest(tmp_path / "out")) == 2
