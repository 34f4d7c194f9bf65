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


def as_earlier_versions_wrote(output: Path) -> None:
    """Put the records of a run into files, in the way of versions that had no store."""
    with open_store(output) as store:
        hashes = {path: value.decode().split() for path, value in store.rows("hashes")}
        known = {path: [int(size), int(changed), digest] for path, (size, changed, digest) in hashes.items()}
        records = {f"analysis/{key}": {"refused": None} | unpacked(value) for key, value in store.rows("analyses")} | {
            f"encoded/{key}": unpacked(value) | {"pictures": {}} for key, value in store.rows("encoded")
        }
        refused = {f"analysis/{key}": unpacked(value) for key, value in store.rows("briefs")}
        records |= {name: record for name, record in refused.items() if "refused" in record}
        for key, value in store.rows("stored"):
            records[f"records/{key}"] = unpacked(value) | {"files": unpacked(store.get("files", key))}
            records[f"pages/{key}"] = unpacked(store.get("pages", key))
        for folder in ("analysis", "encoded", "records", "pages"):
            (output / folder).mkdir()
        for name, record in records.items():
            (output / f"{name}.json").write_text(
                json.dumps({"version": RECORD_VERSION, **record}, indent=1, sort_keys=True)
            )
        for key, value in store.rows("maps"):
            (output / f"analysis/{key}.npz").write_bytes(value)
    (output / "records/hashes.json").write_text(json.dumps(known))
    (output / "records.sqlite").unlink()


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """Films, the output of a run on them, and the same as an earlier version would have left it."""
    root = tmp_path_factory.mktemp("old")
    films(root / "in")
    (root / "in/words.mp4").write_text("no film\n" * 100)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("data_prep.run.make_engine", InProcess)
        preprocess([root / "in"], root / "new", SETTINGS)
    shutil.copytree(root / "new", root / "old")
    as_earlier_versions_wrote(root / "old")
    return root


def test_records_in_files_are_taken_over_and_equal_those_of_a_fresh_run(old, tmp_path, monkeypatch):
    output = shutil.copytree(old / "old", tmp_path / "out")
    (output / "records/mine.txt").write_text("not written by a run")
    wanted, before = results(old / "new"), everything(old / "new", ("pictures", "pages", "last"))
    monkeypatch.setattr("data_prep.tasks.analyse", None)
    monkeypatch.setattr("data_prep.tasks.store_shots", None)
    assert preprocess([old / "in"], output, SETTINGS).new == 0
    assert results(output) == wanted
    assert everything(output, ("pictures", "pages", "last")) == before
    left = {path.relative_to(output).parts[0] for path in output.rglob("*")}
    assert left == {".lock", "manifest.parquet", "report.html", "records.sqlite", "shots", "records"}
    assert [path.name for path in (output / "records").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("deleted", [0, 1, 5])
def test_a_takeover_that_was_interrupted_is_done_again(old, tmp_path, monkeypatch, deleted):
    output = shutil.copytree(old / "old", tmp_path / "out")
    files = {path: path.read_bytes() for path in output.rglob("*.json")}
    unlink, count = Path.unlink, iter(range(deleted))

    def failing(path, missing_ok=False):
        if next(count, None) is None:
            raise KeyboardInterrupt
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", failing)
    with pytest.raises(KeyboardInterrupt), open_store(output) as store:
        take_over(store, output)
    monkeypatch.undo()
    assert sum(path.exists() for path in files) >= len(files) - deleted
    with open_store(output) as store:
        take_over(store, output)
    without = ("pictures", "pages", "last", "named", "pooled")
    assert everything(output, without) == everything(old / "new", without)
    assert not any(path.exists() for path in files)


def test_before_all_is_taken_over_no_file_is_deleted(old, tmp_path, monkeypatch):
    output = shutil.copytree(old / "old", tmp_path / "out")
    before = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    monkeypatch.setattr("data_prep.takeover._take_hashes", lambda *given: 1 / 0)
    with pytest.raises(ZeroDivisionError), open_store(output) as store:
        take_over(store, output)
    assert {path: path.read_bytes() for path in before} == before and everything(output) == {}


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
    with pytest.raises(UserError, match="are of version 99, this program reads 1"):
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
        found = dict(store.get_many("pages", map(str, range(-10, 2000))))
        assert found == {str(number): bytes([number % 256]) for number in range(2000)}
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
