"""Views: the part of the full video that one kind of partial data holds, as a linear map with orthonormal rows.

For a view A with A Aᵀ = I a noisy full video x = x0 + σ n seen through the view, A x = A x0 + σ A n, is a noisy view at
the same σ. So the view's own diffusion model applies to it unchanged (Ma 2025, arXiv 2505.11825).
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Shaped
from torch import Tensor


@dataclass(frozen=True)
class View:
    """A set of frames at a spatial resolution: the linear isometry A x = r · mean_pool_r(x[frames]).

    `frames` are indices into the full video, ascending and distinct (a clip, every fourth frame, a single image);
    `scale` is the low-resolution factor r. Hashable. Raises `ValueError` for frames out of order or a scale below 1.
    """

    frames: tuple[int, ...]
    scale: int = 1

    def __init__(self, frames: Sequence[int], scale: int = 1) -> None:
        frames = tuple(int(t) for t in frames)
        if not frames or frames[0] < 0 or any(a >= b for a, b in itertools.pairwise(frames)):
            raise ValueError(f"a view needs ascending distinct frame numbers from 0 up, got {frames[:8]}")
        if scale < 1:
            raise ValueError(f"a view's scale is an integer factor from 1 up, got {scale}")
        object.__setattr__(self, "frames", frames)
        object.__setattr__(self, "scale", int(scale))

    @property
    def num_frames(self) -> int:
        """How many frames the view has."""
        return len(self.frames)

    def project(self, x_BCTHW: Float[Tensor, "B C T H W"]) -> Float[Tensor, "B C t h w"]:
        """A x: the view of a full video; h = H / scale. Raises `ValueError` if frames or size don't fit."""
        if self.frames[-1] >= x_BCTHW.shape[2]:
            raise ValueError(f"the view needs frame {self.frames[-1]}, the video has {x_BCTHW.shape[2]} frames")
        return pool(take_frames(x_BCTHW, self.frames), self.scale)

    def lift(self, y_BCthw: Float[Tensor, "B C t h w"], num_frames: int) -> Float[Tensor, "B C T H W"]:
        """Aᵀ y: the adjoint of `project`, into a full video of `num_frames` frames, 0 outside the view."""
        up = unpool(y_BCthw, self.scale)
        out = up.new_zeros((*up.shape[:2], num_frames, *up.shape[3:]))
        return add_frames_(out, up, self.frames)

    def __matmul__(self, inner: "View") -> "View":
        """The view of a view: `(outer @ inner).project(x) == outer.project(inner.project(x))`."""
        if self.frames[-1] >= inner.num_frames:
            raise ValueError(f"the outer view needs frame {self.frames[-1]}, the inner one has {inner.num_frames}")
        return View([inner.frames[t] for t in self.frames], self.scale * inner.scale)


def pool(x_BCTHW: Float[Tensor, "B C T H W"], scale: int) -> Float[Tensor, "B C T h w"]:
    """r · mean_pool_r: the spatial part of a view, an isometry on what is constant within r×r blocks."""
    if scale == 1:
        return x_BCTHW
    height, width = x_BCTHW.shape[-2:]
    if height % scale or width % scale:
        raise ValueError(f"a low-res factor of {scale} does not divide {height}×{width}")
    # avg_pool2d over (B·C·T) images; r · mean = sum / r.
    images = x_BCTHW.flatten(0, 2).unsqueeze(1)
    return (F.avg_pool2d(images, scale) * scale).reshape(*x_BCTHW.shape[:3], height // scale, width // scale)


def unpool(y_BCThw: Float[Tensor, "B C T h w"], scale: int) -> Float[Tensor, "B C T H W"]:
    """The adjoint of `pool`: every pixel of an r×r block gets 1/r of the block's value."""
    if scale == 1:
        return y_BCThw
    return (y_BCThw / scale).repeat_interleave(scale, dim=-1).repeat_interleave(scale, dim=-2)


def whole_blocks(mask_B1THW: Bool[Tensor, "B 1 T H W"], scale: int) -> Bool[Tensor, "B 1 T h w"]:
    """The mask at the resolution of a low-res view: true for an r×r block of which all pixels are true."""
    if scale == 1:
        return mask_B1THW
    return pool(mask_B1THW.float(), scale) == scale  # r · mean = r


def as_slice(frames: Sequence[int]) -> slice | None:
    """The frames as a slice if they are evenly spaced (no copy on indexing), else None."""
    step = frames[1] - frames[0] if len(frames) > 1 else 1
    regular = all(b - a == step for a, b in itertools.pairwise(frames))
    return slice(frames[0], frames[-1] + 1, step) if regular else None


def take_frames(x_BCTHW: Shaped[Tensor, "B C T H W"], frames: Sequence[int]) -> Shaped[Tensor, "B C t H W"]:
    """The chosen frames, without a copy where they are evenly spaced."""
    where = as_slice(frames)
    return x_BCTHW[:, :, where if where is not None else list(frames)]


def add_frames_(
    out_BCTHW: Float[Tensor, "B C T H W"],
    y_BCtHW: Float[Tensor, "B C t H W"],
    frames: Sequence[int],
    weight: float = 1.0,
) -> Float[Tensor, "B C T H W"]:
    """Add `weight · y` to the chosen frames of `out`, in place: the adjoint of `take_frames`."""
    where = as_slice(frames)
    if where is not None:
        out_BCTHW[:, :, where].add_(y_BCtHW, alpha=weight)
        return out_BCTHW
    return out_BCTHW.index_add_(2, torch.tensor(frames, device=out_BCTHW.device), y_BCtHW, alpha=weight)
