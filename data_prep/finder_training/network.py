"""The finder's network: a small U-Net from the maps of a moment to the logit of *burnt in* for each 2×2 block."""

from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from data_prep.finder.maps import CHANNELS

# Channels at 1/2, 1/4, 1/8, 1/16 and 1/32 of the picture's size: with these the weights take 3 MB at most.
WIDTHS = (16, 32, 64, 96, 96)


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class Network(nn.Module):
    """U-Net (Ronneberger et al. 2015): maps `CHANNELS h w` give logits `1 h w`; `h` and `w` are multiples of 16."""

    def __init__(self, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        self.stem = _conv(CHANNELS, widths[0])
        pairs = list(pairwise(widths))
        self.down = nn.ModuleList(nn.Sequential(_conv(a, b, 2), _conv(b, b)) for a, b in pairs)
        self.up = nn.ModuleList(_conv(a + b, a) for a, b in reversed(pairs))
        self.head = nn.Conv2d(widths[0], 1, 1)

    def forward(self, x_BChw: Float[Tensor, "B C h w"]) -> Float[Tensor, "B 1 h w"]:
        """Logits of *burnt in*."""
        x = self.stem(x_BChw)
        skips = []
        for down in self.down:
            skips.append(x)
            x = down(x)
        for up, skip in zip(self.up, reversed(skips), strict=True):
            x = up(torch.cat([skip, F.interpolate(x, scale_factor=2.0, mode="nearest")], 1))
        return self.head(x)


def export(network: Network, path: Path) -> None:
    """Write the network as ONNX, with probabilities as output, for pictures of any size."""
    # The exporter puts the modules back into the mode of the outermost one.
    whole = nn.Sequential(network, nn.Sigmoid()).cpu().eval()
    example = torch.zeros(1, CHANNELS, 32, 48)
    with torch.no_grad():
        torch.onnx.export(
            whole,
            (example,),
            str(path),
            input_names=["maps"],
            output_names=["burnt_in"],
            dynamic_axes={"maps": {0: "B", 2: "h", 3: "w"}, "burnt_in": {0: "B", 2: "h", 3: "w"}},
            opset_version=17,
            dynamo=False,
        )
