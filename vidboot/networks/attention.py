"""Multi-head attention, on torch's own kernels.

xformers is not used: measured on an H100 (torch 2.11), forward and backward, its kernel was slower than torch's in all
shapes of the configurations but one forward pass (the base's windows), where both took the same with the backward pass.
Its wheels are also built for one torch and CUDA only: with others the import succeeds and every call fails.
"""

import math
from typing import TypeVar

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

MAX_CUDA_BATCH = 65_535
"""Largest batch of a CUDA kernel, which counts its items in a grid's second or third dimension. Above it the backward
pass fails (measured on an H100, with and without a bias)."""


Layer = TypeVar("Layer", bound=nn.Module)


def attention(
    q: Float[Tensor, "N heads L D"],
    k: Float[Tensor, "N heads L D"],
    v: Float[Tensor, "N heads L D"],
    bias: Float[Tensor, "heads L L"] | None = None,
) -> Float[Tensor, "N heads L D"]:
    """softmax(q kᵀ / √D + bias) v. On CUDA batches above `MAX_CUDA_BATCH` are split."""
    if q.device.type != "cpu" and q.shape[0] > MAX_CUDA_BATCH:
        return attention_in_parts(q, k, v, bias, math.ceil(q.shape[0] / MAX_CUDA_BATCH))
    # Not expanded over the batch: where a kernel wants the bias padded, it is padded once and not for each item.
    return F.scaled_dot_product_attention(q, k, v, attn_mask=None if bias is None else bias.to(q.dtype)[None])


def attention_in_parts(
    q: Float[Tensor, "N heads L D"],
    k: Float[Tensor, "N heads L D"],
    v: Float[Tensor, "N heads L D"],
    bias: Float[Tensor, "heads L L"] | None,
    count: int,
) -> Float[Tensor, "N heads L D"]:
    """`attention`, with the batch split into `count` parts."""
    parts = zip(q.chunk(count), k.chunk(count), v.chunk(count), strict=True)
    return torch.cat([attention(*part, bias) for part in parts])


def num_heads(channels: int, head_channels: int) -> int:
    """How many heads of about `head_channels` channels (or more) divide `channels` evenly."""
    return next(heads for heads in range(max(1, channels // head_channels), 0, -1) if channels % heads == 0)


class SpatialAttention(nn.Module):
    """Self-attention among the pixels of each frame; starts as the identity."""

    def __init__(self, channels: int, head_channels: int) -> None:
        super().__init__()
        self.heads = num_heads(channels, head_channels)
        self.norm = group_norm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = zero_init(nn.Linear(channels, channels))

    def forward(self, x: Float[Tensor, "N C H W"], num_frames: int) -> Float[Tensor, "N C H W"]:
        """Attend within each of the N = B·T frames."""
        tokens = rearrange(self.norm(x), "n c h w -> n (h w) c")
        q, k, v = rearrange(self.qkv(tokens), "n l (three h d) -> three n h l d", three=3, h=self.heads)
        out = self.out(rearrange(attention(q, k, v), "n h l d -> n l (h d)"))
        return x + rearrange(out, "n (h w) c -> n c h w", h=x.shape[-2])


class TemporalAttention(nn.Module):
    """Self-attention along time at each pixel, with relative positions; starts as the identity.

    The bias of head h falls linearly with the distance in time, at a learnt rate each way (after ALiBi, Press et al.
    2021, arXiv 2108.12409), so that a network trained on clips can be run at any length. `reach` is the distance in
    frames at which the bias of the flattest head has fallen by one: larger for networks with a longer temporal reach.
    A single head has the rate in the middle of those that several would have.
    """

    def __init__(self, channels: int, head_channels: int, reach: float = 16.0) -> None:
        super().__init__()
        self.heads = num_heads(channels, head_channels)
        self.norm = group_norm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = zero_init(nn.Linear(channels, channels))
        rates = torch.logspace(0, -math.log10(reach), self.heads) if self.heads > 1 else torch.tensor([reach**-0.5])
        self.log_rates = nn.Parameter(rates.log().repeat(2, 1))  # backward and forward in time

    def forward(self, x: Float[Tensor, "N C H W"], num_frames: int) -> Float[Tensor, "N C H W"]:
        """Attend among the `num_frames` frames of each video; N = B·T."""
        tokens = rearrange(self.norm(x), "(b t) c h w -> (b h w) t c", t=num_frames)
        q, k, v = rearrange(self.qkv(tokens), "n l (three h d) -> three n h l d", three=3, h=self.heads)
        out = self.out(rearrange(attention(q, k, v, self.bias(num_frames)), "n h l d -> n l (h d)"))
        return x + rearrange(out, "(b h w) t c -> (b t) c h w", h=x.shape[-2], w=x.shape[-1])

    def bias(self, num_frames: int) -> Float[Tensor, "heads T T"]:
        """−rate · |Δt|, by head and direction."""
        t = torch.arange(num_frames, device=self.log_rates.device)
        distance = (t[None, :] - t[:, None]).to(self.log_rates.dtype)
        backward, forward = self.log_rates.exp()[:, :, None, None]
        return -(backward * (-distance).clamp(min=0) + forward * distance.clamp(min=0))


def group_norm(channels: int) -> nn.GroupNorm:
    """Group norm with groups of 8 channels, or one group if 8 doesn't divide their number.

    Its input is frames, so statistics are per frame and the result does not depend on their number.
    """
    return nn.GroupNorm(channels // 8 if channels % 8 == 0 else 1, channels)


def zero_init(module: Layer) -> Layer:
    """The same layer with all weights zero, so that the block around it starts as the identity."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module
