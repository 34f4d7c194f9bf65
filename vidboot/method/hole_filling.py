"""Masked videos as training data: what a video's own mask hides is filled in from around, and never asked for.

With m the mask (1 = clean) the network is given x = m x0 + (1 − m) fill(m x0) + σ n, as of any other video, and the
loss is Σ m (D − x0)² / Σ m. At high noise levels what is filled in can't be told from what was there; at low ones a
pixel depends on few others, and only those right beside a hole are taught something false, that they go smoothly on.
So networks learn from masked videos what they need for whole ones, not a second way of working, with holes, that whole
videos never ask for (`tests/bench/partial_data.py` measures what that is worth).
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor


def fill_hidden(x0: Float[Tensor, "B C T H W"], known: Bool[Tensor, "B 1 T H W"]) -> Float[Tensor, "B C T H W"]:
    """Each frame, with pixels that are not `known` smoothly filled in from those that are; 0 where a frame has none.

    What lies under the mask, were it NaN, changes nothing. Pull–push: Gortler et al. 1996, The Lumigraph, §3.4.
    """
    if known.all():
        return x0
    frames, weight = (rearrange(x, "b c t h w -> (b t) c h w") for x in (x0, known))
    filled = _pull_push(torch.where(weight, frames, torch.zeros_like(frames)), weight)
    return rearrange(filled, "(b t) c h w -> b c t h w", t=x0.shape[2])


def fillable(known: Bool[Tensor, "B 1 T H W"]) -> Bool[Tensor, "B 1 T H W"]:
    """True in frames with a pixel to fill the others in from; others must be shown as hidden, not as grey pictures."""
    return known.flatten(3).any(3)[..., None, None].expand_as(known)


def _pull_push(frames: Float[Tensor, "N C H W"], known: Bool[Tensor, "N 1 H W"]) -> Float[Tensor, "N C H W"]:
    """Fill frames, zero where not known, from their half-size version: means of the known pixels of each 2×2 block."""
    size = frames.shape[-2:]
    if max(size) == 1:
        return frames
    share = _halved(known.to(frames.dtype))
    smaller = _pull_push(_halved(frames) / share.clamp(min=0.25), share > 0)
    return torch.where(known, frames, F.interpolate(smaller, size=size, mode="bilinear"))


def _halved(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)
