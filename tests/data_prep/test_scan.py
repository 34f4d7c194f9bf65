import pytest

from data_prep.scan import scan
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
    (tmp_path / "list.txt").write_text(f"# mine\nin/a.mp4\n\n{two}\n")
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
