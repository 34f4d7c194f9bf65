import json
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest

from vidboot.errors import UserError
from vidboot.experiments.learning_curve import tasks as module
from vidboot.experiments.learning_curve.tasks import Task, run_tasks


class Worker:
    """Tasks that note when they run."""

    def __init__(self):
        self.ran = []

    def task(self, name, needs=(), result=None, **settings):
        def run(work):
            assert work.is_dir() and not any(work.iterdir())
            (work / "half").touch()
            self.ran.append(name)
            return {"weights": name} if result is None else result()

        return Task(name, settings, run, needs)


def test_what_is_done_is_not_done_again_unless_its_settings_change(tmp_path):
    worker = Worker()
    run_tasks([worker.task("a", rate=1), worker.task("b")], tmp_path)
    run_tasks([worker.task("a", rate=1), worker.task("b")], tmp_path)
    assert worker.ran == ["a", "b"]
    run_tasks([worker.task("a", rate=2), worker.task("b")], tmp_path)
    assert worker.ran == ["a", "b", "a"]


def test_a_task_waits_for_what_it_needs_and_follows_its_weights(tmp_path):
    worker, version = Worker(), ["first"]
    views = worker.task("views", result=lambda: {"weights": version[0]})
    cell = worker.task("cell", needs=(views,))
    assert cell.path(tmp_path) is None
    run_tasks([cell, views], tmp_path)
    assert worker.ran == ["views", "cell"]
    before = cell.path(tmp_path)
    views.path(tmp_path).write_text(json.dumps({"weights": "second"}))
    assert cell.path(tmp_path) != before and cell.result(tmp_path) is None


def test_a_stopped_run_repeats_only_the_unfinished_task(tmp_path):
    worker = Worker()

    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_tasks([worker.task("a"), worker.task("b", result=stop), worker.task("c")], tmp_path)
    run_tasks([worker.task("a"), worker.task("b"), worker.task("c")], tmp_path)
    assert worker.ran == ["a", "b", "b", "c"]
    assert not any((tmp_path / "work").iterdir())


def test_two_at_once_share_the_tasks(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "POLL_SECONDS", 0.01)
    worker = Worker()
    tasks = [worker.task(f"t{n}", result=lambda: time.sleep(0.05) or {"x": 1}) for n in range(8)]
    threads = [threading.Thread(target=run_tasks, args=(tasks, tmp_path)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(worker.ran) == [task.name for task in tasks]


def test_the_claim_of_a_killed_process_falls(tmp_path):
    code = f"""
import os
from pathlib import Path
from vidboot.experiments.learning_curve.tasks import Task, run_tasks
run_tasks([Task("a", {{}}, lambda work: (work / "half").touch() or os.kill(os.getpid(), 9))], Path({str(tmp_path)!r}))
"""
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == -9
    assert list(tmp_path.glob("work/*/half"))
    worker = Worker()
    run_tasks([worker.task("a")], tmp_path)
    assert worker.ran == ["a"]


def test_weights_that_are_not_those_of_the_result_are_not_used(tmp_path):
    worker = Worker()

    def check(result):
        raise UserError(f"{result['weights']} is gone")

    views = worker.task("views")
    run_tasks([views], tmp_path)
    with pytest.raises(UserError, match="views is gone"):
        run_tasks([worker.task("cell", needs=(replace(views, check=check),))], tmp_path)
    assert worker.ran == ["views"]
