"""Files at URLs: their names, and the copies of them on this machine."""

import os
import time
from pathlib import Path

import fsspec
import pytest

from vidboot.data.members import member_of
from vidboot.data.remote import at_hand, cache_folder, folder_at_hand
from vidboot.data.urls import url_of


@pytest.fixture
def memory(monkeypatch, tmp_path):
    monkeypatch.setenv("VIDBOOT_CACHE", str(tmp_path / "cache"))
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()


@pytest.mark.parametrize("url", ["s3://bucket/a/b", "gs://bucket", "memory://a", "file:///tmp/a", "hf://datasets/a/b"])
def test_a_path_made_of_a_url_names_the_same_place(url):
    assert url_of(url) == url_of(f"{url}/") == url_of(Path(url)) == url_of(str(Path(url))) == url


@pytest.mark.parametrize("path", ["a/b", "/a/b", "C:/a", "a:b/c", "~/a", "."])
def test_a_path_is_no_url(path):
    assert url_of(path) is None and url_of(Path(path)) is None
    assert at_hand(Path(path), "c") == Path(path) / "c" and folder_at_hand(Path(path), ["c"]) == Path(path)


def test_of_the_copies_those_that_were_not_used_for_longest_are_deleted(memory, monkeypatch):
    # Room for three and a third, of which nine tenths are filled again.
    monkeypatch.setenv("VIDBOOT_CACHE_GB", str(1000 / 1e9))
    now = time.time()
    for number in range(6):
        memory.pipe_file(f"/out/shots/{number}/a.mp4", bytes(300))
        copy = at_hand(Path("memory://out"), f"shots/{number}/a.mp4")
        assert copy.read_bytes() == bytes(300)
        # Each was used an hour after the one before, but the first again after all of them.
        used = now - 3600 * (10 - number) if number else now - 1000
        os.utime(copy, (used, used))
    kept = {path.parent.name for path in cache_folder().rglob("*.mp4")}
    assert kept == {"0", "4", "5"}
    memory.store.clear()
    assert at_hand(Path("memory://out"), "shots/4/a.mp4").exists()  # without asking again


def test_of_a_tar_only_a_part_is_read(memory, monkeypatch):
    memory.pipe_file("/out/a.tar", bytes(range(256)))
    monkeypatch.setattr(type(memory), "get_file", None)
    copy = at_hand(Path("memory://out"), "a.tar#10+5")
    assert copy.read_bytes() == bytes(range(10, 15)) and member_of(copy) is None
    assert at_hand(Path("memory://out"), "a.tar#20+5").read_bytes() == bytes(range(20, 25))


def test_a_run_is_fetched_again_when_it_has_changed(memory):
    memory.pipe_file("/run/config.json", b"one")
    memory.pipe_file("/run/clip/model.safetensors", b"weights")
    memory.pipe_file("/run/clip/checkpoints/state.pt", b"large")
    wanted = ("config.json", "model.safetensors")
    first = folder_at_hand(Path("memory://run"), wanted)
    assert sorted(str(path.relative_to(first)) for path in first.rglob("*.*")) == [
        "clip/model.safetensors",
        "config.json",
    ]
    assert folder_at_hand(Path("memory://run"), wanted) == first
    memory.pipe_file("/run/config.json", b"two")
    second = folder_at_hand(Path("memory://run"), wanted)
    assert (second / "config.json").read_bytes() == b"two" and (first / "config.json").read_bytes() == b"one"
