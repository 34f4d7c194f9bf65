"""Made-up results in the shape of those that reports are made of."""

from typing import Any

LAGS = ("1", "2")


def theory(residual: float = 1.0) -> dict[str, Any]:
    """Of the experiments on Gaussian videos; direct training has an excess of 50 at 16 full videos."""
    rows = []
    for sigma in (0.3, 1.0):
        for count, direct in ((16, 50.0), (64, 10.0)):
            both = {"direct": [direct], "residual": [residual], "mean_direct": direct, "mean_residual": residual}
            ratios = {"ratio": 64 / count, "ratio_is_lower_bound": sigma == 0.3}
            rows.append({"sigma": sigma, "count": count, "base": 2.0} | both | ratios)
    laws = [
        {"sigma": 1.0, "long_range": 0.1 * i, "coupling": 0.0, "count": 64, "base": 1.0 + i, "residual": 0.5 + i}
        for i in range(3)
    ]
    fit = {"sigma": 1.0, "slope": 0.5, "r2": 0.9, "log_slope": 0.7, "log_r2": 0.8}
    excess = {"0.1": 0.01, "1.0": 5.0}
    return {
        "seed": 3,
        "rules": [{"sigma": 1.0, "disjoint clips": 20.28, "counting numbers": 5.004}],
        "overlaps": [
            {"overlap": overlap, "clip_cost": 1 + overlap / 4, "cost": 1 + overlap / 4, "excess": excess}
            for overlap in (0, 2, 4)
        ],
        "calibration": [{"sigma": 1.0, "joined@1": 6.0, "whole@1": 7.0, "calibrated": 5.5}],
        "data_efficiency": rows,
        "residual_hardness": {"rows": laws, "fits": [fit]},
    }


def interval(mean: float) -> dict[str, float]:
    return {"mean": mean, "low": mean / 2, "high": mean * 2}


def evaluation() -> dict[str, Any]:
    """Of a run: three models, errors at seven noise levels."""
    sigmas = [0.1, 0.3, 1.0, 2.5, 6.0, 15.0, 40.0]
    models = {"base": 1.0, "base + residual": 0.125, "runs/another": 12.0}
    numbers = dict.fromkeys(LAGS, 0.5)
    statistics = {
        "autocorrelation": numbers,
        "autocorrelation_error": numbers,
        "frechet_distance": interval(3.0) | {"shown": True, "floor": interval(1.0), "sentence": "told apart"},
        "motion_ratio": interval(1.0),
        "seam_ratio": 1.1,
        "drift": {"brightness": 0.1, "contrast": None},
    }
    return {
        "run": "runs/a-run-with-a-name-that-is-longer-than-the-screen-of-a-phone-is-wide",
        "sigmas": sigmas,
        "test_shots": 7,
        "denoising": {name: [interval(scale * s) for s in sigmas] for name, scale in models.items()},
        "denoising_ratio": {name: [interval(scale) for _ in sigmas] for name, scale in list(models.items())[1:]},
        "protocol": {"features": "a network", "generated": "16 videos", "copies": "8 of 8 shots searched"},
        "statistics": dict.fromkeys(models, statistics),
        "copies": {name: {"median": 0.5, "held_out_median": 0.6, "limit": 0.1, "sentence": "none"} for name in models},
    }
