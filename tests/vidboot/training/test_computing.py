"""Networks as they compute in training: rounded weights, and compiled graphs."""

import copy
import json
import subprocess
import sys

import pytest
import torch

from vidboot.method.edm import Preconditioned
from vidboot.networks.precision import converted, in_bf16
from vidboot.networks.unet import UNet
from vidboot.training.computing import ComputedNetwork


def network(recompute=False):
    torch.manual_seed(0)
    made = Preconditioned(UNet(channels=8, multipliers=(1, 2)), 0.5)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    made.network.recompute_activations(recompute)
    return made


def video(num_frames=3):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 3, num_frames, 8, 8, generator=generator), torch.tensor([0.3, 2.0])


def gradients(module, computed, x, sigma):
    module.zero_grad()
    computed(x, sigma).square().mean().backward()
    return [None if p.grad is None else p.grad.clone() for p in module.parameters()]


@pytest.mark.parametrize("recompute", [False, True])
def test_rounded_weights_compute_and_learn_as_a_network_of_bf16_does(recompute):
    ours = network(recompute)
    reference = in_bf16(network(recompute))
    x, sigma = video()
    found = gradients(ours, ComputedNetwork(ours, bf16=True), x, sigma)
    expected = gradients(reference, reference, x, sigma)
    assert torch.equal(ComputedNetwork(ours, bf16=True)(x, sigma), reference(x, sigma))
    for a, b in zip(found, expected, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert a.dtype == torch.float32
            assert torch.equal(a, b.float())
    assert all(p.dtype == torch.float32 for p in ours.parameters())


def test_gradients_add_up_in_float32_over_micro_batches():
    ours = network()
    computed = ComputedNetwork(ours, bf16=True)
    single = gradients(ours, computed, *video())
    ours.zero_grad()
    (512 * computed(*video()).square().mean()).backward()
    computed(*video()).square().mean().backward()
    for parameter, gradient in zip(ours.parameters(), single, strict=True):
        if gradient is not None:
            assert torch.equal(parameter.grad, 513 * gradient)  # in bf16, which has 8 bits, it would be 512


def test_its_weights_are_the_networks_own_and_its_copies_are_none_of_them():
    ours = network()
    computed = ComputedNetwork(ours, bf16=True)
    assert [id(p) for p in computed.parameters()] == [id(p) for p in ours.parameters()]
    computed(*video())
    assert [id(p) for p in computed.parameters()] == [id(p) for p in ours.parameters()]
    assert len(computed.state_dict()) == len(ours.state_dict())


def test_without_bf16_it_is_the_network():
    ours = network()
    assert torch.equal(ComputedNetwork(ours, bf16=False)(*video()), ours(*video()))


# In a process of its own: the run-time check of shapes, which tests have, can't be compiled.
COMPILED = """
import json, logging, sys, torch
from torch._dynamo.utils import counters
from vidboot.method.edm import Preconditioned
from vidboot.method.network_inputs import NetworkInputs
from vidboot.networks.unet import UNet
from vidboot.training.computing import ComputedNetwork

logging.basicConfig(level="INFO", stream=sys.stderr, format="%(message)s")
torch.manual_seed(0)
network = Preconditioned(UNet(channels=8, multipliers=(1,)), 0.5)
with torch.no_grad():
    for p in network.parameters():
        p.add_(0.1 * torch.randn_like(p))

def passes(computed, num_frames, inputs=NetworkInputs()):
    generator = torch.Generator().manual_seed(1)
    x, sigma = torch.randn(2, 3, num_frames, 8, 8, generator=generator), torch.tensor([0.3, 2.0])
    network.zero_grad()
    y = computed(x, sigma, inputs)
    y.square().mean().backward()
    return y.detach(), torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])

def apart(a, b):
    return [float((x - y).norm() / y.norm()) for x, y in zip(a, b)]

found = []
for bf16, recompute in ((False, False), (True, True)):
    torch._dynamo.reset()
    counters.clear()
    network.network.recompute_activations(recompute)
    eager, compiled = ComputedNetwork(network, bf16), ComputedNetwork(network, bf16, "aot_eager")
    compiled.compile_for(3)
    masked = NetworkInputs(observed_mask=torch.ones(2, 1, 3, 8, 8, dtype=torch.bool))
    same = apart(passes(compiled, 3, masked), passes(eager, 3, masked))
    row = {"apart": same, "other": apart(passes(compiled, 4), passes(eager, 4))}
    found.append(row | {"breaks": dict(counters["graph_break"]), "graphs": counters["stats"]["unique_graphs"]})

def broken(graph, inputs):
    raise RuntimeError("no compiler is here")

network.network.recompute_activations(False)
torch._dynamo.reset()
failing = ComputedNetwork(network, False, broken)
failing.compile_for(3)
print(json.dumps([found, [apart(passes(failing, 3), passes(ComputedNetwork(network, False), 3)) for _ in range(2)]]))
"""


def test_compiled_graphs_have_no_break_and_compute_the_same_and_their_failure_is_said_once():
    done = subprocess.run([sys.executable, "-c", COMPILED], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    (exact, rounded), failing = json.loads(done.stdout.splitlines()[-1])
    assert max(exact["apart"]) < 1e-5
    assert max(rounded["apart"]) < 0.03
    for row in (exact, rounded):
        assert row["other"] == [0, 0]  # four frames are not compiled
        assert not row["breaks"]
        assert row["graphs"] == 1
    assert failing == [[0, 0], [0, 0]]
    assert done.stderr.count("torch.compile doesn't work here") == 1
    assert "no compiler is here" in done.stderr


def test_conversion_is_exact_where_the_values_fit():
    tensors = [torch.tensor([1.5, -2.0]), torch.randn(2, 3, requires_grad=True)]
    rounded = converted(tensors, torch.bfloat16)
    assert [t.dtype for t in rounded] == [torch.bfloat16] * 2
    assert torch.equal(rounded[0].float(), tensors[0])
    assert torch.equal(rounded[1], tensors[1].detach().bfloat16())


def test_a_network_in_bf16_keeps_its_buffers_and_leaves_the_original():
    ours = network()
    before = copy.deepcopy(ours.state_dict())
    rounded = in_bf16(ours)
    assert all(p.dtype == torch.bfloat16 for p in rounded.parameters())
    assert all(b.dtype == torch.float32 for b in rounded.buffers())
    assert all(torch.equal(before[name], value) for name, value in ours.state_dict().items())
    x, sigma = video()
    apart = (rounded(x, sigma) - ours(x, sigma)).norm() / ours(x, sigma).norm()
    assert 0 < apart < 0.02
