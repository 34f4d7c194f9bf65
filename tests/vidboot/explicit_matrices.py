"""Views and regions as explicit matrices (Kronecker products), independent of the library's code."""

import numpy as np
import torch
from torch import Tensor

from vidboot.method.regions import Region
from vidboot.method.views import View


def view_matrix(view: View, num_frames: int, height: int, width: int) -> Tensor:
    """A, acting on videos of one channel flattened time first."""
    blocks = [np.kron(np.eye(n // view.scale), np.ones((1, view.scale))) for n in (height, width)]
    pooling = np.kron(*blocks) / view.scale
    return torch.from_numpy(np.kron(np.eye(num_frames)[list(view.frames)], pooling))


def gain_matrix(regions: list[Region], num_frames: int, height: int, width: int) -> Tensor:
    """Σ_R c_R A_Rᵀ A_R."""
    matrices = [(region.count, view_matrix(region.view, num_frames, height, width)) for region in regions]
    return sum(count * a.T @ a for count, a in matrices)


def random(shape: tuple[int, ...], seed: int) -> Tensor:
    """Standard normal, float64."""
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
