import os
import time

from data_prep.engine import LocalEngine, TaskError


def awkward(job):
    """A task that ends as it is told to."""
    if job == "die":
        os._exit(11)
    if job == "stall":
        time.sleep(60)
    return job.upper()


def test_a_task_that_dies_or_stalls_costs_only_itself():
    with LocalEngine(2, timeout_seconds=4) as engine:
        results = dict(engine.run(awkward, ["a", "die", "b", "stall", "c"]))
    assert {job: results[job] for job in "abc"} == {"a": "A", "b": "B", "c": "C"}
    assert isinstance(results["die"], TaskError) and "died" in str(results["die"])
    assert isinstance(results["stall"], TaskError) and "longer than" in str(results["stall"])


def test_no_jobs_start_no_process():
    with LocalEngine(2, 1.0) as engine:
        assert list(engine.run(awkward, [])) == []
