"""Multi-head attention: xformers' kernel on CUDA where it is installed, torch's otherwise."""

import math
from typing import TypeVar

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

try:
    from xformers.ops import memory_efficient_attention
except ImportError:
    memory_efficient_attention = None


Layer = TypeVar("Layer", bound=nn.Module)


def attention(
    q: Float[Tensor, "N heads L D"],
    k: Float[Tensor, "N heads L D"],
    v: Float[Tensor, "N heads L D"],
    bias: Float[Tensor, "heads L L"] | None = None,
) -> Float[Tensor, "N heads L D"]:
    """softmax(q kᵀ / √D + bias) v."""
    if bias is not None:
        bias = bias.to(q.dtype).expand(q.shape[0], -1, -1, -1)
    # xformers has no CPU kernel, and needs a bias padded to multiples of 8: torch's own serves the odd lengths.
    if memory_efficient_attention is not None and q.is_cuda and (bias is None or q.shape[2] % 8 == 0):
        q, k, v = (rearrange(t, "n h l d -> n l h d") for t in (q, k, v))
        out = memory_efficient_attention(q, k, v, attn_bias=None if bias is None else bias.contiguous())
        return rearrange(out, "n l h d -> n h l d")
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)


def num_heads(channels: int, head_channels: int) -> int:
    """How many heads of about `head_channels` channels (or more) divide `channels` evenly."""
    return next(heads for heads in range(max(1, channels // head_channels), 0, -1) if channels % heads == 0)


class SpatialAttention(nn.Module):
    """Self-attention among the pixels of each frame; starts as the identity."""

    def __init__(self, channels: int, head_channels: int = 16) -> None:
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
    """

    def __init__(self, channels: int, head_channels: int = 16, reach: float = 16.0) -> None:
        super().__init__()
        self.heads = num_heads(channels, head_channels)
        self.norm = group_norm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = zero_init(nn.Linear(channels, channels))
        rates = torch.logspace(0, -math.log10(reach), self.heads)
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
