"""Muon's steps, against the singular value decomposition."""

import pytest
import torch
from torch import nn

from vidboot.config import OptimizationConfig
from vidboot.networks.unet import UNet
from vidboot.training.engine import parameter_groups
from vidboot.training.muon import MOMENTUM, matrices_of, orthogonal
from vidboot.training.optimizer import L2SPAdamW

MUON = OptimizationConfig(steps=1, batch_size=1, optimizer="muon")


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("rows", "columns"), [(16, 144), (64, 64), (128, 32)])
def test_the_nearest_orthogonal_matrix_is_nearly_found(rows: int, columns: int) -> None:
    matrices = random(3, rows, columns)
    u, _, vt = torch.linalg.svd(matrices, full_matrices=False)
    found = u.mT @ orthogonal(matrices) @ vt.mT  # diagonal: the same singular vectors, other singular values
    values = found.diagonal(dim1=1, dim2=2)
    assert (found - torch.diag_embed(values)).abs().max() < 0.01
    # Those of a square random matrix come close to zero, from where five steps don't reach 1.
    assert values.max() < 1.3 and values.quantile(0.1) > 0.6


def test_a_step_goes_as_far_in_all_directions_as_adamw_does() -> None:
    weight = nn.Parameter(torch.zeros(24, 16, 3, 3))
    optimizer = L2SPAdamW([{"params": [weight], "muon": True}], lr=0.1)
    gradient = random(24, 144) * torch.logspace(0, -2, 24)[:, None]  # some outputs' gradients are 100 times smaller
    weight.grad = gradient.view_as(weight)
    optimizer.step()
    values = torch.linalg.svdvals(weight.detach().flatten(1))
    assert values.max() / values.min() < 2
    # 0.2 is what the root mean square of AdamW's steps is over its learning rate (arXiv 2502.16982, section 2.2).
    assert (weight / 0.1).square().mean().sqrt().item() == pytest.approx(0.2, rel=0.2)


def test_gradients_are_averaged_and_seen_ahead() -> None:
    weight = nn.Parameter(torch.zeros(16, 16))
    optimizer = L2SPAdamW([{"params": [weight], "muon": True}], lr=0.1, weight_decay=0.5)
    average, expected = torch.zeros(16, 16), torch.zeros(16, 16)
    for step in range(3):
        weight.grad = random(16, 16, seed=step)
        average = MOMENTUM * average + (1 - MOMENTUM) * weight.grad
        u, _, vt = torch.linalg.svd(MOMENTUM * average + (1 - MOMENTUM) * weight.grad)
        before = weight.detach().clone()
        optimizer.step()
        expected = u @ vt * 0.1 * 0.2 * 4
        moved = before * (1 - 0.1 * 0.5) - weight.detach()
        assert torch.nn.functional.cosine_similarity(moved.flatten(), expected.flatten(), dim=0) > 0.97


def test_matrices_are_a_group_and_all_else_takes_the_steps_of_adamw() -> None:
    torch.manual_seed(0)
    network = UNet(channels=16, multipliers=[1, 2], head_channels=16)
    adamw, muon = parameter_groups(network, MUON)
    names = {id(p): name for name, p in network.named_parameters()}
    matrices = {names[id(p)] for p in muon["params"]}
    assert {name for name in names.values() if name.endswith(".space.weight")} <= matrices
    assert not any(name.endswith(("bias", "log_rates")) or "norm" in name for name in matrices)
    assert "conv_out.weight" not in matrices  # three rows
    assert len(adamw["params"]) + len(muon["params"]) == len(names)
    (alone,) = parameter_groups(network, MUON.model_copy(update={"optimizer": "adamw"}))
    assert len(alone["params"]) == len(names)

    others = [nn.Parameter(p.detach().clone()) for p in adamw["params"]]
    reference = torch.optim.AdamW(others, lr=0.01, betas=(0.9, 0.99), weight_decay=0.0, fused=True)
    ours = L2SPAdamW([adamw, muon], lr=0.01)
    for step in range(2):
        for number, (mine, theirs) in enumerate(zip(adamw["params"], others, strict=True)):
            mine.grad = theirs.grad = random(*mine.shape, seed=step * 100 + number)
        ours.step()
        reference.step()
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(adamw["params"], others, strict=True))
    assert matrices_of(nn.Sequential(nn.Embedding(32, 32), nn.GroupNorm(4, 32))) == []


def test_it_goes_on_from_its_state_and_is_pulled_to_its_start() -> None:
    def train(weight: nn.Parameter, optimizer: L2SPAdamW, steps: range) -> None:
        for step in steps:
            weight.grad = random(16, 32, seed=step)
            optimizer.step()

    def of(weight: nn.Parameter, pull: float = 1.0) -> L2SPAdamW:
        return L2SPAdamW([{"params": [weight], "muon": True}], lr=0.05, pull=pull)

    start = random(16, 32, seed=99)
    whole, half, free = (nn.Parameter(start.clone()) for _ in range(3))
    train(whole, of(whole), range(6))
    stopped = of(half)
    train(half, stopped, range(3))
    resumed = of(half)
    resumed.load_state_dict(stopped.state_dict())
    train(half, resumed, range(3, 6))
    assert torch.equal(whole, half)
    train(free, of(free, pull=0.0), range(6))
    assert (whole - start).norm() < (free - start).norm()
