import errno
import os
import time
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import pytest

from data_prep.work.engine import LocalEngine, TaskError, largest_first
from vidboot.errors import UserError


def awkward(job):
    """A task that ends in the way that its job names."""
    if job == "die":
        os._exit(11)
    if job == "stall":
        time.sleep(60)
    if job == "bug":
        raise ValueError("sides must agree")
    if job == "full":
        raise OSError(errno.ENOSPC, "No space left on device")
    return job.upper()


def ended(engine, task, jobs):
    """The results by job."""
    return dict(chain.from_iterable(engine.run(task, jobs)))


def test_a_task_that_dies_or_stalls_costs_only_itself():
    with LocalEngine(2, timeout_seconds=4) as engine:
        results = ended(engine, awkward, ["a", "die", "b", "stall", "c"])
    assert {job: results[job] for job in "abc"} == {"a": "A", "b": "B", "c": "C"}
    assert isinstance(results["die"], TaskError) and "died" in str(results["die"])
    assert isinstance(results["stall"], TaskError) and "longer than" in str(results["stall"])


def test_an_unforeseen_error_costs_only_its_task_but_a_full_disk_ends_the_run():
    with LocalEngine(1, timeout_seconds=60) as engine:
        results = ended(engine, awkward, ["bug", "a"])
        assert results["a"] == "A" and isinstance(results["bug"], TaskError)
        assert str(results["bug"]) == "ValueError: sides must agree"
        with pytest.raises(UserError, match="No space left on device"):
            list(engine.run(awkward, ["full", "a"]))


def meeting(path):
    """Whether another task runs at the same time."""
    path.touch()
    for _ in range(100):
        if len(list(path.parent.iterdir())) == 2:
            return True
        time.sleep(0.1)
    return False


def test_more_jobs_than_before_are_worked_on_at_the_same_time(tmp_path):
    with LocalEngine(2, timeout_seconds=60) as engine:
        assert ended(engine, awkward, ["a"]) == {"a": "A"}
        assert all(ended(engine, meeting, [tmp_path / "one", tmp_path / "two"]).values())


def test_jobs_are_made_as_they_are_begun():
    made, most = [], 0

    def jobs():
        for number in range(40):
            made.append(number)
            yield str(number)

    with LocalEngine(2, timeout_seconds=60) as engine:
        done = 0
        for results in engine.run(awkward, jobs()):
            done += len(results)
            most = max(most, len(made) - done)
    assert done == len(made) == 40 and most <= 4


def test_no_jobs_start_no_process():
    with LocalEngine(2, 1.0) as engine:
        assert list(engine.run(awkward, [])) == []


@dataclass(frozen=True)
class Job:
    path: Path


def test_the_largest_files_come_first_and_one_that_has_gone_last(tmp_path):
    for name, size in [("a", 10), ("b", 3000), ("c", 200)]:
        (tmp_path / name).write_bytes(bytes(size))
    jobs = [Job(tmp_path / name) for name in ("gone", "a", "b", "c")]
    assert "".join(job.path.name for job in largest_first(jobs)) == "bcagone"
