"""How a network computes while it trains: with weights rounded to bf16, and as compiled graphs."""

import copy
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from vidboot.method.edm import NoiseLevels, Preconditioned
from vidboot.method.network_inputs import NO_INPUTS, NetworkInputs
from vidboot.networks.compiled import Backend, Graph
from vidboot.networks.precision import converted


class _RoundToBf16(torch.autograd.Function):
    """All weights in bf16; the gradients that come back are in float32, in which they add up over micro-batches."""

    @staticmethod
    def forward(ctx: Any, *weights: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        return tuple(converted(weights, torch.bfloat16))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        found = iter(converted([g for g in gradients if g is not None], torch.float32))
        return tuple(None if g is None else next(found) for g in gradients)


class ComputedNetwork(nn.Module):
    """A network in training: its weights stay in float32, whatever it computes with.

    With `bf16` it computes with weights that are rounded anew in each forward pass. On an H100 that was faster than
    autocast, which rounds one weight after another and normalises in float32 (a step of `one_gpu`: 156 ms and 16 GB,
    not 191 ms and 24 GB), and than DeepSpeed's bf16, whose step goes through the weights one by one (42 ms, not 15 ms).
    Frame counts that `compile_for` was called with are computed by a graph each, made by `backend` of torch.compile; if
    that fails, it is said once, and all goes on without.
    """

    def __init__(self, network: Preconditioned, bf16: bool, backend: Backend = "inductor") -> None:
        super().__init__()
        self.network, self.bf16 = network, bf16
        self.compiled: set[int] = set()
        # For each shape a graph: one for any size was a third slower (118 ms, not 90), and not made faster.
        self.graph = Graph(self._run, self._eager, "training", backend, dynamic=False)
        self._names = [name for name, _ in network.named_parameters()]
        # In a list, so that its parts are not this module's. It holds the rounded weights as plain attributes, until
        # the next forward pass: activations that are computed again in the backward pass need them too.
        self._rounded = [copy.deepcopy(network)] if bf16 else []
        self._places = [_take_out(self._rounded[0], name) for name in self._names] if bf16 else []

    def forward(
        self, x: Float[Tensor, "B C T H W"], sigma: NoiseLevels, inputs: NetworkInputs = NO_INPUTS
    ) -> Float[Tensor, "B C T H W"]:
        """Denoise, as `Preconditioned`."""
        weights = tuple(self.network.parameters())
        if self.bf16:
            weights = _RoundToBf16.apply(*weights)
        return (self.graph if x.shape[2] in self.compiled else self._eager)(weights, x, sigma, inputs)

    def compile_for(self, num_frames: int) -> None:
        """From now on compute videos of this many frames by a compiled graph."""
        self.compiled.add(num_frames)

    def _run(self, weights: tuple[Tensor, ...], x: Tensor, sigma: Tensor, inputs: NetworkInputs) -> Tensor:
        named = dict(zip(self._names, weights, strict=True))
        return functional_call(self.network, named, (x, sigma), {"inputs": inputs})

    def _eager(self, weights: tuple[Tensor, ...], x: Tensor, sigma: Tensor, inputs: NetworkInputs) -> Tensor:
        if not self.bf16:
            return self.network(x, sigma, inputs=inputs)
        for (module, name), weight in zip(self._places, weights, strict=True):
            setattr(module, name, weight)
        return self._rounded[0](x, sigma, inputs=inputs)


def _take_out(network: nn.Module, name: str) -> tuple[nn.Module, str]:
    """Remove a parameter from a network; returns the module that had it, and its name there."""
    owner, _, leaf = name.rpartition(".")
    module = network.get_submodule(owner)
    delattr(module, leaf)
    return module, leaf
