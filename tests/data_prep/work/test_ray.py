"""Ray gives the same results as the local pool, also where a node dies meanwhile."""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import psutil
import pytest
from footage import results, titled_films

from data_prep.config import Preprocess
from data_prep.run import preprocess
from data_prep.work.engine import make_engine
from data_prep.work.workers import TaskError

pytestmark = pytest.mark.slow
SETTINGS = Preprocess(height=36, width=64, workers=2, text={"detector": "opencv"})


@pytest.fixture
def cluster() -> Iterator:
    """A cluster of a head without cores and two nodes of one core each."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    made.nodes = [made.add_node(num_cpus=1) for _ in range(2)]
    ray.init(address=made.address, log_to_driver=False)
    # The nodes can't import the tests.
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield made
    ray.shutdown()
    made.shutdown()


def kill_when(cluster, happened) -> Thread:
    """Kill one of the two nodes, without notice, as soon as something has happened."""

    def wait() -> None:
        while not happened():
            time.sleep(0.05)
        cluster.remove_node(cluster.nodes[1], allow_graceful=False)

    thread = Thread(target=wait, daemon=True)
    thread.start()
    return thread


def test_ray_gives_the_local_pools_manifest_masks_and_shots(tmp_path):
    pytest.importorskip("ray")
    films = tmp_path / "films"
    titled_films(films, 6)
    (films / "broken.mp4").write_bytes((films / "film0.mp4").read_bytes()[:5000])
    local = preprocess([films], tmp_path / "local", SETTINGS)
    remote = preprocess([films], tmp_path / "ray", SETTINGS, "ray")
    wanted = results(tmp_path / "local")
    assert results(tmp_path / "ray") == wanted
    assert "manifest.parquet" in wanted and any(name.startswith("masks/") for name in wanted)
    assert remote.set_aside == local.set_aside and len(local.set_aside) >= 1


def test_a_run_that_loses_a_node_gives_the_same(tmp_path, cluster):
    films = tmp_path / "films"
    titled_films(films, 6)
    local = preprocess([films], tmp_path / "local", SETTINGS)
    output = tmp_path / "ray"
    killed = kill_when(cluster, lambda: any(output.rglob("*.mp4")))
    remote = preprocess([films], output, SETTINGS, "ray")
    killed.join(timeout=1)
    assert not killed.is_alive(), "the run ended before a node was killed"
    assert results(output) == results(tmp_path / "local")
    assert remote.set_aside == local.set_aside


def _noted(job: tuple[Path, int]) -> int:
    """Leave a note of who works on a number, and give it back doubled when told to go on."""
    folder, number = job
    (folder / f"{number}-{os.getpid()}").touch()
    while not (folder / "go").exists():
        time.sleep(0.05)
    return 2 * number


def test_tasks_of_a_node_that_dies_are_begun_anew_on_the_other(tmp_path, cluster):
    def two_begun() -> bool:
        return len(list(tmp_path.iterdir())) == 2

    def go_on() -> None:
        killed.join()
        workers = [int(note.name.split("-")[1]) for note in tmp_path.iterdir()]
        while all(map(psutil.pid_exists, workers)):
            time.sleep(0.05)
        (tmp_path / "go").touch()

    killed = kill_when(cluster, two_begun)
    Thread(target=go_on, daemon=True).start()
    with make_engine("ray", None, 600.0) as engine:
        ended = [one for batch in engine.run(_noted, [(tmp_path, n) for n in range(4)]) for one in batch]
    found = {job[1]: result for job, result in ended}
    assert found == {0: 0, 1: 2, 2: 4, 3: 6}
    # Each left one note, and that of the dead node two.
    assert len([note for note in tmp_path.iterdir() if note.name != "go"]) == 5


def _died(job: int) -> int:
    os._exit(3)


def test_a_task_that_kills_its_own_worker_is_not_begun_anew(cluster):
    with make_engine("ray", None, 600.0) as engine:
        ((_, result),) = [one for batch in engine.run(_died, [1]) for one in batch]
    assert isinstance(result, TaskError) and "worker process died" in str(result)
