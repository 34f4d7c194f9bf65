"""The job script for SLURM: run for real, with stand-ins for SLURM's commands; the slow tests train with it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "docker" / "train.sbatch"
STANDINS = {
    "scontrol": """echo "scontrol $*" >> "$STANDINS/said"
case "$*" in "show hostnames"*) printf '127.0.0.1\\nnode2\\n' ;; "show job"*) echo "PreemptTime=$PREEMPTED" ;; esac""",
    # Like SLURM, it sends the signal to the tasks alone, not to what they have started.
    "scancel": """echo "scancel $*" >> "$STANDINS/said"; kill -TERM $(cat "$STANDINS/tasks")""",
    # Two nodes with a task each.
    "srun": """while [[ $1 == --* ]]; do shift; done
tasks=(); for node in 0 1; do SLURM_NODEID=$node "$@" & tasks+=($!); done
echo "${tasks[@]}" > "$STANDINS/tasks"
status=0; for task in "${tasks[@]}"; do wait "$task" || status=$?; done; exit $status""",
}
TORCHRUN = """python3 - "$@" <<'END'
import json, os, sys
given = {name: os.environ.get(name) for name in ("MASTER_ADDR", "MASTER_PORT", "CONTAINED")}
given["arguments"] = sys.argv[1:]
open(f"{os.environ['STANDINS']}/node{os.environ['SLURM_NODEID']}", "w").write(json.dumps(given))
END
[[ -z $WAITS ]] || { trap "exit $AT_TERM" TERM; touch "$STANDINS/waits$SLURM_NODEID"; while :; do sleep 0.05; done; }
exit $STATUS"""
JOB = {
    "SLURM_JOB_ID": "70123",
    "SLURM_JOB_NODELIST": "node[1-2]",
    "SLURM_JOB_NUM_NODES": "2",
    "SLURM_GPUS_ON_NODE": "1",
    "SLURM_CPUS_PER_TASK": "4",
    "PREEMPTED": "None",
}


@pytest.fixture
def start(tmp_path):
    """Starts the job script in the repository's root, with stand-ins on the path."""

    def started(*arguments, stand_ins=STANDINS | {"torchrun": TORCHRUN}, **more):
        for name, text in stand_ins.items():
            (tmp_path / name).write_text(f"#!/usr/bin/env bash\n{text}\n")
            (tmp_path / name).chmod(0o755)
        path = f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        clean = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
        given = {"PATH": path, "STANDINS": str(tmp_path), "STATUS": "0", "AT_TERM": "1", "WAITS": ""} | JOB | more
        return subprocess.Popen(
            [str(SCRIPT), *map(str, arguments)],
            cwd=ROOT,
            env=clean | {name: value for name, value in given.items() if value is not None},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return started


def said(tmp_path):
    return [line for line in (tmp_path / "said").read_text().splitlines() if "show" not in line]


def wait_for(there, process):
    while not there():
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.02)


def test_what_slurm_is_asked_for_stands_before_the_first_command():
    lines = SCRIPT.read_text().splitlines()
    first = next(n for n, line in enumerate(lines) if line and not line.startswith("#"))
    asked = [n for n, line in enumerate(lines) if line.startswith("#SBATCH")]
    assert len(asked) > 5
    assert max(asked) < first  # SLURM reads no further
    assert subprocess.run(["bash", "-n", str(SCRIPT)], check=False).returncode == 0


def test_each_node_starts_its_processes_and_knows_its_number_and_the_first_node(start, tmp_path):
    process = start("--config", "a.yaml", "run_dir=/shared/my runs", SLURM_GPUS_ON_NODE="8")
    assert process.wait() == 0, process.stdout.read()
    for number in range(2):
        node = json.loads((tmp_path / f"node{number}").read_text())
        assert (node["MASTER_ADDR"], node["MASTER_PORT"]) == ("127.0.0.1", "20123")  # the job's number, 70123
        assert " ".join(node["arguments"]).startswith(
            f"--nnodes 2 --node-rank {number} --nproc-per-node 8 --master-addr 127.0.0.1 --master-port 20123 "
        )
        assert node["arguments"][-4:] == ["tools/train.py", "--config", "a.yaml", "run_dir=/shared/my runs"]


def test_all_that_torch_reads_is_set_by_the_script_or_by_torchrun(start, tmp_path):
    code = (ROOT / "vidboot" / "distributed.py").read_text() + (ROOT / "vidboot" / "launch.py").read_text()
    read = set(re.findall(r'"(MASTER_\w+|(?:LOCAL_)?(?:RANK|WORLD_SIZE))"', code))
    assert read == {"MASTER_ADDR", "MASTER_PORT", "RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"}
    shows = tmp_path / "show.py"
    shows.write_text("import os; print(sorted(os.environ))")
    torchrun = f'{Path(sys.executable).with_name("torchrun")} --standalone "{shows}"'
    process = start(stand_ins=STANDINS | {"torchrun": f"[[ $SLURM_NODEID == 1 ]] || exec {torchrun}"})
    output = process.communicate()[0]
    assert process.returncode == 0, output
    assert all(f"'{name}'" in output for name in read)


def test_a_container_is_put_before_the_command(start, tmp_path):
    process = start(CONTAINER="env CONTAINED=yes")
    assert process.wait() == 0, process.stdout.read()
    nodes = [json.loads((tmp_path / f"node{number}").read_text()) for number in range(2)]
    assert [node["CONTAINED"] for node in nodes] == ["yes"] * 2


@pytest.mark.parametrize(
    ("job", "queued"),
    [
        ({"STATUS": "1"}, False),  # a mistake would come again
        ({"STATUS": "0"}, False),
        ({"STATUS": "1", "PREEMPTED": "2026-11-28T06:00:00"}, True),
        ({"STATUS": "0", "PREEMPTED": "2026-11-28T06:00:00"}, False),  # it was at its end
    ],
)
def test_a_job_that_was_preempted_is_queued_again_and_one_that_failed_is_not(start, tmp_path, job, queued):
    process = start(**job)
    assert process.wait() == int(job["STATUS"]), process.stdout.read()
    assert said(tmp_path) == (["scontrol requeue 70123"] if queued else [])


@pytest.mark.parametrize(("at_term", "queued"), [("1", True), ("0", False)])
def test_near_its_limit_a_job_is_told_to_stop_and_queued_again_unless_it_has_finished(start, tmp_path, at_term, queued):
    process = start(WAITS="yes", AT_TERM=at_term)
    wait_for(lambda: all((tmp_path / f"waits{n}").exists() for n in range(2)), process)
    process.send_signal(signal.SIGUSR1)
    assert process.wait(30) == int(at_term), process.stdout.read()
    assert said(tmp_path) == ["scancel --signal=TERM 70123"] + ["scontrol requeue 70123"] * queued


def test_a_job_without_gpus_says_how_to_get_them(start):
    process = start(SLURM_GPUS_ON_NODE=None)
    assert process.wait() != 0
    assert "ask for GPUs: sbatch --gpus-per-node=8" in process.stdout.read()


# Trainings: the same steps must come out however the two processes are started.

SETTINGS = ["--stage", "clip", "clip.train.steps=60", "log.checkpoint_every=1000", "log.evaluate_every=30"]
SETTINGS += ["log.sample_every=1000"]
TORCHRUN_ALONE = [str(Path(sys.executable).with_name("torchrun")), "--standalone", "--nproc-per-node", "2"]


def losses(run):
    rows = [json.loads(line) for line in (run / "clip" / "metrics.jsonl").read_text().splitlines()]
    return np.array([row["loss"] for row in rows if "loss" in row])


def assert_same(run, reference):
    assert len(losses(reference)) == 60
    np.testing.assert_allclose(losses(run), losses(reference), rtol=1e-6)
    a, b = (load_file(folder / "clip" / "model.safetensors") for folder in (run, reference))
    assert max((a[name] - b[name]).abs().max().item() for name in a) <= 1e-6


@pytest.fixture
def reference(tiny_config, tmp_path, monkeypatch, tool):
    """A run of one node with two processes."""
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")  # the machine's name may be unknown in a sandbox
    run = tmp_path / "reference"
    done = tool("train", "--config", tiny_config, f"run_dir={run}", *SETTINGS, launcher=TORCHRUN_ALONE)
    assert done.returncode == 0, done.stdout + done.stderr
    return run


@pytest.mark.slow
def test_two_nodes_stopped_at_their_limit_go_on_and_train_what_one_node_does(start, tiny_config, tmp_path, reference):
    run, lines = tmp_path / "nodes", tmp_path / "nodes" / "clip" / "metrics.jsonl"
    arguments = ["--config", tiny_config, f"run_dir={run}", *SETTINGS]
    process = start(*arguments, stand_ins=STANDINS)
    wait_for(lambda: lines.exists() and len(lines.read_text().splitlines()) > 5, process)
    process.send_signal(signal.SIGUSR1)
    output = process.communicate()[0]
    assert process.returncode != 0, output
    assert said(tmp_path) == ["scancel --signal=TERM 70123", "scontrol requeue 70123"]
    assert not (run / "clip" / "model.safetensors").exists()
    again = start(*arguments, stand_ins=STANDINS)
    output = again.communicate()[0]
    assert again.returncode == 0, output
    assert "clip: goes on from the checkpoint at step" in output
    assert_same(run, reference)


@pytest.mark.slow
def test_srun_alone_starts_the_same_training(tiny_config, tmp_path, reference):
    run = tmp_path / "srun"
    command = [sys.executable, str(ROOT / "tools" / "train.py"), "--config", str(tiny_config), f"run_dir={run}"]
    given = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    given |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29641", "SLURM_STEP_NUM_TASKS": "2"}
    tasks = [
        subprocess.Popen(
            [*command, *SETTINGS],
            env=given | {"SLURM_PROCID": str(number), "SLURM_LOCALID": "0"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number in range(2)
    ]
    outputs = [task.communicate()[0] for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0], outputs
    assert_same(run, reference)
