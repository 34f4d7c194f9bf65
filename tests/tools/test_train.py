"""tools/train.py run as a command."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

DEEPSPEED = (str(Path(sys.executable).with_name("deepspeed")),)


def metrics(run, stage):
    return [json.loads(line) for line in (run / stage / "metrics.jsonl").read_text().splitlines()]


def losses(run, stage):
    return [row["loss"] for row in metrics(run, stage) if "loss" in row]


def test_a_run_leaves_everything_it_promises(trained_run):
    for stage, steps in (("clip", 6), ("low_res_2", 4), ("residual", 4)):
        folder = trained_run / stage
        assert len(losses(trained_run, stage)) == steps
        assert load_file(folder / "model.safetensors")
        assert json.loads((folder / "settings.json").read_text())["video"]["num_frames"] == 12
        assert list((folder / "samples").glob("*.mp4"))
        events = EventAccumulator(str(folder / "tensorboard")).Reload()
        assert [event.step for event in events.Scalars("loss")] == list(range(1, steps + 1))
    results = json.loads((trained_run / "results.json").read_text())
    assert list(results["rows"]) == ["clip", "low_res_2", "base", "base + residual"]
    assert json.loads((trained_run / "config.json").read_text())["clip"]["num_frames"] == 4


def test_finished_stages_are_skipped(trained_run, tool):
    before = (trained_run / "clip" / "model.safetensors").stat().st_mtime_ns
    done = tool("train", "--config", trained_run.parent / "tiny.yaml")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("finished before, skipped") == 4
    assert (trained_run / "clip" / "model.safetensors").stat().st_mtime_ns == before


def test_a_finished_stage_of_other_settings_is_refused_with_the_difference(trained_run, main_of, capfd):
    assert main_of("train", "--config", trained_run.parent / "tiny.yaml", "clip.train.steps=7") == 2
    assert "clip.train.steps: 6 there, 7 now" in capfd.readouterr().err


def test_two_processes_train_like_one(trained_run, tiny_config, tmp_path, tool):
    launcher = (*DEEPSPEED, "--num_accelerators", "2", "--master_port", "29577")
    done = tool("train", "--config", tiny_config, "residual=null", "calibration=null", launcher=launcher)
    assert done.returncode == 0, done.stdout + done.stderr
    for stage in ("clip", "low_res_2"):
        assert losses(tmp_path / "run", stage) == pytest.approx(losses(trained_run, stage), rel=1e-4)


def started(words, until):
    """A training of its own process group that has just said `until`, and all that it has said."""
    process = subprocess.Popen(
        [*map(str, words)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    said = ""
    while until not in said:
        said += process.stdout.readline()
        assert process.poll() is None, said
    return process, said


def test_interrupted_it_saves_and_goes_on_as_if_nothing_had_been(trained_run, tiny_config, tmp_path, tool):
    words = ["tools/train.py", "--config", tiny_config, "--stage", "clip", "log.checkpoint_every=1000"]
    process, said = started([sys.executable, *words], "clip 1/6")
    os.killpg(process.pid, signal.SIGINT)
    said += process.stdout.read()
    assert process.wait(60) == 130, said
    assert "run the same command again" in said
    stopped = len(losses(tmp_path / "run", "clip"))
    assert 1 <= stopped < 6
    done = tool("train", "--config", tiny_config, "--stage", "clip")
    assert f"clip: goes on from the checkpoint at step {stopped} of 6" in done.stdout
    assert losses(tmp_path / "run", "clip") == losses(trained_run, "clip")
    ours, theirs = (load_file(run / "clip" / "model.safetensors") for run in (tmp_path / "run", trained_run))
    assert all((ours[name] == theirs[name]).all() for name in theirs)


@pytest.mark.slow
def test_interrupted_under_the_launcher_it_saves_too(tiny_config, tmp_path):
    """Ctrl-C in a terminal reaches all processes, and the launcher then sends SIGTERM to the training."""
    words = ["tools/train.py", "--config", tiny_config, "--stage", "clip", "log.checkpoint_every=1000"]
    process, _ = started(["deepspeed", "--master_port", "29517", *words, "clip.train.steps=400"], "clip 5/400")
    os.killpg(process.pid, signal.SIGINT)
    process.stdout.read()  # until the training too has ended
    process.wait(60)
    assert list((tmp_path / "run" / "clip" / "checkpoints").glob("step-*"))


def test_the_plan_of_a_stage_that_there_is_not_is_refused(tiny_config, main_of, capfd):
    assert main_of("train", "--config", tiny_config, "--stage", "clop", "--dry-run") == 2
    assert "there is no stage 'clop'" in capfd.readouterr().err


def test_killed_it_goes_on_from_the_last_checkpoint(trained_run, tiny_config, tmp_path, tool):
    process = subprocess.Popen(
        [sys.executable, "tools/train.py", "--config", str(tiny_config), "--stage", "clip"],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    first = tmp_path / "run" / "clip" / "checkpoints" / "step-0000002"
    deadline = time.monotonic() + 120
    while not first.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert first.exists()
    done = tool("train", "--config", tiny_config, "--stage", "clip")
    assert done.returncode == 0, done.stderr
    assert "clip: goes on from the checkpoint at step" in done.stdout or "clip: finished before" in done.stdout
    assert losses(tmp_path / "run", "clip") == losses(trained_run, "clip")


def test_dry_run_starts_nothing(tiny_config, tmp_path, tool):
    done = tool("train", "--config", tiny_config, "--dry-run")
    assert done.returncode == 0, done.stderr
    stages = ("clip", "low_res_2", "calibration", "residual")
    assert all(stage in done.stdout for stage in (*stages, "to do"))
    assert not (tmp_path / "run").exists()


def test_dry_run_without_data_prints_the_plan_and_does_not_end_well(tiny_config, main_of, capfd):
    assert main_of("train", "--config", tiny_config, "data.manifest=/nowhere", "--dry-run") == 2
    said = capfd.readouterr().out
    assert "data: there is no manifest in /nowhere" in said and "Plan of" in said


def test_a_run_folder_takes_one_training_at_a_time(tiny_config, tmp_path, main_of, capfd):
    (tmp_path / "run").mkdir()
    with FileLock(tmp_path / "run" / ".lock"):
        assert main_of("train", "--config", tiny_config) == 2
        said = capfd.readouterr().err
        assert f"another training is at work on {tmp_path / 'run'}" in said and said.count("\n") == 1
        # Looking at the plan is no training.
        assert main_of("train", "--config", tiny_config, "--dry-run") == 0
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("data.classes=[films/nature]", "no shot has the label 'films/nature'; there are: none. A label is the name"),
        ("clip.trian.steps=3", "clip.trian: unknown key; did you mean 'train'?"),
        ("seed=abc", "seed: Input should be a valid integer"),
        ("data.manifest=/nowhere", "there is no manifest in /nowhere"),
        ("video.width=32", "run tools/preprocess.py with height=8 width=32"),
        ("video.num_frames=900 video.overlap=4", "nothing to train clip.full_length on"),
        ("clip.train.batch_size=3 clip.train.micro_batch_size=2", "does not divide the 3 videos"),
    ],
)
def test_mistakes_are_one_clear_message_before_anything_starts(tiny_config, tmp_path, main_of, capfd, override, says):
    assert main_of("train", "--config", tiny_config, *override.split()) == 2
    assert says in capfd.readouterr().err
    assert not (tmp_path / "run").exists()
