"""The evaluation of a trained run: held-out error with confidence intervals, and statistics of generated videos."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from vidboot.config import RunConfig
from vidboot.data.files import make_folder, write_atomic
from vidboot.data.manifest import Shot, load_manifest
from vidboot.distributed import device
from vidboot.errors import UserError
from vidboot.evaluation.features import given_features, own_features
from vidboot.evaluation.held_out_data import HeldOutData, held_out_data, training_videos
from vidboot.evaluation.held_out_errors import error_intervals, error_ratios, errors_by_shot
from vidboot.evaluation.nearest import search_training
from vidboot.evaluation.request import RunRequest
from vidboot.evaluation.run_csv import write_csv
from vidboot.evaluation.run_page import print_tables, write_page
from vidboot.evaluation.video_statistics import REAL, TRAINING, measure_statistics
from vidboot.generation.sampling import generate_videos
from vidboot.model.run_folder import load, load_form
from vidboot.model.start import started_from
from vidboot.model.video_model import VideoModel

RESULTS_FILE = "evaluation.json"
BASE, WHOLE = "base", "base + residual"


def evaluate_run(request: RunRequest) -> Path:
    """Measure, print the tables, write JSON and page into the output folder; returns the page's path.

    Raises `UserError` for the user's mistakes.
    """
    make_folder(request.folder)
    models = _models(request)
    config = models[BASE].config
    data = held_out_data(request.run, load_manifest(request.manifest), config, request.baselines, request.samples)
    features = given_features(request.features, data.videos[0]) if request.features else None
    features = features or own_features(request.run, config, data.train)
    frames = request.frames or config.video.num_frames
    errors = {name: errors_by_shot(model.full, data, config) for name, model in models.items()}
    training = training_videos(data, config, request.samples)
    real = {REAL: data.real} | ({} if training is None else {TRAINING: training})
    made = {name: _generate(name, model, frames, request) for name, model in models.items()}
    configs = dict.fromkeys(real, config) | {name: model.config for name, model in models.items()}
    searched = _searched(data, config, request.search)
    copies, pairs = search_training(made, data.independent, searched, data.mean, config.clip.num_frames)
    results = {
        "run": request.run.name,
        "sigmas": config.evaluation.sigmas,
        "test_shots": len(set(data.of_shot)),
        "denoising": {name: error_intervals(of_model) for name, of_model in errors.items()},
        "denoising_ratio": error_ratios(errors),
        "protocol": {"features": features.protocol} | _protocol(request, data, config, frames, len(searched)),
        "statistics": measure_statistics(real | made, data, configs, features),
        "copies": copies,
    }
    results = _finite(results)
    text = json.dumps(results, indent=1, ensure_ascii=False, allow_nan=False)
    write_atomic(request.folder / RESULTS_FILE, text.encode())
    write_csv(request.folder, results)
    print_tables(results)
    beside = REAL if training is None else TRAINING
    return write_page(request.folder, results, {beside: real[beside][:8]} | made, pairs, models[BASE].fps)


def _protocol(request: RunRequest, data: HeldOutData, config: RunConfig, frames: int, searched: int) -> dict[str, str]:
    """How the videos were generated, and what was searched for copies."""
    able = len(_searchable(data, config))
    starts = {name: started_from(request.run / name) for name in config.views}
    return {
        **{name: f"{name} {text}" for name, text in starts.items() if text},
        **({} if config.residual is None else {"form": f"{WHOLE}: {load_form(request.run)}"}),
        "generated": f"{request.samples} videos of {frames} frames, Heun, {request.steps} steps, seeds from "
        f"{request.seed}; against {len(data.real)} held-out videos of {config.video.num_frames} frames, of "
        f"{len(data.independent)} shots",
        "copies": f"{searched} of {able} training shots searched, every window of {config.clip.num_frames} frames"
        + ("; a copy of another shot would not be found (raise --search)" if searched < able else ""),
    }


def _searchable(data: HeldOutData, config: RunConfig) -> list[Shot]:
    return [shot for shot in data.seen if shot.num_frames >= config.clip.num_frames]


def _searched(data: HeldOutData, config: RunConfig, limit: int) -> list[Shot]:
    """The training shots to search, spread evenly if there are more than the limit."""
    shots = _searchable(data, config)
    return [shots[i] for i in np.linspace(0, len(shots) - 1, min(limit, len(shots))).round().astype(int)]


def _models(request: RunRequest) -> dict[str, VideoModel]:
    """By name: the base alone, as a model without residual, the whole model, and the baselines."""
    model = load(request.run, device()).frozen()
    base = VideoModel(model.config, model.views, calibration=model.calibration, fps=model.fps)
    models = {BASE: base} | ({WHOLE: model} if model.residual is not None else {})
    for folder in request.baselines:
        name = str(folder) if str(folder) not in models else str(folder.absolute())  # a run may be called "base"
        models[name] = load(folder, device()).frozen()
        theirs, ours = (one.config.video.model_copy(update={"overlap": 1}) for one in (models[name], model))
        if theirs != ours:
            raise UserError(f"the baseline {folder} makes videos of another size or length than {request.run}")
    return models


def _finite(tree: Any) -> Any:
    """The same with None for infinite values and NaN, which JSON does not have."""
    if isinstance(tree, dict):
        return {key: _finite(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_finite(value) for value in tree]
    return None if isinstance(tree, float) and not math.isfinite(tree) else tree


def _generate(name: str, model: VideoModel, frames: int, request: RunRequest) -> Float[Tensor, "N C T H W"]:
    """Generate one by one, which takes little memory; each video depends on its seed only."""
    seeds = range(request.seed, request.seed + request.samples)
    made = [
        generate_videos(model, frames, [seed], steps=request.steps) for seed in tqdm(seeds, desc=f"sampling {name}")
    ]
    return torch.cat(made).cpu()
