"""Training without ZeRO, in two processes."""

import socket

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from vidboot.config import DeepSpeedConfig, OptimizationConfig
from vidboot.method.edm import Preconditioned
from vidboot.networks.unet import UNet
from vidboot.training import replica
from vidboot.training.engine import make_engine


def make(seed=0):
    """An engine whose network has random weights everywhere, of a seed."""
    torch.manual_seed(seed)
    network = Preconditioned(UNet(channels=4, multipliers=(1,), attention_levels=0), 0.5)
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return make_engine(network, OptimizationConfig(steps=10, batch_size=2), DeepSpeedConfig())


def videos():
    return torch.randn(2, 3, 2, 4, 4, generator=torch.Generator().manual_seed(1))


def step_in_two(number, port, folder):
    """A process's part of a step: its own item, from weights of its own until the first process's are there."""
    dist.init_process_group("gloo", init_method=f"tcp://localhost:{port}", rank=number, world_size=2)
    replica._TOGETHER = 50  # several portions
    engine = make(seed=number)
    own = [weight.grad for weight in engine.module.parameters()]
    assert own == [None] * len(own)
    engine.backward(engine(videos()[number : number + 1], torch.ones(1)).square().mean())
    gradients = [weight.grad.clone() for weight in engine.module.parameters()]
    engine.step()
    torch.save((gradients, list(engine.module.parameters())), folder / f"{number}.pt")


def test_two_processes_take_the_step_of_one(tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    mp.spawn(step_in_two, (port, tmp_path), nprocs=2)
    (first, weights), (second, same) = (torch.load(tmp_path / f"{n}.pt", weights_only=False) for n in (0, 1))
    engine = make()
    engine.backward(engine(videos(), torch.ones(2)).square().mean())
    for mean, other, weight in zip(first, second, engine.module.parameters(), strict=True):
        assert torch.equal(mean, other)
        torch.testing.assert_close(mean, weight.grad, rtol=1e-4, atol=1e-6)
    assert all(torch.equal(a, b) for a, b in zip(weights, same, strict=True))


def test_a_state_that_is_read_again_goes_on_alike(tmp_path):
    one = make()
    for _ in range(2):
        one.backward(one(videos(), torch.ones(2)).square().mean())
        one.step()
    one.save_checkpoint(str(tmp_path), tag="here", client_state={"step": 2}, save_latest=False)
    other = make(seed=3)
    folder, said = other.load_checkpoint(str(tmp_path), tag="here")
    assert (folder.name, said) == ("here", {"step": 2})
    for engine in (one, other):
        engine.backward(engine(videos(), torch.ones(2)).square().mean())
        engine.step()
    for a, b in zip(one.module.parameters(), other.module.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_step_ends_where_it_is_said_to():
    engine = make()
    before = [weight.clone() for weight in engine.module.parameters()]
    engine.set_gradient_accumulation_boundary(False)
    engine.backward(engine(videos(), torch.ones(2)).square().mean())
    engine.step()
    assert all(torch.equal(a, b) for a, b in zip(before, engine.module.parameters(), strict=True))
    engine.set_gradient_accumulation_boundary(True)
    engine.backward(engine(videos(), torch.ones(2)).square().mean())
    engine.step()
    assert not all(torch.equal(a, b) for a, b in zip(before, engine.module.parameters(), strict=True))
