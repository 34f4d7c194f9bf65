"""The view network: a spatiotemporal U-Net for any number of frames from 1 up.

Convolutions are factorised into space (3×3 on each frame) and time (3 along each pixel). Inside, a video is a stack of
frames, `N C H W` with N = B·T: space is then a plain 2-D convolution, and only time needs a rearrangement.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vidboot.method.network_inputs import NO_INPUTS, NetworkInputs
from vidboot.networks.attention import SpatialAttention, TemporalAttention, group_norm, zero_init
from vidboot.networks.config import NetworkConfig


class NumberEmbedding(nn.Module):
    """Fourier features of a number (c_noise = ln(σ)/4, or the log of a frame stride), through a small network."""

    frequencies: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("frequencies", 2.0 ** torch.linspace(-1, 2, channels // 2), persistent=False)
        self.first, self.second = nn.Linear(channels, channels), nn.Linear(channels, channels)

    def forward(self, value: Float[Tensor, "B"]) -> Float[Tensor, "B E"]:
        """Embed a number for each item."""
        phase = value.to(torch.float32)[:, None] * self.frequencies
        features = torch.cat([phase.cos(), phase.sin()], dim=1)
        return self.second(F.silu(self.first(features.to(self.first.weight.dtype))))


def channels_last(x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
    """The same values in the memory order that a CPU's convolutions are faster in (`tests/bench/bench_layout.py`).

    CUDA's group norm goes back to the plain order, so there the copies cost more than they save: on an H100 a step of
    `one_gpu` took 276 ms with them and 259 ms without.
    """
    return x.contiguous(memory_format=torch.channels_last) if x.device.type == "cpu" else x


def upsample(x: Float[Tensor, "N C H W"], most: int = 2**31) -> Float[Tensor, "N C 2*H 2*W"]:
    """Every pixel four times, as 2×2. CUDA's backward pass of `interpolate` refuses results of `most` elements."""
    if 4 * x.numel() < most:
        return F.interpolate(x, scale_factor=2.0, mode="nearest")
    n, c, h, w = x.shape
    pixels = x.permute(0, 2, 3, 1)[:, :, None, :, None]
    return pixels.expand(n, h, 2, w, 2, c).reshape(n, 2 * h, 2 * w, c).permute(0, 3, 1, 2)


class TemporalConv(nn.Module):
    """A convolution along each pixel of 3 frames, `dilation` apart, padded with zeros.

    It is a 2-D convolution, which is twice as fast as a 3-D one on a CPU, and on a GPU with a dilation of 16.
    """

    def __init__(self, channels: int, dilation: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, (3, 1), padding=(dilation, 0), dilation=(dilation, 1))

    def forward(self, x: Float[Tensor, "N C H W"], num_frames: int) -> Float[Tensor, "N C H W"]:
        """Mix each frame with those `dilation` before and after; N = B·T."""
        y = self.conv(rearrange(x, "(b t) c h w -> b c t (h w)", t=num_frames))
        return channels_last(rearrange(y, "b c t (h w) -> (b t) c h w", h=x.shape[-2]))


class Block(nn.Module):
    """Residual block: space, then time, scaled and shifted by the noise level between them."""

    def __init__(self, in_channels: int, out_channels: int, embedding: int) -> None:
        super().__init__()
        self.norm_space, self.norm_time = group_norm(in_channels), group_norm(out_channels)
        self.space = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.modulate = zero_init(nn.Linear(embedding, 2 * out_channels))
        self.time = TemporalConv(out_channels)
        self.skip = nn.Identity() if in_channels == out_channels else nn.Conv2d(in_channels, out_channels, 1)

    def forward(
        self, x: Float[Tensor, "N C H W"], emb_NE: Float[Tensor, "N E"], num_frames: int
    ) -> Float[Tensor, "N D H W"]:
        """Apply to the N = B·T frames; `emb_NE` is the embedding of each frame's noise level."""
        y = self.space(F.silu(self.norm_space(x)))
        y = F.silu(modulated(self.norm_time(y), self.modulate(emb_NE)))
        return self.skip(x) + self.time(y, num_frames)


def modulated(x: Float[Tensor, "N C H W"], scale_and_shift: Float[Tensor, "N 2*C"]) -> Float[Tensor, "N C H W"]:
    """x (1 + scale) + shift, by channel."""
    scale, shift = scale_and_shift[:, :, None, None].chunk(2, dim=1)
    return x * (1 + scale) + shift


class Level(nn.Module):
    """Blocks at one resolution, each followed by spatial and temporal attention if `attention` is set."""

    def __init__(
        self, in_channels: Sequence[int], channels: int, embedding: int, attention: bool, head_channels: int
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Block(c, channels, embedding) for c in in_channels])
        kinds = (SpatialAttention, TemporalAttention) if attention else ()
        self.mixers = nn.ModuleList([nn.ModuleList([m(channels, head_channels) for m in kinds]) for _ in in_channels])
        self.recompute = False
        """Activation checkpointing: keep only the blocks' inputs for the backward pass, and compute the rest again."""

    def forward(self, x: Tensor, emb_NE: Tensor, num_frames: int, skips: Sequence[Tensor] = ()) -> list[Tensor]:
        """Apply the blocks in turn, each with one of `skips` as a second input if given. Returns all their outputs."""
        outputs = []
        for index, (block, mixers) in enumerate(zip(self.blocks, self.mixers, strict=True)):
            if skips:
                x = torch.cat([x, skips[index]], dim=1)
            if self.recompute and torch.is_grad_enabled():
                x = checkpoint(self._block_then_mix, block, mixers, x, emb_NE, num_frames, use_reentrant=False)
            else:
                x = self._block_then_mix(block, mixers, x, emb_NE, num_frames)
            outputs.append(x)
        return outputs

    @staticmethod
    def _block_then_mix(block: nn.Module, mixers: nn.Module, x: Tensor, emb_NE: Tensor, num_frames: int) -> Tensor:
        x = block(x, emb_NE, num_frames)
        for mixer in mixers.children():
            x = mixer(x, num_frames)
        return x


@dataclass(frozen=True)
class Conditions:
    """What a network is told besides the video and its noise level. None of it has an effect before training."""

    num_classes: int = 0
    """Number of class labels; the number itself, or no label, means no class."""
    frame_strides: bool = False
    """Whether the network takes the number of frames of the full rate from one of its own to the next."""


class UNet(nn.Module):
    """F(x, c_noise) of the EDM denoiser: same shape in and out, any number of frames.

    `multipliers` and `size` are fields of `NetworkConfig`. Raises `ValidationError` for others.
    """

    def __init__(
        self,
        data_channels: int = 3,
        multipliers: Sequence[int] = (1, 2, 4),
        conditions: Conditions = Conditions(),
        **size: Any,
    ) -> None:
        super().__init__()
        self.size = of = NetworkConfig(multipliers=list(multipliers), **size)
        self.patch, self.down_factor = of.patch, of.down_factor
        widths = [of.channels * m for m in of.multipliers]
        embedding = 4 * of.channels
        attention = [level >= len(widths) - of.attention_levels for level in range(len(widths))]
        self.embed = NumberEmbedding(embedding)
        self.num_classes = conditions.num_classes
        self.embed_label = zero_init(nn.Embedding(self.num_classes + 1, embedding)) if self.num_classes else None
        self.embed_stride = NumberEmbedding(embedding) if conditions.frame_strides else None
        if self.embed_stride is not None:
            zero_init(self.embed_stride.second)
        self.conv_in = nn.Conv2d((data_channels + 2) * of.patch**2, widths[0], 3, padding=1)  # + 2: mask and context
        before = [widths[0], *widths[:-1]]  # channels that enter each level of the encoder
        self.encoder = nn.ModuleList(
            Level([c_in] + [c] * (of.blocks - 1), c, embedding, a, of.head_channels)
            for c_in, c, a in zip(before, widths, attention, strict=True)
        )
        below = [*widths[1:], widths[-1]]  # channels that enter each level of the decoder from below
        self.decoder = nn.ModuleList(
            Level([c_up + c] + [2 * c] * (of.blocks - 1), c, embedding, a, of.head_channels)
            for c_up, c, a in zip(below, widths, attention, strict=True)
        )
        # For σ below σ_data the target is the amplified noise. So the last norm is modulated too, and the last
        # convolution does not start at zero: from zero, low noise levels are not learnt for hundreds of steps.
        self.norm_out, self.modulate_out = group_norm(widths[0]), zero_init(nn.Linear(embedding, 2 * widths[0]))
        self.conv_out = nn.Conv2d(widths[0], data_channels * of.patch**2, 3, padding=1)

    def forward(
        self,
        x: Float[Tensor, "B C T H W"],
        c_noise: Float[Tensor, "B"] | Float[Tensor, "B T"],
        inputs: NetworkInputs = NO_INPUTS,
    ) -> Float[Tensor, "B C T H W"]:
        """F(x; c_noise). Raises `ValueError`, with the nearest valid sizes, for a height or width that doesn't fit."""
        self.check_size(*x.shape[-2:])
        num_frames = x.shape[2]
        emb_NE = F.silu(self.condition(c_noise, inputs.label, inputs.stride, num_frames))
        h = self.read_inputs(x, inputs)
        skips: list[list[Tensor]] = []
        for index, level in enumerate(self.encoder):
            h = h if index == 0 else F.avg_pool2d(h, 2)
            skips.append(level(h, emb_NE, num_frames))
            h = skips[-1][-1]
        h = self.bottleneck(h, num_frames)
        for index, level in reversed(list(enumerate(self.decoder))):
            # A level can't pop from a list of skips: under ZeRO-3 modules get copies of their arguments.
            h = level(h, emb_NE, num_frames, skips[index][::-1])[-1]
            h = h if index == 0 else upsample(h)
        out = self.conv_out(F.silu(modulated(self.norm_out(h), self.modulate_out(emb_NE))))
        return rearrange(F.pixel_shuffle(out, self.patch), "(b t) c h w -> b c t h w", t=num_frames)

    def condition(
        self, c_noise: Tensor, label: Tensor | None, stride: Tensor | None, num_frames: int
    ) -> Float[Tensor, "N E"]:
        """Embed noise level, class and frame stride, for each frame.

        Raises `ValueError` for a label or stride that the network was not built for.
        """
        if label is not None and self.embed_label is None:
            raise ValueError("this network was built without classes, so it takes no label")
        if stride is not None and self.embed_stride is None:
            raise ValueError("this network was built for one frame stride, so it takes none")
        items = c_noise.shape[:1]
        emb_NE = self.embed(c_noise.flatten()).repeat_interleave(items[0] * num_frames // c_noise.numel(), dim=0)
        if self.embed_label is not None:
            label = c_noise.new_full(items, self.num_classes, dtype=torch.long) if label is None else label
            emb_NE = emb_NE + self.embed_label(label).repeat_interleave(num_frames, dim=0)
        if self.embed_stride is not None:
            octaves = c_noise.new_zeros(items) if stride is None else stride.log2()
            emb_NE = emb_NE + self.embed_stride(octaves).repeat_interleave(num_frames, dim=0)
        return emb_NE

    def recompute_activations(self, on: bool = True) -> None:
        """Turn activation checkpointing on or off: less memory in training, more time."""
        for level in (*self.encoder, *self.decoder):
            level.recompute = on

    def read_inputs(self, x: Float[Tensor, "B C T H W"], inputs: NetworkInputs) -> Float[Tensor, "N D h w"]:
        """First features: of the noisy video, the observed share of each pixel, and the context.

        View networks don't use the base.
        """
        shape = x.shape[0], 1, *x.shape[2:]
        observed = x.new_ones(()) if inputs.observed_mask is None else inputs.observed_mask.to(x.dtype)
        context = x.new_zeros(()) if inputs.context_mask is None else inputs.context_mask.to(x.dtype)
        channels = torch.cat([x, observed.expand(shape), context.expand(shape)], dim=1).to(self.conv_in.weight.dtype)
        return self.conv_in(self.patches(channels))

    def patches(self, x: Float[Tensor, "B C T H W"]) -> Float[Tensor, "N D h w"]:
        """The video as frames, with the pixels of each patch as channels of one place."""
        return channels_last(F.pixel_unshuffle(rearrange(x, "b c t h w -> (b t) c h w"), self.patch))

    def bottleneck(self, h: Float[Tensor, "N D h w"], num_frames: int) -> Float[Tensor, "N D h w"]:
        """Between encoder and decoder: the identity here; the residual network has its long-range layers there."""
        return h

    def check_size(self, height: int, width: int) -> None:
        """Raise `ValueError` unless `height` and `width` are multiples of the down-sampling factor."""
        for name, size in (("height", height), ("width", width)):
            if size % self.down_factor:
                lower = size // self.down_factor * self.down_factor
                nearest = " or ".join(str(s) for s in (lower, lower + self.down_factor) if s > 0)
                raise ValueError(
                    f"{name} {size} doesn't fit a network of {len(self.encoder)} levels and patches of {self.patch}, "
                    f"which needs a multiple of {self.down_factor}: use {nearest}, or fewer levels"
                )
