import pickle
import sys
from functools import partial
from pathlib import Path

import far_away
import fsspec
import pytest
from far_away import put

from data_prep.config import Preprocess
from data_prep.jobs import AnalyseJob, HashJob
from data_prep.tasks import analyse_video, hash_file
from data_prep.work.hashes import known_hashes
from data_prep.work.locations import Remote, is_url, location
from data_prep.work.remote import fetched
from data_prep.work.scan import scan
from data_prep.work.store import open_store
from data_prep.work.workers import failure
from vidboot.data.container import UnreadableError
from vidboot.errors import UserError


@pytest.fixture(autouse=True)
def far():
    return far_away.begin()


def found(*inputs):
    return [(str(source.path), source.label) for source in scan(inputs)[0]]


def known(tmp_path, *inputs):
    with open_store(tmp_path) as store:
        return {str(path): one for path, one in known_hashes(store, [s.path for s in scan(inputs)[0]]).items()}


def test_a_url_keeps_its_slashes_and_has_a_name_and_a_folder():
    place = location("s3://films/sea/a.mp4")
    assert (str(place), place.name, place.suffix, str(place.parent)) == (
        "s3://films/sea/a.mp4", "a.mp4", ".mp4", "s3://films/sea"
    )  # fmt: skip
    assert [str(location(url).parent) for url in ("s3://films", "memory://a/b")] == ["s3://", "memory://a"]
    assert [str(location(url).joined("a")) for url in ("far://", "far://in", "far://in/")] == [
        "far://a", "far://in/a", "far://in/a"
    ]  # fmt: skip
    assert location("https://host/a.mp4?key=1.2").suffix == ".mp4"
    assert location("a/b.mp4") == Path("a/b.mp4") and not is_url("masks=[s3://x]") and not is_url("a:b.mp4")


def test_a_location_crosses_processes_with_what_is_known_of_it():
    place = Remote("s3://films/a.mp4", 7, "hash", "ETag")
    again = pickle.loads(pickle.dumps(place))
    assert (again, again.size, again.content, again.kind) == (place, 7, "hash", "ETag")


def test_a_remote_folder_gives_its_files_with_labels_but_no_hidden_ones():
    for name in ("in/b.mp4", "in/sea/north/a.mp4", "in/.hidden.mp4", "in/.cache/c.mp4", "other/d.mp4"):
        put(name, b"x")
    assert found("far://in") == [("far://in/b.mp4", None), ("far://in/sea/north/a.mp4", "sea/north")]
    assert found("far://in/", "far://in/b.mp4") == found("far://in")
    assert found("far://in/b.mp4") == [("far://in/b.mp4", None)]


def test_lists_name_urls_and_a_remote_list_names_files_beside_it(tmp_path):
    for name in ("in/a.mp4", "in/sea/b.mp4"):
        put(name, b"x")
    (tmp_path / "here.mp4").write_bytes(b"x")
    (tmp_path / "list.txt").write_text("far://in/a.mp4\nhere.mp4\n")
    assert found(tmp_path / "list.txt") == [(f"{tmp_path}/here.mp4", None), ("far://in/a.mp4", None)]
    put("in/list.txt", b"\xef\xbb\xbf# mine\nsea/b.mp4\n\nfar://in/a.mp4\n")
    assert found("far://in/list.txt") == [("far://in/a.mp4", None), ("far://in/sea/b.mp4", None)]
    put("in/bad.txt", b"\xff\xfe\x00\xd8")
    with pytest.raises(UserError, match="one path a line"):
        scan(["far://in/bad.txt"])


def test_what_is_missing_or_out_of_reach_is_told_in_a_sentence(far, monkeypatch):
    put("in/a.mp4", b"x")
    with pytest.raises(UserError, match=r"^there is no file or folder far://none; check the input paths$"):
        scan(["far://in", "far://none"])
    with pytest.raises(UserError, match=r"^nowhere://x can't be reached \(Protocol not known: nowhere\); check"):
        scan(["nowhere://x"])

    def refuse(self, path, **kwargs):
        raise PermissionError("Access Denied\nfor nobody")

    monkeypatch.setattr(far, "info", refuse)
    with pytest.raises(UserError, match=r"^far://in can't be reached \(Access Denied\); check .* your credentials$"):
        scan(["far://in"])


def test_a_file_system_without_its_package_is_told_by_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)  # of an earlier test
    with pytest.raises(UserError, match=r"^s3://films/a.mp4 needs a package .*pip install 'vidboot\[remote\]'"):
        scan(["s3://films/a.mp4"])


def test_a_digest_stands_for_the_content_wherever_it_lies(tmp_path):
    put("a.mp4", b"one", md5="1", mtime=5)
    put("b.mp4", b"one", md5="1", mtime=6)
    put("c.mp4", b"two", md5="2", mtime=5)
    one, twin, other = known(tmp_path, "far://").values()
    assert one == twin != other


def test_a_version_stands_for_one_files_content(tmp_path):
    put("a.mp4", b"one", etag="1")
    put("b.mp4", b"one", etag="1")
    before = known(tmp_path, "far://")
    assert len(set(before.values())) == 2
    put("b.mp4", b"one", etag="2")
    after = known(tmp_path, "far://")
    assert [before[name] == after[name] for name in before] == [True, False]


def test_a_file_of_which_nothing_is_said_must_be_read(tmp_path):
    put("a.mp4", b"one")
    assert known(tmp_path, "far://") == {}


def test_no_file_is_fetched_to_be_found(far, tmp_path):
    put("a.mp4", b"one", etag="1")
    known(tmp_path, "far://", "far://a.mp4")
    assert far.fetched == []


def test_a_copy_lasts_as_long_as_its_block(far, tmp_path):
    put("a.mp4", b"one", etag="1")
    ((source, *_), _) = scan(["far://a.mp4"])
    with fetched(source.path, tmp_path) as copy:
        assert copy.read_bytes() == b"one" and copy.suffix == ".mp4" and copy.parent == tmp_path
    assert list(tmp_path.iterdir()) == []
    with fetched(copy, tmp_path / "none") as same:  # nothing to fetch
        assert same == copy


@pytest.mark.parametrize("says", [{"etag": "1"}, {}])
def test_a_full_disk_is_no_fault_of_the_video(far, tmp_path, says):
    # With an etag it is fetched to be analysed, without to be hashed; other videos would have no room either.
    put("a.mp4", b"one", **says)
    ((source, *_), _) = scan(["far://a.mp4"])
    far.full.append(True)
    run = partial(analyse_video, AnalyseJob(source.path, "key", Preprocess(), tmp_path))
    with pytest.raises(OSError, match="No space left") as caught:
        (run if says else partial(hash_file, HashJob(source.path, tmp_path)))()
    with pytest.raises(UserError, match=r"^can't write: No space left on device; make room"):
        failure(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("start", ["memory:/", "file://"])
def test_fsspecs_own_file_systems_say_the_same_in_a_listing_and_afterwards(tmp_path, start):
    (tmp_path / "in").mkdir()
    fsspec.filesystem(start.partition(":")[0]).pipe_file(f"{tmp_path}/in/a.mp4", b"one")
    ((source, *_), _) = scan([f"{start}{tmp_path}/in"])
    assert source.path.content is not None
    with fetched(source.path, tmp_path) as copy:
        assert copy.read_bytes() == b"one"


@pytest.mark.parametrize("fault", ["breaks", "short", "changed", "gone"])
def test_what_cannot_be_fetched_whole_leaves_nothing(far, tmp_path, fault):
    put("a.mp4", b"one", etag="1")
    ((source, *_), _) = scan(["far://a.mp4"])
    if fault == "breaks":
        far.breaks["/a.mp4"] = 1
    elif fault == "short":
        far.says["/a.mp4"]["size"] = 5
    elif fault == "changed":
        put("a.mp4", b"two", etag="2")
    else:
        far.store.clear()
    reason = {
        "breaks": r"can't be fetched \(\[Errno 104\] Connection reset by peer\)",
        "short": r"can't be fetched \(only 3 of 5 bytes came\)",
        "changed": "changed while it was fetched",
        "gone": r"can't be fetched \(/a.mp4\)",
    }[fault]
    with pytest.raises(UnreadableError, match=f"^far://a.mp4: {reason}"), fetched(source.path, tmp_path):
        pytest.fail("there is no copy")
    assert list(tmp_path.iterdir()) == []
