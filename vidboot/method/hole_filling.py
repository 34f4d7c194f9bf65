"""Masked videos as training data: pixels under a video's own mask are filled in from around, and left out of the loss.

With m the mask (1 = clean) the network's input is x = m x0 + (1 − m) fill(m x0) + σ n, like that of any other video,
and the loss is Σ m (D − x0)² / Σ m. At high noise levels noise hides the difference between filling and original. At
low ones a pixel depends on few others, so that only pixels right beside a hole learn something false: that the
picture goes on smoothly there. Networks whose input had holes would spend capacity on holes, which whole videos don't
have (`tests/bench/partial_data.py` measures the difference).
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor


def fill_hidden(x0: Float[Tensor, "B C T H W"], clean: Bool[Tensor, "B 1 T H W"]) -> Float[Tensor, "B C T H W"]:
    """Each frame, with pixels that are not `clean` smoothly filled in from those that are; 0 where a frame has none.

    Values that are not `clean` have no effect, not even NaN. Pull–push: Gortler et al. 1996, The Lumigraph, §3.4.
    """
    if clean.all():
        return x0
    frames, weight = (rearrange(x, "b c t h w -> (b t) c h w") for x in (x0, clean))
    filled = _pull_push(torch.where(weight, frames, torch.zeros_like(frames)), weight)
    return rearrange(filled, "(b t) c h w -> b c t h w", t=x0.shape[2])


def fillable(clean: Bool[Tensor, "B 1 T H W"]) -> Bool[Tensor, "B 1 T H W"]:
    """True in frames with a clean pixel, from which to fill in the others. Frames without one should be unobserved."""
    return clean.flatten(3).any(3)[..., None, None].expand_as(clean)


def _pull_push(frames: Float[Tensor, "N C H W"], clean: Bool[Tensor, "N 1 H W"]) -> Float[Tensor, "N C H W"]:
    """Fill frames, zero where not clean, from their half-size version: means of the clean pixels of each 2×2 block."""
    size = frames.shape[-2:]
    if max(size) == 1:
        return frames
    share = _halved(clean.to(frames.dtype))
    smaller = _pull_push(_halved(frames) / share.clamp(min=0.25), share > 0)
    return torch.where(clean, frames, F.interpolate(smaller, size=size, mode="bilinear"))


def _halved(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)
