"""What is measured on each set of videos: distance, motion, autocorrelation, seams, drift."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from vidboot.config import RunConfig
from vidboot.evaluation.distance import Distance, Features, features_of, measure_distance
from vidboot.evaluation.features import FeatureNetwork
from vidboot.evaluation.held_out_data import HeldOutData
from vidboot.evaluation.intervals import positive_interval, ratio_interval
from vidboot.evaluation.statistics import autocorrelation, drift, motion, seam_ratio
from vidboot.method.regions import windows

REAL, TRAINING = "held-out videos", "training videos"


def measure_statistics(
    sets: Mapping[str, Float[Tensor, "N C T H W"]],
    data: HeldOutData,
    configs: Mapping[str, RunConfig],
    features: FeatureNetwork,
) -> dict[str, dict[str, Any]]:
    """Statistics of each set of videos, with distance, motion and autocorrelation relative to the held-out videos.

    `configs` give the windows of each set's model; the lags are those of the evaluated run.
    """
    length = configs[REAL].clip.num_frames
    lags = sorted({1, length // 2, length - 1, length * 3 // 2, length * 3})
    reference, real = autocorrelation(data.real, data.mean, lags), features_of(features, data.independent)
    other = features_of(features, sets[TRAINING]) if TRAINING in sets else real[:0]
    real_motion, found = motion(data.independent), {}
    for name, videos in sets.items():
        correlation = autocorrelation(videos, data.mean, lags)
        both = [lag for lag in lags if lag in correlation and lag in reference]
        moving = real_motion if name == REAL else motion(videos)
        found[name] = {
            "frechet_distance": None if name == REAL else _distance(features_of(features, videos), real, other),
            "motion": positive_interval(moving)._asdict(),
            "motion_ratio": None if name == REAL else ratio_interval(moving, real_motion, paired=False)._asdict(),
            "autocorrelation": {str(lag): correlation[lag] for lag in both},
            "autocorrelation_error": {str(lag): abs(correlation[lag] - reference[lag]) for lag in both},
            "seam_ratio": seam_ratio(videos, borders(configs[name], videos.shape[2])),
            "drift": drift(videos),
        }
    return found


def _distance(made: Features, real: Features, other: Features) -> dict[str, Any]:
    """The distance for the report, without a number that such numbers of videos can't give."""
    found: Distance = measure_distance(made, real, other)
    value = found.value._asdict() if found.shown else dict.fromkeys(("mean", "low", "high"), np.nan)
    return value | {
        "floor": found.floor._asdict(),
        "constant": found.constant,
        "shown": found.shown,
        "sentence": found.sentence,
    }


def borders(config: RunConfig, num_frames: int) -> list[int]:
    """First frames of windows, and frames after their last: of clips, or in longer videos of windows of T frames."""
    length, overlap = config.clip.num_frames, config.clip.overlap
    if num_frames > config.video.num_frames:
        length, overlap = config.video.num_frames, config.video.overlap
    edges = {t for view in windows(num_frames, length, overlap) for t in (view.frames[0], view.frames[-1] + 1)}
    return sorted(edges - {0, num_frames})
