"""Held-out denoising errors of several models, shot by shot, with intervals and paired comparisons."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from vidboot.config import RunConfig
from vidboot.distributed import device
from vidboot.evaluation.held_out_data import HeldOutData
from vidboot.evaluation.intervals import positive_interval, ratio_interval
from vidboot.method.composition import Denoiser
from vidboot.method.denoising_error import denoising_errors

ByShot = Float[np.ndarray, "S N"]
"""Mean squared error per pixel at S noise levels, of N shots."""


def errors_by_shot(denoise: Denoiser, data: HeldOutData, config: RunConfig) -> ByShot:
    """Mean squared error per pixel at each noise level. Windows of one shot are not independent, so it counts once."""
    errors = denoising_errors(denoise, data.videos, config.evaluation.sigmas, device=device()).numpy()
    shots = np.array(data.of_shot)
    return np.stack([errors[:, shots == shot].mean(1) for shot in np.unique(shots)], axis=1)


def error_intervals(errors: ByShot) -> list[dict[str, float]]:
    """The mean over the shots at each noise level, with its 95 % confidence interval."""
    return [positive_interval(of_level)._asdict() for of_level in errors]


def error_ratios(errors: Mapping[str, ByShot]) -> dict[str, list[dict[str, float]]]:
    """Each model's error over that of the first model, at each noise level; by the bootstrap, paired by shot.

    Shots differ more from each other than models do on one shot, so that a difference can be certain where the
    intervals of the errors overlap.
    """
    (_, first), *others = errors.items()
    return {
        name: [ratio_interval(a, b, paired=True)._asdict() for a, b in zip(theirs, first, strict=True)]
        for name, theirs in others
    }
