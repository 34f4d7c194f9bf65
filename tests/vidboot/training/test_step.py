"""The step on a real engine, fed with values that are not finite."""

import copy
import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import Dataset

from vidboot.config import DeepSpeedConfig, NoiseConfig, OptimizationConfig
from vidboot.distributed import init_distributed
from vidboot.errors import UserError
from vidboot.method.edm import Preconditioned
from vidboot.networks.unet import UNet
from vidboot.training.batch import Batch
from vidboot.training.engine import make_engine
from vidboot.training.network_training import NetworkTraining
from vidboot.training.step import TrainStep, gradients


@pytest.fixture(params=[0, 1, 2, 3])
def engines(request, monkeypatch):
    """Makes an engine and its training, under a ZeRO stage; always the same."""
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    init_distributed()

    def make():
        torch.manual_seed(0)
        optimization = OptimizationConfig(steps=10, batch_size=2, max_bad_steps=3, weight_decay=0.1)
        network = Preconditioned(UNet(channels=8, multipliers=(1,), attention_levels=0), 0.5)
        training = NetworkTraining(
            "clip", network, optimization, Dataset(), NoiseConfig(), loss, lambda n: {}, lambda n, p: None
        )
        engine = make_engine(network, optimization, DeepSpeedConfig(zero_optimization={"stage": request.param}))
        return TrainStep(engine, training)

    return make


@pytest.fixture
def train_step(engines):
    return engines()


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


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_one_bad_gradient_sets_all_to_zero(train_step, value):
    train_step(1, [batch()], 0.01, stop=False)
    before = copy.deepcopy(train_step.engine.module.state_dict())
    weight = train_step.training.network.network.conv_in.weight
    spoiled = weight.register_hook(lambda g: torch.full_like(g, value))  # with a finite loss
    mean, _ = train_step(2, [batch()], 0.01, stop=False)
    spoiled.remove()
    assert math.isfinite(mean)
    assert train_step.skipped == 1
    assert all(torch.equal(before[name], same) for name, same in train_step.engine.module.state_dict().items())
    train_step(3, [batch()], 0.01, stop=False)
    assert all(weight.isfinite().all() for weight in train_step.engine.module.state_dict().values())


class Plain:
    """An engine of plain torch."""

    def __init__(self, module):
        self.module, self.optimizer = module, torch.optim.SGD(module.parameters(), 0.1)
        self.steps = 0

    def train(self): ...

    def set_gradient_accumulation_boundary(self, is_boundary): ...

    def __call__(self, *inputs, **more):
        return self.module(*inputs, **more)

    def backward(self, mean):
        mean.backward()

    def step(self):
        self.steps += 1


def test_the_loss_is_the_mean_over_micro_batches(train_step):
    engine = Plain(train_step.engine.module)
    batches = [batch(), batch(0.1)]
    both = [loss(engine, b).mean().item() for b in batches]
    mean, _ = TrainStep(engine, train_step.training)(1, batches, 0.01, stop=False)
    assert mean == sum(value / 2 for value in both)


class Counter(TorchDispatchMode):
    """How many operations make something new."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += not func.is_view
        return func(*args, **(kwargs or {}))


def test_the_check_is_a_few_operations_however_many_weights_there_are(train_step):
    counts = []
    for multipliers in ((1,), (1, 1, 1)):
        network = Preconditioned(UNet(channels=8, multipliers=multipliers, attention_levels=0), 0.5)
        step = TrainStep(Plain(network), train_step.training)
        loss(network, batch()).mean().backward()
        assert not any(p._backward_hooks for p in network.parameters())
        with Counter() as counter:
            step._agree(torch.ones((), dtype=torch.float64), stop=False)
        counts.append(counter.count)
    assert len(gradients(step.engine)) > 50
    assert counts[0] == counts[1] <= 30


def test_the_host_waits_for_the_device_once_a_step(train_step, monkeypatch):
    waits = []
    for name in ("item", "tolist", "__bool__", "__float__"):
        kept = getattr(torch.Tensor, name)
        monkeypatch.setattr(torch.Tensor, name, lambda t, kept=kept, name=name: waits.append(name) or kept(t))
    network = Preconditioned(UNet(channels=8, multipliers=(1,), attention_levels=0), 0.5)
    engine = Plain(network)
    TrainStep(engine, train_step.training)(1, [batch(), batch(), batch()], 0.01, stop=False)
    assert engine.steps == 3
    assert waits == ["tolist"]


def test_micro_batches_add_up_to_the_whole_batch_under_every_stage(engines):
    whole, parts = engines(), engines()
    x0 = torch.randn(2, 3, 2, 4, 4, generator=torch.Generator().manual_seed(3))

    def of(items):
        mask = torch.ones(1, 1, 2, 4, 4, dtype=torch.bool).expand(len(items), -1, -1, -1, -1)
        return Batch(x0[items], mask, mask, torch.tensor([0.5, 2.0])[items], x0.flip(0)[items], items, ["a.mp4"] * 2)

    for number in (1, 2):
        together, _ = whole(number, [of([0, 1])], 0.01, stop=False)
        apart, _ = parts(number, [of([0]), of([1])], 0.01, stop=False)
        assert apart == pytest.approx(together, rel=1e-5)  # in the second step only if the first was the same


def test_gradients_are_clipped_to_the_norm_of_the_settings_under_every_stage(train_step):
    # AdamW's first step does not depend on the gradient's size, so its first moment is looked at: it is (1 − β₁) g.
    engine = train_step.engine
    torch.manual_seed(0)
    copied = Preconditioned(UNet(channels=8, multipliers=(1,), attention_levels=0), 0.5)
    loss(copied, batch(50.0)).mean().backward()
    norm = torch.nn.utils.clip_grad_norm_(copied.parameters(), 1.0)
    assert norm > 2
    train_step(1, [batch(50.0)], 0.01, stop=False)
    moments = [s["exp_avg"].flatten() for s in engine.optimizer.state.values() if "exp_avg" in s]
    expected = torch.cat([p.grad.flatten() for p in copied.parameters() if p.grad is not None]).norm()
    assert torch.cat(moments).norm().item() == pytest.approx(0.1 * expected.item(), rel=1e-3)
    if train_step.clips:
        assert train_step.gradient_norm == pytest.approx(norm.item(), rel=1e-4)
