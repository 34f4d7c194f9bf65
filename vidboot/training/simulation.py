"""What a GPU's memory would hold while something runs, found on `meta` tensors: nothing is computed."""

import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

ALLOCATION = 512
"""CUDA's allocator rounds up to as many bytes."""


CONVOLUTIONS = (torch.ops.aten.convolution.default, torch.ops.aten.convolution_backward.default)


def bytes_of(tensor: Tensor) -> int:
    """Bytes of a tensor's values."""
    return tensor.numel() * tensor.element_size()


@contextmanager
def fused_attention() -> Iterator[None]:
    """Attention by the fused operators that torch chooses on a GPU; on `meta` it would write out the whole matrix.

    It replaces torch's function, because a mode would not be on where a backward pass computes activations again.
    """
    original = F.scaled_dot_product_attention
    F.scaled_dot_product_attention = _fused  # type: ignore[assignment]
    try:
        yield
    finally:
        F.scaled_dot_product_attention = original


def _fused(q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None) -> Tensor:
    """Flash attention in bf16 without a bias, else memory-efficient attention, which gets the bias for each item."""
    operators = torch.ops.aten
    if attn_mask is None and q.dtype == torch.bfloat16:
        return operators._scaled_dot_product_flash_attention(q, k, v, 0.0, False, False)[0]
    bias = None if attn_mask is None else attn_mask.expand(*q.shape[:2], *attn_mask.shape[2:])
    return operators._scaled_dot_product_efficient_attention(q, k, v, bias, torch.is_grad_enabled())[0]


class Simulation(TorchDispatchMode):
    """Counts the bytes of all tensors that are made while it is on and live at the same time, and the kernels."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self.kernels: Counter[str] = Counter()
        self._alive: dict[int, Any] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if not func.is_view:
            self.kernels[func._schema.name.removeprefix("aten::")] += 1
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                self._note(tensor)
        if func in CONVOLUTIONS:
            # cuDNN copies what it reads and what it makes into another memory order.
            copied = [t for t in tree_leaves((args, out)) if isinstance(t, Tensor) and t.dim() == 4 and len(t) > 1]
            self.peak = max(self.peak, self.live + sum(bytes_of(t) for t in copied))
        return out

    def _note(self, tensor: Tensor) -> None:
        """Count a tensor's storage until it is freed."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._alive:
            return
        size = -(-storage.nbytes() // ALLOCATION) * ALLOCATION
        self.live += size
        self.peak = max(self.peak, self.live)

        def freed(_: Any) -> None:
            """Forget it."""
            self.live -= size
            del self._alive[key]

        self._alive[key] = weakref.ref(storage, freed)


def simulate(run: Callable[[], object]) -> Simulation:
    """Run something on `meta` tensors; only the tensors that it makes count."""
    with fused_attention(), Simulation() as simulation:
        run()
    return simulation
