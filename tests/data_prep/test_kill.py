"""A run that is killed at any time loses at most the work on its current videos, and changes no result."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from footage import TRAILER, loop, results, titled_films

from data_prep.work.store import open_store, unpacked
from vidboot.data import load_manifest
from vidboot.errors import UserError

ROOT = Path(__file__).parents[2]
KILLS = 10


def start(films: Path, output: Path) -> subprocess.Popen:
    command = [sys.executable, ROOT / "tools/preprocess.py", films, "--output", output, "height=36", "width=64"]
    options = ["views.full_frames=32", "workers=2", "text.detector=opencv"]
    return subprocess.Popen(
        [*map(str, command), *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


def finished_work(output: Path) -> dict[str, dict[str, float]]:
    """What records say of how long the work took: work that is done again says something else."""
    if not (output / "records.sqlite").exists():
        return {}
    with open_store(output) as store:
        rows = [row for table in ("analyses", "stored") for row in store.get_many(table, list(store.keys(table)))]
        return {key: unpacked(data)["seconds"] for key, data in rows}


def begun(films: Path, output: Path) -> subprocess.Popen:
    """A run that has just begun to work."""
    (output / ".lock").unlink(missing_ok=True)  # the new one shows when it begins
    running = start(films, output)
    while not (output / ".lock").exists() and running.poll() is None:
        time.sleep(0.02)
    return running


def kill_a_run(films: Path, output: Path, after: float, whole_group: bool) -> bool:
    """Start a run and kill it some time after it has begun to work; False if it had ended by then."""
    running = begun(films, output)
    time.sleep(after)
    hit = running.poll() is None
    if hit:
        # If memory runs out, the kernel kills the parent alone and workers are left; a terminal kills the whole group.
        (os.killpg if whole_group else os.kill)(running.pid, signal.SIGKILL)
    running.wait()
    return hit


@pytest.mark.slow
def test_ten_kills_and_a_clean_run_give_what_an_uninterrupted_run_gives(tmp_path):
    films, output = tmp_path / "films", tmp_path / "out"
    titled_films(films, 12)
    uninterrupted, since = begun(films, tmp_path / "whole"), time.monotonic()
    assert uninterrupted.wait() == 0
    # The kills are spread over the time that a run takes on this machine at present.
    longest = time.monotonic() - since
    wanted = results(tmp_path / "whole")
    assert sum(shot.mask_path is not None for shot in load_manifest(tmp_path / "whole")) >= 6
    chance = random.Random(0)
    kills = left_unfinished = 0
    while kills < KILLS:
        if kill_a_run(films, output, chance.uniform(0.0, longest), whole_group=kills % 2 == 0):
            kills += 1
            left_unfinished += bool(finished_work(output))
        else:
            shutil.rmtree(output)
    assert left_unfinished >= 3  # kills hit runs that had finished some work
    done_before = finished_work(output)
    assert start(films, output).wait() == 0
    assert results(output) == wanted
    after = finished_work(output)
    assert all(after[key] == seconds for key, seconds in done_before.items())
    assert not list(output.rglob(".partial-*"))


@pytest.mark.slow
def test_a_second_run_reads_no_video(tmp_path):
    films, output = tmp_path / "films", tmp_path / "out"
    paths = titled_films(films, 2)
    assert start(films, output).wait() == 0
    wanted = results(output)
    for path in paths:
        # The content is gone, but size and times are as before.
        status = path.stat()
        path.write_bytes(bytes(status.st_size))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert start(films, output).wait() == 0
    assert results(output) == wanted


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_their_parent(tmp_path, number):
    (tmp_path / "films").mkdir()
    loop(TRAILER, tmp_path / "films/long.mp4", 900)
    running = start(tmp_path / "films", tmp_path / "out")
    while not hashed(tmp_path / "out"):
        time.sleep(0.1)
        assert running.poll() is None
    time.sleep(1)  # now it decodes pictures
    os.kill(running.pid, number)
    running.wait()
    until = time.monotonic() + 3  # the current task takes longer
    while group_lives(running.pid) and time.monotonic() < until:
        time.sleep(0.1)
    assert not group_lives(running.pid)


def hashed(output: Path) -> bool:
    """Whether the first film has been read; the run has its records open meanwhile, and may be writing."""
    with suppress(UserError):
        if (output / "records.sqlite").exists():
            with open_store(output) as store:
                return any(True for _ in store.keys("hashes"))
    return False


def group_lives(leader: int) -> bool:
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return False
    return True
