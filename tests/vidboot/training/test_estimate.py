import json
import re
from dataclasses import replace

import pytest
import torch

from vidboot.config import RunConfig
from vidboot.model.video_model import view_network
from vidboot.settings import load_settings
from vidboot.training.view_stage import ViewStage


def clip_cost(config):
    return ViewStage(config, config.clip).cost(4)


def test_operations_are_those_of_the_layers(tiny_config):
    config = load_settings(RunConfig, tiny_config, ["clip.network.multipliers=[1]", "clip.network.attention_levels=0"])
    network = view_network(config, config.clip)
    frames, pixels = 4 * 4, 8 * 16  # batch of 4 clips of 4 frames
    forward = 0
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            forward += 2 * frames * pixels * module.weight.numel()
        elif isinstance(module, torch.nn.Linear):
            rows = 4 if module in list(network.network.embed.children()) else frames
            forward += 2 * rows * module.weight.numel()
    # Backward costs twice the forward pass, except for the first layers, whose input needs no gradient.
    assert 2.8 * forward < clip_cost(config).flops < 3 * forward


def test_recomputing_activations_keeps_less(tiny_config):
    kept = load_settings(RunConfig, tiny_config)
    recomputed = load_settings(RunConfig, tiny_config, ["clip.train.activation_checkpointing=true"])
    assert clip_cost(recomputed).activations < 0.5 * clip_cost(kept).activations


@pytest.mark.parametrize(
    ("stage", "bytes_per_parameter"), [(0, 16 + 4), (1, 8 + 4 + 12 / 4), (2, 4 + 4 + 16 / 4), (3, 4 + 20 / 4)]
)
def test_memory_under_zero_is_that_of_the_paper(tiny_config, stage, bytes_per_parameter):
    # Rajbhandari et al. 2020, figure 1, for float32 with a separate copy of the weights, plus our average (4 bytes).
    cost = clip_cost(load_settings(RunConfig, tiny_config))
    states = cost.memory(stage, processes=4) - replace(cost, parameters=0).memory(stage, processes=4)
    assert states == pytest.approx(bytes_per_parameter * cost.parameters, rel=1e-3)


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="measures the resident memory of a CPU run")
@pytest.mark.parametrize(("channels", "batch"), [(64, 112), (128, 64)])
def test_the_plan_foretells_the_memory_of_a_run_on_a_cpu(tiny_config, tmp_path, tool, channels, batch):
    run = [
        "--config",
        tiny_config,
        "--stage",
        "clip",
        f"run_dir={tmp_path / 'run'}",
        f"clip.network.channels={channels}",
    ]
    run += [f"clip.train.batch_size={batch}", "clip.train.steps=4", "log.log_every=1", "log.sample_every=100"]
    plan = tool("train", *run, "--dry-run").stdout
    stage = float(re.search(r"│ clip .* GB │ +([0-9.]+) /", plan).group(1))
    program = float(re.search(r"add ([0-9.]+) GB", plan).group(1))
    done = tool("train", *run)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "run" / "clip" / "metrics.jsonl").read_text().splitlines()]
    measured = max(row["memory_gb"] for row in rows if "memory_gb" in row)
    assert measured > 2 * program  # so that it is the stage's part that counts
    assert stage + program == pytest.approx(measured, rel=0.2)
