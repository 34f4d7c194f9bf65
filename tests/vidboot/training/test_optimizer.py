import math

import pytest
import torch

from vidboot.config import OptimizationConfig
from vidboot.training.optimizer import EMA, L2SPAdamW, in_float32, learning_rate


def train(optimizer_of, steps):
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(5, dtype=torch.float64))
    optimizer = optimizer_of([weight])
    path = [weight.detach().clone()]
    for step in range(steps):
        optimizer.zero_grad()
        ((weight - step) ** 2).sum().backward()
        optimizer.step()
        path.append(weight.detach().clone())
    return path, optimizer


def test_without_pull_it_is_adamw():
    ours, _ = train(lambda p: L2SPAdamW(p, lr=0.1, weight_decay=0.02), 5)
    reference, _ = train(lambda p: torch.optim.AdamW(p, lr=0.1, betas=(0.9, 0.99), weight_decay=0.02), 5)
    torch.testing.assert_close(torch.stack(ours), torch.stack(reference), rtol=1e-12, atol=1e-12)


def test_the_pull_is_decoupled_decay_towards_the_start():
    # AdamW on the difference to the start, with the pull as its weight decay, is nearly the same: they differ in
    # whether the decay comes before or after the step, which changes it by at most (η·pull)·η a step.
    ours, _ = train(lambda p: L2SPAdamW(p, lr=0.01, pull=3.0), 50)
    torch.manual_seed(0)
    start = torch.randn(5, dtype=torch.float64)
    difference = torch.nn.Parameter(torch.zeros(5, dtype=torch.float64))
    optimizer = torch.optim.AdamW([difference], lr=0.01, betas=(0.9, 0.99), weight_decay=3.0)
    for step in range(50):
        optimizer.zero_grad()
        ((start + difference - step) ** 2).sum().backward()
        optimizer.step()
    assert (ours[-1] - start - difference.detach()).abs().max() < 50 * 0.03 * 0.01
    free, _ = train(lambda p: L2SPAdamW(p, lr=0.01), 50)
    assert ((ours[-1] - start).abs() < (free[-1] - start).abs()).all()


def test_the_start_survives_saving_and_loading():
    whole, _ = train(lambda p: L2SPAdamW(p, lr=0.1, pull=1.0), 6)
    half, optimizer = train(lambda p: L2SPAdamW(p, lr=0.1, pull=1.0), 3)
    weight = torch.nn.Parameter(half[-1].clone())
    resumed = L2SPAdamW([weight], lr=0.1, pull=1.0)
    resumed.load_state_dict(optimizer.state_dict())
    for step in range(3, 6):
        resumed.zero_grad()
        ((weight - step) ** 2).sum().backward()
        resumed.step()
    assert torch.equal(weight.detach(), whole[-1])


def test_learning_rate_warms_up_and_falls_to_zero():
    settings = OptimizationConfig(steps=110, batch_size=1, learning_rate=0.5, warmup_steps=10)
    rates = [learning_rate(step, settings) for step in range(110)]
    assert rates[:10] == pytest.approx([0.05 * (i + 1) for i in range(10)])
    assert rates[60] == pytest.approx(0.5 * (1 + math.cos(math.pi / 2)) / 2)
    assert rates[-1] < 0.001
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_the_average_is_the_recursion_and_forgets_the_start():
    network = torch.nn.Linear(2, 2, bias=False)
    average = EMA(network, decay=0.9)
    expected, start = network.weight.detach().clone(), network.weight.detach().clone()
    for step in range(1, 200):
        with torch.no_grad():
            network.weight.add_(1.0)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * network.weight.detach()
        average.update(network, step)
    torch.testing.assert_close(average.network.weight, expected)
    # Steady state behind a ramp: decay / (1 − decay) steps.
    torch.testing.assert_close(network.weight - average.network.weight, torch.full_like(start, 9.0), rtol=0.05, atol=0)


def test_weights_are_converted_together_and_exactly():
    weights = [torch.randn(3, 4).bfloat16(), torch.randn(5).bfloat16()]
    assert all(torch.equal(a, b.float()) for a, b in zip(in_float32(weights), weights, strict=True))
    own = [torch.randn(3)]
    assert in_float32(own)[0].data_ptr() == own[0].data_ptr()
