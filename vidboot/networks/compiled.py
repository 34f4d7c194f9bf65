"""Networks as graphs of torch.compile; where none can be made, one sentence says so, and all goes on without."""

import logging
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.fx.experimental import _config as fx_config
from torch.utils._triton import has_triton

from vidboot.distributed import device
from vidboot.method.network_inputs import NO_INPUTS, NetworkInputs

logger = logging.getLogger(__name__)
MOST_GRAPHS = 64
"""Graphs of one piece of code, which all networks share. Beyond torch's own limit, 8, it would go on without one."""
Backend = str | Callable[..., Any]
"""A compiler of torch.compile: its name, or a function of a graph and its inputs."""


def has_compiler(work: str) -> bool:
    """Whether torch.compile can make kernels for this process's device; if not, `work` is said to go on without."""
    if device().type != "cuda":
        logger.warning("torch.compile is for GPUs: %s goes on without it", work)
        return False
    if not has_triton():
        logger.warning("torch.compile has no compiler here (triton): %s goes on without it", work)
        return False
    return True


class Graph:
    """A function as a graph that torch.compile makes at its first call.

    If that fails, one sentence says that `work` goes on without it, and `eager` takes the calls. `dynamic` is torch's:
    False makes a graph for each shape, None one for all sizes that are marked as dynamic.
    """

    def __init__(
        self,
        run: Callable[..., Tensor],
        eager: Callable[..., Tensor],
        work: str,
        backend: Backend = "inductor",
        dynamic: bool | None = None,
    ) -> None:
        self.run, self.eager, self.work, self.backend, self.dynamic = run, eager, work, backend, dynamic
        self.works = True
        self._made: Any = None

    def __call__(self, *arguments: Any) -> Tensor:
        """What `run` returns."""
        if self.works:
            try:
                return self._graph()(*arguments)
            except (torch._dynamo.exc.TorchDynamoException, ImportError) as error:
                self.works = False
                why = " ".join(str(error).split())[:200]
                logger.warning("torch.compile doesn't work here (%s): %s goes on without it", why, self.work)
        return self.eager(*arguments)

    def _graph(self) -> Any:
        if self._made is None:
            # Imported here: the compiler takes a second to load.
            from torch._dynamo import config as dynamo
            from torch._functorch import config as functorch

            dynamo.recompile_limit = max(dynamo.recompile_limit, MOST_GRAPHS)
            # The backward graph is compiled with the forward one, so that a failure comes while it can be mended.
            functorch.force_non_lazy_backward_lowering = True
            self._made = torch.compile(self.run, backend=self.backend, dynamic=self.dynamic)
        return self._made


class CompiledNetwork(nn.Module):
    """A frozen network as one graph for any batch size and any number of frames.

    A graph of fixed sizes is faster (a training step took 90 ms, not 118), but each takes minutes to compile, and a
    base asks its networks for several lengths, in batches of several sizes. (A batch of one, and videos of one frame,
    get graphs of their own.) Where a gradient goes through the network, as in moment matching, it runs without.
    """

    def __init__(self, network: nn.Module, backend: Backend = "inductor") -> None:
        super().__init__()
        self.network = network
        self.graph = Graph(network, network, "sampling", backend)

    def forward(
        self, x: Float[Tensor, "B C T H W"], sigma: Float[Tensor, "B"], inputs: NetworkInputs = NO_INPUTS
    ) -> Float[Tensor, "B C T H W"]:
        """Denoise, as the network."""
        if torch.is_grad_enabled() and x.requires_grad:
            denoised: Tensor = self.network(x, sigma, inputs)
            return denoised
        for tensor in (x, sigma, *(getattr(inputs, field.name) for field in fields(inputs))):
            if tensor is not None:
                torch._dynamo.maybe_mark_dynamic(tensor, (0, 2) if tensor.dim() == 5 else 0)
        # Otherwise a graph whose first batch has as many videos as frames would be for such batches only.
        with fx_config.patch(use_duck_shape=False):  # type: ignore[attr-defined]
            return self.graph(x, sigma, inputs)
