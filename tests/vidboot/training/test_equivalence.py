"""Runs that must agree: interrupted and not, one process and two, accumulated and not, under every ZeRO stage."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from vidboot.data.manifest import load_manifest
from vidboot.data.split import split_shots
from vidboot.model.run_folder import load_config, load_weights
from vidboot.model.video_model import view_network
from vidboot.training.view_stage import ViewStage

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]
TRAIN = str(ROOT / "tools" / "train.py")
DEEPSPEED = str(Path(sys.executable).with_name("deepspeed"))


def environment():
    return {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_PORT")} | {
        "OMP_NUM_THREADS": "1"
    }


def command(config, run, *overrides, processes=1):
    launcher = [sys.executable] if processes == 1 else [DEEPSPEED, "--num_accelerators", "2", "--master_port", "29613"]
    return [*launcher, TRAIN, "--config", str(config), "--stage", "clip", f"run_dir={run}", *overrides]


def run_to_end(*arguments, **options):
    done = subprocess.run(
        command(*arguments, **options), env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def metrics(run):
    rows = [json.loads(line) for line in (run / "clip" / "metrics.jsonl").read_text().splitlines()]
    measured = ("videos_per_second", "frames_per_second", "memory_gb")
    return [{k: v for k, v in row.items() if k not in measured} for row in rows]


def losses(run):
    return np.array([row["loss"] for row in metrics(run) if "loss" in row])


def weights(run):
    return load_file(run / "clip" / "model.safetensors")


def exported_errors(run):
    """Held-out errors of the exported network, to compare with what the run measured on its engine's average."""
    config = load_config(run)
    split = split_shots(load_manifest(config.data.manifest), config.data.holdout)
    evaluate = ViewStage(config, config.clip).held_out_error(split.validation)
    return evaluate(load_weights(run / "clip", view_network(config, config.clip)))


def difference(a, b):
    return max((a[name] - b[name]).abs().max().item() for name in a)


@pytest.mark.parametrize(("processes", "tolerance"), [(1, 0.0), (2, 1e-6)])
def test_killed_three_times_and_resumed_is_as_if_uninterrupted(tiny_config, tmp_path, processes, tolerance):
    overrides = ["clip.train.steps=200", "log.checkpoint_every=7", "log.evaluate_every=50", "log.sample_every=1000"]
    run_to_end(tiny_config, tmp_path / "whole", *overrides, processes=processes)
    rng = np.random.default_rng(0)
    for kill_at in sorted(rng.integers(10, 190, 3)):
        process = subprocess.Popen(
            command(tiny_config, tmp_path / "killed", *overrides, processes=processes),
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        lines = tmp_path / "killed" / "clip" / "metrics.jsonl"
        while process.poll() is None and (not lines.exists() or len(lines.read_text().splitlines()) < kill_at):
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert "goes on from the checkpoint" in run_to_end(
        tiny_config, tmp_path / "killed", *overrides, processes=processes
    )
    assert difference(weights(tmp_path / "whole"), weights(tmp_path / "killed")) <= tolerance
    for whole, killed in zip(metrics(tmp_path / "whole"), metrics(tmp_path / "killed"), strict=True):
        assert killed == pytest.approx(whole, rel=tolerance, abs=tolerance)
    last = sorted((tmp_path / "whole" / "clip" / "checkpoints").glob("step-*"))[-1].name
    for state in sorted((tmp_path / "whole" / "clip" / "checkpoints" / last).glob("*.pt")):
        a, b = (
            torch.load(tmp_path / run / "clip" / "checkpoints" / last / state.name, weights_only=False)
            for run in ("whole", "killed")
        )
        assert all((a["module"][n] - b["module"][n]).abs().max() <= tolerance for n in a["module"])


LAYOUTS = {"one": (1, "8"), "two": (2, "4"), "accumulated": (1, "4")}


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_process_counts_accumulation_and_zero_stages_agree(tiny_config, tmp_path, stage):
    overrides = ["clip.train.steps=50", "clip.train.batch_size=8", "log.checkpoint_every=1000", "log.sample_every=1000"]
    run_to_end(tiny_config, tmp_path / "reference", *overrides)
    for name, (processes, micro) in LAYOUTS.items():
        zero = [f"deepspeed.zero_optimization.stage={stage}", f"clip.train.micro_batch_size={micro}"]
        run_to_end(tiny_config, tmp_path / name, *overrides, *zero, processes=processes)
        np.testing.assert_allclose(losses(tmp_path / name), losses(tmp_path / "reference"), rtol=1e-4)
        assert all(tensor.numel() for tensor in weights(tmp_path / name).values())
        assert difference(weights(tmp_path / name), weights(tmp_path / "reference")) < 1e-5
        measured = [row for row in metrics(tmp_path / name) if "error@0.5" in row][-1]
        assert exported_errors(tmp_path / name) == pytest.approx({k: measured[k] for k in ("error@0.5", "error@2")})


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_a_run_goes_on_with_another_number_of_processes(tiny_config, tmp_path, stage, before, after):
    zero = [f"deepspeed.zero_optimization.stage={stage}", "log.checkpoint_every=10", "log.sample_every=1000"]
    run_to_end(tiny_config, tmp_path / "whole", "clip.train.steps=20", *zero)
    process = subprocess.Popen(
        command(tiny_config, tmp_path / "moved", "clip.train.steps=20", *zero, processes=before),
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while process.poll() is None and not (tmp_path / "moved" / "clip" / "checkpoints" / "step-0000010").exists():
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    said = run_to_end(tiny_config, tmp_path / "moved", "clip.train.steps=20", *zero, processes=after)
    assert "goes on from the checkpoint at step 10" in said
    np.testing.assert_allclose(losses(tmp_path / "moved"), losses(tmp_path / "whole"), rtol=1e-4)
    assert difference(weights(tmp_path / "moved"), weights(tmp_path / "whole")) < 1e-5


def test_sigterm_saves_first(tiny_config, tmp_path):
    process = subprocess.Popen(
        command(tiny_config, tmp_path / "run", "clip.train.steps=500", "log.checkpoint_every=1000"),
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    for line in process.stdout:
        if "clip 5/500" in line:
            break
    os.killpg(process.pid, signal.SIGTERM)
    process.stdout.read()
    assert process.wait(60) == 130
    assert list((tmp_path / "run" / "clip" / "checkpoints").glob("step-*"))
