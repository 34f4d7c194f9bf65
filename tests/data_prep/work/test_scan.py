import os

import pytest

from data_prep.work.scan import scan
from vidboot.errors import UserError


def make(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def test_folders_give_their_files_with_labels_but_no_hidden_ones(tmp_path):
    top, deep = make(tmp_path / "in/a.mp4"), make(tmp_path / "in/sea/north/b.mp4")
    make(tmp_path / "in/.hidden.mp4")
    make(tmp_path / "in/.cache/c.mp4")
    sources, empty = scan([tmp_path / "in"])
    assert [(s.path, s.label) for s in sources] == [(top, None), (deep, "sea/north")]
    assert empty == []


def test_a_list_names_files_relative_to_itself(tmp_path):
    one, two = make(tmp_path / "in/a.mp4"), make(tmp_path / "other.mkv")
    (tmp_path / "list.txt").write_text(f"\ufeffin/a.mp4\n# mine\n\n{two}\n")
    sources, _ = scan([tmp_path / "list.txt"])
    assert [s.path for s in sources] == [one, two]


def test_a_file_that_is_given_twice_is_one_source(tmp_path):
    one = make(tmp_path / "in/a.mp4")
    assert len(scan([one, tmp_path / "in", tmp_path / "in/../in/a.mp4"])[0]) == 1


def test_an_empty_folder_is_named(tmp_path):
    (tmp_path / "none").mkdir()
    sources, empty = scan([tmp_path / "none"])
    assert sources == []
    assert [(e.what, e.reason) for e in empty] == [(str(tmp_path / "none"), "empty folder")]


def test_a_missing_input_and_an_unreadable_list_are_users_errors(tmp_path):
    with pytest.raises(UserError, match="there is no file or folder"):
        scan([tmp_path / "none.mp4"])
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(UserError, match="one path a line"):
        scan([tmp_path / "list.txt"])


def test_linked_folders_are_followed_once_and_links_that_lead_nowhere_are_named(tmp_path):
    top, far = make(tmp_path / "in/a.mp4"), make(tmp_path / "far/b.mp4")
    (tmp_path / "in/linked").symlink_to(tmp_path / "far")
    (tmp_path / "far/round").symlink_to(tmp_path / "in")
    (tmp_path / "in/gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    sources, set_aside = scan([tmp_path / "in"])
    assert [(s.path, s.label) for s in sources] == [(top, None), (tmp_path / "in/linked" / far.name, "linked")]
    assert [(s.what, s.reason) for s in set_aside] == [(str(tmp_path / "in/gone.mp4"), "a link that leads nowhere")]


def test_a_name_that_is_no_text_is_set_aside_in_letters_that_can_be_printed(tmp_path):
    good = make(tmp_path / "café.mp4")
    make(tmp_path / os.fsdecode(b"caf\xe9.mp4"))
    sources, set_aside = scan([tmp_path])
    assert [s.path for s in sources] == [good]
    assert [(s.what, s.reason) for s in set_aside] == [(f"{tmp_path}/caf\\xe9.mp4", "its name is not UTF-8; rename it")]


def test_what_earlier_runs_made_is_left_out(tmp_path):
    good = make(tmp_path / "a.mp4")
    made = make(tmp_path / "out/shots/b.mp4")
    (tmp_path / "link").symlink_to(tmp_path / "out/shots")
    assert [s.path for s in scan([tmp_path], [tmp_path / "out/shots"])[0]] == [good]
    sources, set_aside = scan([made], [tmp_path / "out/shots"])
    assert sources == [] and [s.what for s in set_aside] == [str(made)]
