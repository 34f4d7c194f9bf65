"""A disk that fills up: one sentence, and after making room the same command ends as if nothing had happened.

The disk is a real one, a small tmpfs, of which a file of zeros leaves so many pages.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_model import small_model

from vidboot.model.run_folder import save

PAGE = 4096


class SmallDisk:
    """A mounted tmpfs, most of which can be taken."""

    def __init__(self, path: Path) -> None:
        self.path, self._taken = path, path / "taken"

    def leave(self, pages: int) -> None:
        """Fill the disk but for so many pages."""
        self.make_room()
        status = os.statvfs(self.path)
        self._taken.write_bytes(bytes(max(0, status.f_bavail - pages) * status.f_frsize))

    def make_room(self) -> None:
        """Empty it again."""
        self._taken.unlink(missing_ok=True)


@pytest.fixture
def disk(tmp_path):
    path = tmp_path / "disk"
    path.mkdir()
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root on Linux can mount a small disk")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(path)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    yield SmallDisk(path)
    subprocess.run(["umount", "-l", str(path)], check=True)


def one_sentence(said: str) -> bool:
    """Whether exactly one error is told, in words that name the way out."""
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    return len(errors) == 1 and "make room" in errors[0] and "Traceback" not in said


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
    monkeypatch.setattr("vidboot.generation.render.sample", None)  # not called again
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
