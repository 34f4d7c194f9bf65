"""The residual network D_θ: the clip network over all frames, with a longer temporal reach and the base as an input.

It is warm-started from the clip network. All that it adds starts at zero, so before training it equals the clip network
run at full length. Its place in the method:
`vidboot.method.composition.ResidualDenoiser`.
"""

import math
from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vidboot.method.network_inputs import NetworkInputs
from vidboot.networks.attention import TemporalAttention, group_norm, zero_init
from vidboot.networks.unet import TemporalConv, UNet


class DilatedBlock(nn.Module):
    """Residual convolution along time, of three frames that lie `dilation` apart; starts as the identity.

    It leaves space to the clip network's own blocks: with 3×3×3 kernels a training step would take 1.7 times as long.
    """

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.norm = group_norm(channels)
        self.conv = zero_init(TemporalConv(channels, dilation))

    def forward(self, x: Float[Tensor, "N C H W"], num_frames: int) -> Float[Tensor, "N C H W"]:
        """Mix each frame with those `dilation` before and after; N = B·T."""
        return x + self.conv(F.silu(self.norm(x)), num_frames)


class ResidualUNet(UNet):
    """A clip network's U-Net with a long temporal reach at the bottleneck, and input channels for the base prediction.

    `num_frames` is the training length. Dilations double until every frame reaches every other; without `reads_base`
    it has no such input; `unet` holds the other arguments of `UNet`.
    """

    def __init__(self, num_frames: int, data_channels: int = 3, reads_base: bool = True, **unet: Any) -> None:
        super().__init__(data_channels, **unet)
        width, coarsest = self.conv_in.out_channels, self.size.channels * self.size.multipliers[-1]
        of_patch = data_channels * self.patch**2
        self.conv_base = zero_init(nn.Conv2d(of_patch, width, 3, padding=1)) if reads_base else None
        self.dilations = [2**i for i in range(max(1, math.ceil(math.log2(num_frames))))]
        self.long_range = nn.ModuleList([DilatedBlock(coarsest, d) for d in self.dilations])
        self.long_attention = TemporalAttention(coarsest, self.size.head_channels, reach=max(16.0, 4.0 * num_frames))

    @property
    def temporal_reach(self) -> int:
        """Frames to each side that the k dilated convolutions reach: 2^k − 1. (Attention reaches all.)"""
        return sum(self.dilations)

    def warm_start(self, clip: UNet) -> None:
        """Copy the clip network's weights; the added layers stay zero. Raises `ValueError` if the layers differ."""
        missing, unexpected = self.load_state_dict(clip.state_dict(), strict=False)
        new = ("conv_base.", "long_range.", "long_attention.")
        if unexpected or any(not name.startswith(new) for name in missing):
            raise ValueError(f"the clip network has other layers than this one: {unexpected or missing}")

    def read_inputs(self, x: Float[Tensor, "B C T H W"], inputs: NetworkInputs) -> Float[Tensor, "N D h w"]:
        """Features of the noisy video, plus those of the base prediction if the network reads it."""
        h = super().read_inputs(x, inputs)
        if inputs.base is None or self.conv_base is None:
            return h
        return h + self.conv_base(self.patches(inputs.base).to(h.dtype))

    def bottleneck(self, h: Float[Tensor, "N D h w"], num_frames: int) -> Float[Tensor, "N D h w"]:
        """Dilated convolutions, then attention over the whole length."""
        for block in self.long_range:
            h = block(h, num_frames)
        return self.long_attention(h, num_frames)
