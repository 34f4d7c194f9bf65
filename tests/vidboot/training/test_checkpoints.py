"""Checkpoints that can't be gone on from, and runs that were stopped at an awkward moment."""

import json
import os
import signal

import pytest
import torch
from safetensors.torch import load_file, save_file

from vidboot.config import DeepSpeedConfig, OptimizationConfig, RunConfig
from vidboot.data.manifest import load_manifest
from vidboot.data.split import Split
from vidboot.distributed import init_distributed
from vidboot.errors import UserError
from vidboot.experiments.digits import write_digits
from vidboot.method.edm import Preconditioned
from vidboot.networks.unet import UNet
from vidboot.settings import load_settings
from vidboot.training import engine as module
from vidboot.training.checkpoints import EMA_FILE, Checkpoints
from vidboot.training.engine import make_engine
from vidboot.training.log import StageLog
from vidboot.training.loop import Interrupted, train_network
from vidboot.training.optimizer import EMA
from vidboot.training.view_stage import ViewStage


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    init_distributed()


def make(precision, stage):
    """An engine and the average of its network."""
    network = Preconditioned(UNet(channels=4, multipliers=(1,), attention_levels=0), 0.5)
    average = EMA(network, 0.9)
    settings = DeepSpeedConfig(precision=precision, zero_optimization={"stage": stage})
    return make_engine(network, OptimizationConfig(steps=10, batch_size=1), settings), average


@pytest.mark.parametrize("stage", [0, 2])
def test_training_in_bf16_goes_on_in_float32(tmp_path, monkeypatch, stage):
    monkeypatch.setattr(module, "has_bf16", lambda: True)
    checkpoints = Checkpoints(tmp_path / "clip" / "checkpoints", 2)
    engine, average = make("bf16", stage)
    engine.backward(engine(torch.randn(1, 3, 2, 4, 4), torch.ones(1)).square().mean())
    engine.step()
    checkpoints.save(1, engine, average)
    resumed, _ = make("fp32", stage)
    assert checkpoints.load_last(resumed, average) == 1
    for before, now in zip(engine.module.parameters(), resumed.module.parameters(), strict=True):
        assert now.dtype == torch.float32
        assert torch.equal(before, now)


def test_another_precision_is_refused_with_what_to_do(tmp_path, monkeypatch):
    stage = 3
    monkeypatch.setattr(module, "has_bf16", lambda: True)
    checkpoints = Checkpoints(tmp_path / "clip" / "checkpoints", 2)
    engine, average = make("bf16", stage)
    engine.backward(engine(torch.randn(1, 3, 2, 4, 4), torch.ones(1)).square().mean())
    engine.step()
    checkpoints.save(1, engine, average)
    with pytest.raises(UserError, match=r"deepspeed\.precision=bf16 .* or delete \S+/clip to"):
        checkpoints.load_last(*make("fp32", stage))
    assert checkpoints.load_last(*make("bf16", stage)) == 1
    path = tmp_path / "clip" / "checkpoints" / "step-0000001" / EMA_FILE
    save_file(load_file(path), path, {"processes": "1"})  # as a run of before has it, which doesn't say its precision
    with pytest.raises(UserError, match="delete that folder"):
        checkpoints.load_last(*make("fp32", stage))


def test_a_damaged_average_is_one_message(tmp_path):
    checkpoints = Checkpoints(tmp_path, 2)
    checkpoints.save(1, *make("fp32", 0))
    path = tmp_path / "step-0000001" / EMA_FILE
    for content in (b"junk" * 10, path.read_bytes()[:-8]):
        path.write_bytes(content)
        with pytest.raises(UserError, match="delete that folder to go on without it"):
            checkpoints.load_last(*make("fp32", 0))


def test_a_half_written_line_of_metrics_is_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    lines = [json.dumps({"step": step, "loss": 0.5}) for step in (1, 2, 3)]
    path.write_text("\n".join([*lines, lines[0][:9]]))
    StageLog(tmp_path, "clip", 10, resumed_at=2).close()
    assert path.read_text().splitlines() == lines[:2]


def test_a_stop_during_the_last_step_is_heard_and_loses_nothing(tiny_config, tmp_path):
    write_digits(tmp_path / "data", full=2, clips=2, low_res=2, num_frames=12, clip_frames=4, size=16)
    small = ["video={num_frames: 12, height: 16, width: 16, overlap: 4}", "clip.train.steps=2"]
    config = load_settings(RunConfig, tiny_config, [*small, f"data.manifest={tmp_path / 'data'}"])
    shots = load_manifest(tmp_path / "data").shots
    for name, moment in (("step", "loss"), ("evaluation", "evaluate")):
        stage, calls = ViewStage(config, config.clip).training(Split(shots, shots, shots)), []
        usual = getattr(stage, moment)

        def stop(*arguments, usual=usual, calls=calls, last=2 if moment == "loss" else 1):
            calls.append(1)
            if len(calls) == last:
                os.kill(os.getpid(), signal.SIGINT)
            return usual(*arguments)

        object.__setattr__(stage, moment, stop)
        with pytest.raises(Interrupted, match="stopped at step 2"):
            train_network(stage, tmp_path / name, config)
        finished = train_network(
            ViewStage(config, config.clip).training(Split(shots, shots, shots)), tmp_path / name, config
        )
        assert next(finished.parameters()).isfinite().all()
        assert (tmp_path / name / "checkpoints" / "step-0000002").is_dir()
