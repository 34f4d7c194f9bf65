"""Error covariances of the base's estimates, measured on some videos: the processes share these."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from vidboot.distributed import gather_over_ranks, rank, share_of
from vidboot.method.calibration_fit import ErrorCovariance


def over_videos(
    of_video: Callable[[int], list[list[ErrorCovariance]]],
    videos: Float[Tensor, "N C T H W"],
    draws: int,
    generator: torch.Generator,
    progress: bool = True,
) -> list[list[ErrorCovariance]]:
    """The covariances of all videos, at each noise level and band; all processes call it and get the same.

    `of_video` measures the video of a number, with noise of its shape from `generator`, `draws` times. Each process
    measures its share, and draws the noise of the others too, so that the result does not depend on their number.
    """
    mine, share = {}, share_of(len(videos))
    for n in tqdm(range(len(videos)), desc="calibrating", unit="video", disable=not progress or rank() != 0):
        if n in share:
            mine[n] = of_video(n)
        else:
            for _ in range(draws):
                torch.randn((1, *videos[n].shape), generator=generator)
    measured = {n: bands for of_rank in gather_over_ranks(mine) for n, bands in of_rank.items()}
    return merged([measured[n] for n in sorted(measured)], np.concatenate)


def merged(
    parts: Sequence[Sequence[Sequence[ErrorCovariance]]], merge: Callable[[list[np.ndarray]], np.ndarray]
) -> list[list[ErrorCovariance]]:
    """Merge several sets of error covariances, at each noise level and band."""
    return [
        [
            ErrorCovariance(same[0].estimates, merge([one.per_video for one in same]))
            for same in zip(*bands, strict=True)
        ]
        for bands in zip(*parts, strict=True)
    ]
