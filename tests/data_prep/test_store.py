"""The store of records: what it does in the hands of a run, and what becomes of the files of earlier versions."""

import json
import shutil
import sqlite3
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from engines import InProcess
from footage import moving_scene, results, write

from data_prep import analysing, storing
from data_prep.config import Preprocess
from data_prep.run import preprocess
from data_prep.takeover import take_over
from data_prep.unused import Unused, unused
from data_prep.work.store import RECORD_VERSION, TABLES, open_store, unpacked
from vidboot.errors import UserError

pytestmark = pytest.mark.usefixtures("in_process")
SETTINGS = Preprocess(height=36, width=64, workers=1, finder="rules", views={"clip_frames": 8, "full_frames": 32})


def films(folder: Path, names: str = "abc") -> list[Path]:
    """Films of two shots."""
    shots = [np.concatenate([moving_scene(2 * ord(n), 24), moving_scene(2 * ord(n) + 1, 12)]) for n in names]
    return [write(folder / f"{name}.mp4", shot) for name, shot in zip(names, shots, strict=True)]


def everything(output: Path, without: tuple[str, ...] = ()) -> dict[tuple[str, str], bytes]:
    """All records."""
    with open_store(output) as store:
        return {(table, key): value for table in TABLES if table not in without for key, value in store.rows(table)}


def as_the_first_versions_wrote(output: Path, hashes: dict[str, list]) -> dict[str, bytes]:
    """Records in files of their own, and the shot and the mask that they name."""
    key, other = "ab" * 32, "cd" * 32
    made = {f"shots/{key[:20]}/0000000-0000024.mp4": b"a shot", f"masks/{other[:20]}/0000000-0000024.npz": b"its mask"}
    sizes = {name: len(content) for name, content in made.items()}
    records = {
        f"analysis/{key}.json": {"version": 3, "frames": 24},
        f"analysis/{key}.npz": {},
        f"encoded/{key}.json": {"version": 3, "fps": [24], "files": {name: sizes[name] for name in list(sizes)[:1]}},
        f"records/{other}.json": {"version": 3, "shots": [], "files": sizes},
        f"pages/{other}.json": {"version": 3},
        "records/hashes.json": hashes,
    }
    for name, content in (made | {name: json.dumps(one).encode() for name, one in records.items()}).items():
        (output / name).parent.mkdir(parents=True, exist_ok=True)
        (output / name).write_bytes(content)
    return made


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """Films, and the output of a run on them."""
    root = tmp_path_factory.mktemp("old")
    films(root / "in")
    (root / "in/words.mp4").write_text("no film\n" * 100)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("data_prep.run.make_engine", InProcess)
        preprocess([root / "in"], root / "new", SETTINGS)
    return root


def test_of_records_in_files_the_hashes_and_the_names_of_shots_are_taken_over(old, tmp_path, monkeypatch):
    output = tmp_path / "out"
    with open_store(old / "new") as store:
        hashes = {path: value.decode().split() for path, value in store.rows("hashes")}
    made = as_the_first_versions_wrote(output, {path: [int(a), int(b), c] for path, (a, b, c) in hashes.items()})
    (output / "records/mine.txt").write_text("not written by a run")
    monkeypatch.setattr("data_prep.inputs.hash_file", None)  # no file is read to be hashed
    preprocess([old / "in"], output, SETTINGS)
    wanted = results(old / "new")
    assert {name: content for name, content in results(output).items() if name not in made} == wanted
    left = {path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file()}
    records = {"report.html", "records.sqlite", ".lock", "records/mine.txt"}
    assert left == wanted.keys() | made.keys() | records
    assert unused(output, delete=True) == Unused(2, sum(map(len, made.values())))
    assert not any((output / name).exists() for name in made)


@pytest.mark.parametrize("deleted", [0, 1, 5])
def test_a_takeover_that_was_interrupted_is_done_again(tmp_path, monkeypatch, deleted):
    hashes = {"/films/a.mp4": [5, 7, "0" * 64]}
    made = as_the_first_versions_wrote(tmp_path, hashes)
    files = [path for path in tmp_path.rglob("*.*") if path.relative_to(tmp_path).as_posix() not in made]
    unlink, count = Path.unlink, iter(range(deleted))

    def failing(path, missing_ok=False):
        if next(count, None) is None:
            raise KeyboardInterrupt
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", failing)
    with pytest.raises(KeyboardInterrupt), open_store(tmp_path) as store:
        take_over(store, tmp_path)
    monkeypatch.undo()
    assert sum(path.exists() for path in files) == len(files) - deleted
    with open_store(tmp_path) as store:
        take_over(store, tmp_path)
        assert dict(store.rows("hashes")) == {"/films/a.mp4": b"5 7 " + b"0" * 64}
        names = {name for _, value in store.rows("files") for name in unpacked(value)}
    assert names == made.keys() and not any(path.exists() for path in files)


def test_records_of_an_earlier_version_are_cleared_and_what_they_name_is_known(old, tmp_path):
    output = shutil.copytree(old / "new", tmp_path / "out")
    with sqlite3.connect(output / "records.sqlite") as connection:
        connection.execute("PRAGMA user_version = 1")
        connection.execute("DROP TABLE masks")
    kept = everything(old / "new")
    assert everything(output) == {row: value for row, value in kept.items() if row[0] in ("hashes", "encoded", "files")}


@pytest.mark.parametrize("damage", ["words", "zeros", "half"])
def test_a_damaged_store_is_one_sentence_that_says_what_to_do(old, tmp_path, damage):
    output = shutil.copytree(old / "new", tmp_path / "out")
    file = output / "records.sqlite"
    data = file.read_bytes()
    middle = len(data) // 3
    file.write_bytes(
        {"words": b"no database" * 500, "zeros": data[:4096] + bytes(len(data) - 4096), "half": data[:middle]}[damage]
    )
    films(tmp_path / "more", "d")
    said = (
        r"the records in .*records.sqlite are damaged \(.*\); put a copy .* or delete the file and run the same command"
    )
    with pytest.raises(UserError, match=said) as error:
        preprocess([old / "in", tmp_path / "more"], output, SETTINGS)
    assert "\n" not in str(error.value)
    file.unlink()
    again = preprocess([old / "in", tmp_path / "more"], output, SETTINGS)
    assert again.new == 5 and len(again.manifest) == 8


def test_a_store_that_another_program_writes_to_is_told(old, tmp_path, monkeypatch):
    output = shutil.copytree(old / "new", tmp_path / "out")
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *given, **named: connect(*given, **named, timeout=0.1))
    other = connect(output / "records.sqlite", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(UserError, match="another program has them open: close it"):
        preprocess([old / "in"], output, SETTINGS)
    other.close()
    assert preprocess([old / "in"], output, SETTINGS).new == 0


def test_a_store_of_a_later_version_is_not_touched(old, tmp_path):
    output = shutil.copytree(old / "new", tmp_path / "out")
    with sqlite3.connect(output / "records.sqlite") as connection:
        connection.execute("PRAGMA user_version = 99")
    before = (output / "records.sqlite").read_bytes()
    with pytest.raises(UserError, match=f"are of version 99, this program reads {RECORD_VERSION}"):
        preprocess([old / "in"], output, SETTINGS)
    assert (output / "records.sqlite").read_bytes() == before


@pytest.mark.parametrize(("module", "task"), [("analysing", "analyse_video"), ("storing", "store_video")])
def test_what_had_ended_before_a_kill_is_kept(old, tmp_path, monkeypatch, module, task):
    """What a kill leaves is what is on the disk at that moment."""
    output, killed, begun = tmp_path / "out", tmp_path / "killed", []
    real = getattr({"analysing": analysing, "storing": storing}[module], task)

    def watched(job):
        begun.append(job)
        if len(begun) == 3:
            shutil.copytree(output, killed)
        return real(job)

    monkeypatch.setattr(f"data_prep.{module}.{task}", watched)
    preprocess([old / "in"], output, SETTINGS)
    table = "briefs" if task == "analyse_video" else "stored"
    kept = {(name, key): value for (name, key), value in everything(killed).items() if name == table}
    assert len(kept) == 2 and not (killed / "manifest.parquet").exists()
    begun.clear()
    preprocess([old / "in"], killed, SETTINGS)
    assert len(begun) == (2 if task == "analyse_video" else 1)  # the others of four, and of three that are films
    assert everything(killed).items() >= kept.items()
    assert results(killed) == results(old / "new")


def test_many_keys_are_looked_up_and_a_failed_transaction_leaves_nothing(tmp_path):
    with open_store(tmp_path) as store:
        store.put_many("pages", ((str(number), bytes([number % 256])) for number in range(3000)))
        for count in (3, 1000, 2000):  # of most, all are gone through
            found = list(store.get_many("pages", list(map(str, range(-10, count)))))
            assert sorted(found) == sorted((str(number), bytes([number % 256])) for number in range(count))
        with pytest.raises(KeyError), store.together():
            store.delete("pages", map(str, range(1000)))
            raise KeyError
        store.add_many("pages", [("0", b"other"), ("new", b"n")])
        assert store.get("pages", "0") == b"\0" and store.get("pages", "new") == b"n"
        assert len(list(store.keys("pages"))) == 3001
        store.clear("pages")
    before = (tmp_path / "records.sqlite").stat().st_size
    with open_store(tmp_path) as store:
        store.put("pages", "large", bytes(200_000))
        store.delete("pages", ["large"])
        store.tidy()
        assert list(chain(store.keys("pages"))) == []
    assert (tmp_path / "records.sqlite").stat().st_size < before
