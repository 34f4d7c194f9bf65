"""What a machine lacks is said in a sentence; what the program itself does wrong keeps its traceback."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from vidboot.errors import UnreachableError, UserError, command, sentence_of

# On Linux, every write to this device fails as on a full disk. Nothing that renames a file into place may write here,
# as safetensors does: for the root user that replaces the device.
FULL = Path("/dev/full")
ROOT = Path(__file__).parents[2]


def ended(main):
    with pytest.raises(SystemExit) as stop:
        command(main)()
    return stop.value.code


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full on this system")
@pytest.mark.parametrize("way", ["plain", "numpy", "torch"])
def test_a_full_disk_is_one_sentence_whoever_writes(way, capfd):
    def write():
        if way == "plain":
            FULL.write_text("x" * 100_000)
        elif way == "numpy":
            with FULL.open("wb") as file:
                np.save(file, np.zeros(100_000))
        else:
            torch.save(torch.zeros(100_000), FULL)

    assert ended(write) == 2
    said = capfd.readouterr().err
    assert said.startswith("error: the disk is full") and said.count("\n") == 1


KILLED = """
import os
from torch.utils.data import DataLoader, Dataset
from vidboot.errors import command

class Killed(Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        os.kill(os.getpid(), 9)

command(lambda: list(DataLoader(Killed(), num_workers=1)))()
"""


def test_a_loader_that_is_killed_is_one_sentence():
    # In a process of its own: one that ran many tests is so large that a machine may refuse to fork it.
    result = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 2
    assert "error: a decoding process was killed" in result.stderr


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that …"), "/dev/shm"),
        (RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"), "the disk is full"),
        (MemoryError(), "memory has run out"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), "memory has run out"),
        (UnreachableError("s3://a/b can't be fetched (reset)"), "s3://a/b can't be fetched (reset): check the network"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "the disk is full"),
        (PermissionError(errno.EACCES, "Permission denied", "/a"), "no right to read or write there"),
    ],
)
def test_what_is_lacking_is_named(error, says):
    assert says in sentence_of(error)


def test_memory_that_torch_does_not_get_is_told(capfd):
    assert ended(lambda: torch.empty(2**60)) == 2
    assert capfd.readouterr().err.startswith("error: memory has run out: end other programs")


FAR = """
from torch.utils.data import DataLoader, Dataset
from vidboot.errors import UnreachableError, command

class Away(Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        raise {raised}

command(lambda: list(DataLoader(Away(), num_workers=1)))()
"""


@pytest.mark.parametrize(
    ("raised", "says"),
    [
        (
            'UnreachableError("s3://a/b can\'t be fetched: reset")',
            "s3://a/b can't be fetched: reset: check the network",
        ),
        ("OSError(28, 'No space left on device')", "the disk is full ([Errno 28] No space left on device): make room"),
        (
            "RuntimeError('unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)')",
            "shared memory (/dev/shm) is too small: enlarge it",
        ),
    ],
)
def test_what_a_loader_lacks_is_one_sentence(raised, says):
    code = FAR.format(raised=raised)
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 2 and result.stderr.count("\n") == 1
    assert result.stderr.startswith(f"error: {says}")


def test_other_errors_are_not_hidden():
    assert sentence_of(RuntimeError("shapes differ")) is None and sentence_of(FileNotFoundError(2, "No", "a")) is None

    def wrong():
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        command(wrong)()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_terminals_that_are_not_utf8_show_what_they_can(encoding):
    code = (
        "from vidboot.errors import UserError, command\n"
        "from rich.console import Console\n"
        "@command\n"
        "def main():\n"
        "    Console().print('48×64 σ …')\n"
        "    raise UserError('48×64 … is too small')\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONIOENCODING": encoding}, capture_output=True, check=False
    )
    assert done.returncode == 2 and b"Traceback" not in done.stderr
    assert b"is too small" in done.stderr and b"48" in done.stdout


def test_a_users_mistake_is_printed_once_by_the_first_process(capfd, monkeypatch):
    def wrong():
        raise UserError("mind the gap")

    for variable, number, said in (("RANK", "0", True), ("RANK", "1", False), ("SLURM_PROCID", "3", False)):
        monkeypatch.delenv("RANK", raising=False)
        monkeypatch.setenv(variable, number)
        assert ended(wrong) == 2
        assert ("mind the gap" in capfd.readouterr().err) == said
