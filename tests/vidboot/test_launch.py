"""Processes of one training that know of each other, and end together."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from vidboot.errors import UserError
from vidboot.launch import set_rank_under_slurm

STEP = {"SLURM_STEP_NUM_TASKS": "8", "SLURM_PROCID": "5", "SLURM_LOCALID": "1"}


@pytest.fixture
def environment(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        # Set first, so that what the code sets is taken back.
        monkeypatch.setenv(name, "")
    for name in (*STEP, "RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def numbers():
    return [os.environ.get(name) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")]


def test_srun_gives_the_numbers_that_torch_asks_for(environment):
    for name, value in (STEP | {"MASTER_ADDR": "node1", "MASTER_PORT": "29500"}).items():
        environment.setenv(name, value)
    set_rank_under_slurm()
    assert numbers() == ["5", "8", "1"]


@pytest.mark.parametrize(("shown", "local"), [("0", "0"), ("GPU-5f2a", "0"), ("0,1,2,3", "1"), ("", "1")])
def test_a_process_that_srun_shows_one_gpu_only_uses_that(environment, shown, local):
    given = STEP | {"MASTER_ADDR": "node1", "MASTER_PORT": "29500", "CUDA_VISIBLE_DEVICES": shown}
    for name, value in given.items():
        environment.setenv(name, value)
    set_rank_under_slurm()
    assert numbers() == ["5", "8", local]


def test_srun_without_an_address_says_how_to_start(environment):
    for name, value in STEP.items():
        environment.setenv(name, value)
    with pytest.raises(UserError, match="srun has started 8 processes that don't know of each other"):
        set_rank_under_slurm()


@pytest.mark.parametrize(
    "given", [{}, {"SLURM_PROCID": "0", "SLURM_NTASKS": "8"}, STEP | {"SLURM_STEP_NUM_TASKS": "1"}]
)
def test_a_single_process_is_left_alone(environment, given):
    for name, value in given.items():
        environment.setenv(name, value)
    set_rank_under_slurm()
    assert numbers() == [None] * 3


ALONE = """
import os, torch.distributed as dist
from vidboot.distributed import init_distributed, rank, world_size
init_distributed()
print(rank(), world_size(), dist.get_backend())
"""


def test_a_single_process_trains_although_a_job_script_has_set_an_address():
    given = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    given |= {"MASTER_ADDR": "node1", "MASTER_PORT": "29500"}
    done = subprocess.run([sys.executable, "-c", ALONE], env=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "0 1 gloo"


CHILD = """
import signal, sys, time
from vidboot.launch import end_with_launcher
def end(*_):
    print("saved", flush=True)
    sys.exit()
signal.signal(signal.SIGTERM, end)
end_with_launcher()
print("trains", flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks /proc")
@pytest.mark.parametrize(("name", "ends"), [("deepspeed", True), ("shell", False)])
def test_a_training_ends_with_its_launcher_and_with_no_other_program(tmp_path, name, ends):
    (tmp_path / "train.py").write_text(CHILD)
    launcher = tmp_path / f"{name}.py"
    launcher.write_text("import subprocess, sys\nsubprocess.run([sys.executable, *sys.argv[1:]])\n")
    # As `deepspeed` does it: a program that starts a program that starts the training.
    command = [sys.executable, launcher, launcher, tmp_path / "train.py"]
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert process.stdout.readline() == "trains\n"
        process.kill()
        process.wait()
        time.sleep(0 if ends else 3)
        if not ends:
            os.killpg(process.pid, signal.SIGKILL)
        assert process.stdout.read() == ("saved\n" if ends else "")
    finally:
        process.stdout.close()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
