"""How many operators a training step runs, each of which is a kernel or more to launch on a GPU."""

from pathlib import Path

import pytest
import torch

from vidboot.config import RunConfig
from vidboot.method.network_inputs import NetworkInputs
from vidboot.settings import load_settings
from vidboot.training.computing import ComputedNetwork
from vidboot.training.engine import micro_batch
from vidboot.training.simulation import simulate
from vidboot.training.stages import stages_of

CONFIG = Path(__file__).parents[3] / "configs" / "one_gpu.yaml"
BEFORE = 16 * 1_014
"""Operators of a step's forward and backward passes at e57bb01: 16 micro-batches, counted in the same way."""


@pytest.mark.parametrize("num_frames", [16, 64])
def test_a_step_of_one_gpu_runs_less_than_half_the_operators_of_before(num_frames):
    (clip,) = stages_of(load_settings(RunConfig, CONFIG), "clip")
    count = micro_batch(clip.optimization, clip.num_frames, num_frames)
    with torch.device("meta"):
        network = ComputedNetwork(clip.network(), bf16=True)
        x, sigma = torch.empty(count, 3, num_frames, 8, 8), torch.ones(count)
        inputs = NetworkInputs(observed_mask=torch.ones(count, 1, *x.shape[2:], dtype=torch.bool))
        simulation = simulate(lambda: network(x, sigma, inputs).square().mean().backward())
    micro_batches = clip.optimization.batch_size // count
    assert micro_batches == num_frames // 16
    assert micro_batches * simulation.kernels.total() < BEFORE / 2
