"""Weights in another precision, and networks that compute with them."""

import copy
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

Made = TypeVar("Made", bound=nn.Module)


def converted(tensors: Sequence[Tensor], dtype: torch.dtype) -> list[Tensor]:
    """Copies in another precision, made in one call: on CUDA one kernel instead of one for each. No gradient."""
    copies = [torch.empty_like(t, dtype=dtype) for t in tensors]
    torch._foreach_copy_(copies, [t.detach() for t in tensors])
    return copies


def in_bf16(network: Made) -> Made:
    """A copy of a network with its weights rounded to bf16; buffers stay as they are."""
    rounded = copy.deepcopy(network)
    for parameter in rounded.parameters():
        parameter.data = parameter.data.to(torch.bfloat16)
    return rounded
