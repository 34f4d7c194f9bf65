"""Files that are truncated, replaced by junk or deleted while a run trains on them."""

import json
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from vidboot.data.manifest import load_manifest
from vidboot.data.split import split_shots
from vidboot.experiments.digits import write_digits

pytestmark = pytest.mark.slow
TRAIN = Path(__file__).parents[3] / "tools" / "train.py"
STEPS = 300


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def replace_by_junk(path):
    path.write_bytes(random.Random(path.name).randbytes(path.stat().st_size))


def steps_done(run):
    path = run / "clip" / "metrics.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return max((row["step"] for row in rows), default=0)


def test_a_tenth_of_the_files_damaged_while_it_runs_changes_no_number_of_steps(tiny_config, tmp_path):
    data, run = tmp_path / "digits", tmp_path / "run"
    write_digits(data, full=12, clips=60, low_res=18, num_frames=12, clip_frames=4, size=16)
    shots = load_manifest(data).shots
    overrides = [
        f"data.manifest={data}",
        "video.height=16",
        "data.num_workers=2",
        "data.memory_gb=0",
        f"clip.train.steps={STEPS}",
    ]
    overrides += ["log.log_every=10", "log.evaluate_every=100", "log.checkpoint_every=100", "low_res.0.train.steps=100"]
    with (tmp_path / "log.txt").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, TRAIN, "--config", tiny_config, *overrides], stdout=log, stderr=subprocess.STDOUT
        )
        while steps_done(run) < STEPS // 5 and process.poll() is None:
            time.sleep(0.05)
        chosen = random.Random(1).sample(shots, len(shots) // 10)
        for number, shot in enumerate(chosen):
            (truncate, replace_by_junk, Path.unlink)[number % 3](data / shot.path)
        assert steps_done(run) < STEPS, "the damage came too late to matter"
        assert process.wait(timeout=500) == 0, (tmp_path / "log.txt").read_text()[-3000:]

    said = (tmp_path / "log.txt").read_text()
    assert steps_done(run) == STEPS
    listed = Counter(json.loads(line)["path"] for line in (run / "set_aside.jsonl").read_text().splitlines())
    in_training = {shot.path for shot in split_shots(load_manifest(data), 0.35).train}
    damaged = {shot.path for shot in chosen} & in_training
    assert listed == dict.fromkeys(damaged, 1)
    assert len(damaged) >= 6
    for path in damaged:
        assert len([line for line in said.splitlines() if "set aside" in line and path in line]) == 1
