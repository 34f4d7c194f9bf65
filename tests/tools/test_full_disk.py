"""A disk that fills up: one sentence, and after making room the same command ends as if nothing had happened.

The disk is a real one, a small tmpfs, of which a file of zeros leaves so many pages.
"""

import sys

import pytest
from small_disk import PAGE, one_sentence, small_disk
from small_model import small_model

from vidboot.model.run_folder import save


@pytest.fixture
def disk(tmp_path):
    with small_disk(tmp_path / "disk") as disk:
        yield disk


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """An untrained run: its videos are noise, and noise makes large files."""
    folder = tmp_path_factory.mktemp("run")
    save(small_model(), folder)
    return folder


def generated(run, output):
    return ["--run", run, "--frames", 96, "--steps", 1, "--iterations", 0, "--output", output]


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".json"}


def test_a_sample_is_kept_where_its_video_finds_no_room(run, disk, main_of, tmp_path, capfd, monkeypatch):
    whole = tmp_path / "whole"
    assert main_of("generate", *generated(run, whole / "v.mp4")) == 0
    # 96 frames of 8×8 pixels as floats, and what they were made from: the sample has room, its video has one page.
    disk.leave(96 * 3 * 8 * 8 * 4 // PAGE + 3)
    folder = disk.path / "new"
    capfd.readouterr()
    assert main_of("generate", *generated(run, folder / "v.mp4")) == 2
    assert one_sentence(capfd.readouterr().err)
    assert not (folder / "v.mp4").exists()
    disk.make_room()
    monkeypatch.setattr("vidboot.generation.render.sample_seeds", None)  # not called again
    assert main_of("generate", *generated(run, folder / "v.mp4")) == 0
    assert content(folder) == content(whole)


def test_a_kept_sample_of_another_request_is_not_used(run, disk, main_of, tmp_path):
    disk.leave(96 * 3 * 8 * 8 * 4 // PAGE + 3)
    assert main_of("generate", *generated(run, disk.path / "v.mp4")) == 2
    disk.make_room()
    assert main_of("generate", *generated(run, disk.path / "v.mp4"), "--seed", 7) == 0
    assert main_of("generate", *generated(run, tmp_path / "v.mp4"), "--seed", 7) == 0
    assert (disk.path / "v.mp4").read_bytes() == (tmp_path / "v.mp4").read_bytes()
    assert not [path for path in disk.path.iterdir() if path.name.startswith(".")]


@pytest.mark.slow
def test_a_small_shared_memory_is_one_sentence_and_a_larger_one_goes_on(tool, tiny_config, disk):
    # In a mount namespace of its own, the training has a /dev/shm that takes the locks, and less than a batch.
    small = 'mount -t tmpfs -o size=96k none /dev/shm && exec "$@"'
    launcher = ("unshare", "--mount", "sh", "-c", small, "sh", sys.executable)
    words = ["--config", tiny_config, "--stage", "clip", "data.num_workers=1"]
    done = tool("train", *words, launcher=launcher)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    (said,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert said.startswith("error: shared memory (/dev/shm) is too small: enlarge it")
    assert tool("train", *words).returncode == 0
