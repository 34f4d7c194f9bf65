"""The step on a real engine, fed with values that are not finite."""

import copy
import math

import pytest
import torch
from torch.utils.data import Dataset

from vidboot.config import DeepSpeedConfig, NoiseConfig, OptimizationConfig
from vidboot.distributed import init_distributed
from vidboot.errors import UserError
from vidboot.method.edm import Preconditioned
from vidboot.networks.unet import UNet
from vidboot.training.batch import Batch
from vidboot.training.engine import make_engine
from vidboot.training.network_training import NetworkTraining
from vidboot.training.step import TrainStep


@pytest.fixture(params=[0, 2])
def train_step(request, monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    init_distributed()
    torch.manual_seed(0)
    optimization = OptimizationConfig(steps=10, batch_size=2, max_bad_steps=3, weight_decay=0.1)
    network = Preconditioned(UNet(channels=8, multipliers=(1,), attention_levels=0), 0.5)
    training = NetworkTraining(
        "clip", network, optimization, Dataset(), NoiseConfig(), loss, lambda n: {}, lambda n, p: None
    )
    engine = make_engine(network, optimization, DeepSpeedConfig(zero_optimization={"stage": request.param}))
    return TrainStep(engine, training)


def loss(network, batch):
    return ((network(batch.x0, batch.sigma) - batch.noise) ** 2).flatten(1).mean(1)


def batch(value=0.5):
    x0 = torch.full((2, 3, 2, 4, 4), value)
    mask = torch.ones(2, 1, 2, 4, 4, dtype=torch.bool)
    return Batch(x0, mask, mask, torch.tensor([0.5, 2.0]), x0.flip(0), [1, 2], ["a.mp4", "b.mp4"])


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e38])
def test_a_step_that_is_not_finite_changes_no_weight(train_step, value):
    train_step(1, [batch()], 0.01, stop=False)
    before = copy.deepcopy(train_step.engine.module.state_dict())
    train_step(2, [batch(value)], 0.01, stop=False)
    assert train_step.skipped == 1
    assert all(torch.equal(before[name], same) for name, same in train_step.engine.module.state_dict().items())
    good, _ = train_step(3, [batch()], 0.01, stop=False)
    assert math.isfinite(good)
    assert train_step.skipped == 1
    after = train_step.engine.module.state_dict()
    assert all(weight.isfinite().all() for weight in after.values())
    assert any(not torch.equal(before[name], now) for name, now in after.items())


def test_too_many_in_a_row_stop_with_step_levels_and_files(train_step):
    train_step(1, [batch(math.nan)], 0.01, stop=False)
    train_step(2, [batch()], 0.01, stop=False)
    for step in (3, 4):
        train_step(step, [batch(math.nan)], 0.01, stop=False)
    with pytest.raises(UserError, match=r"step 5: 3 steps in a row .* 0\.5, 2; files: a\.mp4, b\.mp4\. Delete"):
        train_step(5, [batch(math.nan)], 0.01, stop=False)


def test_a_request_to_stop_is_reported(train_step):
    assert train_step(1, [batch()], 0.01, stop=False)[1] is False
    assert train_step(2, [batch()], 0.01, stop=True)[1] is True
