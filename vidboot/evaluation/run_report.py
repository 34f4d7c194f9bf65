"""The evaluation of a trained run: held-out error with confidence intervals, and statistics of generated videos."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from vidboot.config import RunConfig
from vidboot.data.datasets import held_out_spans, held_out_windows, load_windows, mean_image
from vidboot.data.files import make_folder, write_atomic
from vidboot.data.manifest import Manifest, Shot, check_size, load_manifest
from vidboot.distributed import device
from vidboot.errors import UserError
from vidboot.evaluation.features import FeatureNetwork, given_features, own_features
from vidboot.evaluation.request import RunRequest
from vidboot.evaluation.run_page import print_tables, write_page
from vidboot.evaluation.statistics import autocorrelation, confidence_interval, drift, frechet_distance, seam_ratio
from vidboot.generation.sampling import generate_videos
from vidboot.method.composition import Denoiser
from vidboot.method.denoising_error import denoising_errors
from vidboot.method.regions import windows
from vidboot.model.run_folder import SPLIT_FILE, load
from vidboot.model.start import started_from
from vidboot.model.video_model import VideoModel

RESULTS_FILE = "evaluation.json"
BASE, WHOLE, REAL, TRAINING = "base", "base + residual", "held-out videos", "training videos"


@dataclass(frozen=True)
class HeldOutData:
    """The real videos that a run is compared with."""

    train: tuple[Shot, ...]
    """The run's training shots, as far as the manifest has them."""
    test: tuple[Shot, ...]
    """The shots that no compared model was trained on or chosen by."""
    videos: Float[Tensor, "N C T H W"]
    """Test videos for the denoising errors: as many as the run's configuration says."""
    real: Float[Tensor, "M C T H W"]
    """Test videos for the statistics: at least as many as are generated, if there are so many."""
    mean: Float[Tensor, "C 1 H W"]
    """Mean frame of the test shots."""
    of_shot: tuple[int, ...] = ()
    """For each of `videos`, the number of its shot."""


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
    errors = {name: measure_errors(model.full, data, config) for name, model in models.items()}
    training = _training_videos(data, config, request.samples)
    real = {REAL: data.real} | ({} if training is None else {TRAINING: training})
    made = {name: _generate(name, model, frames, request) for name, model in models.items()}
    configs = dict.fromkeys(real, config) | {name: model.config for name, model in models.items()}
    results = {
        "run": request.run.name,
        "sigmas": config.evaluation.sigmas,
        "test_shots": len(set(data.of_shot)),
        "denoising": errors,
        "protocol": {
            "features": features.protocol,
            "generated": f"{request.samples} videos of {frames} frames, Heun, {request.steps} steps, seeds from "
            f"{request.seed}; against {len(data.real)} held-out videos of {config.video.num_frames} frames",
            **{name: f"{name} {text}" for name in config.views if (text := started_from(request.run / name))},
        },
        "statistics": measure_statistics(real | made, data, configs, features),
    }
    results = _finite(results)
    text = json.dumps(results, indent=1, ensure_ascii=False, allow_nan=False)
    write_atomic(request.folder / RESULTS_FILE, text.encode())
    print_tables(results)
    beside = REAL if training is None else TRAINING
    return write_page(request.folder, results, {beside: real[beside][:8]} | made, models[BASE].fps)


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


def held_out_data(
    run_dir: Path, manifest: Manifest, config: RunConfig, baselines: Sequence[Path] = (), samples: int = 0
) -> HeldOutData:
    """The manifest's test shots: those of the run's split, and shots of source files that the run has no shots of.

    (The same file preprocessed otherwise gives other shots, but their content is the same.) Shots that a baseline was
    trained on or chosen by are left out. `samples` is how many videos are generated. Raises `UserError` if no shot is
    left, or if a run folder doesn't say what the run was trained on.
    """
    check_size(manifest, config.video.height, config.video.width, manifest.root)
    split = _split_of(run_dir)
    train = tuple(shot for shot in manifest if shot.id in set(split["train"]))
    seen = {shot.id for shot in train} | set(split.get("validation", ()))
    # The run's own test shots first, in the split's order, as for the table at the end of training.
    own = {shot_id: number for number, shot_id in enumerate(split.get("test", ()))}
    files = set(split.get("sources", ()))
    new = [s for s in manifest if "full" in s.views and s.id not in seen and (s.id in own or s.source not in files)]
    theirs = {shot_id for folder in baselines for shot_id in _seen_by(folder)}
    test = sorted((shot for shot in new if shot.id not in theirs), key=lambda shot: own.get(shot.id, len(own)))
    if new and not test:
        raise UserError(
            "the baselines have trained on all of the run's test shots, or were chosen by them: give other --data, or "
            "train the baselines with the run's data.manifest and data.holdout"
        )
    spans = held_out_spans(test, config.video.num_frames, clean=True)
    loaded = load_windows(spans, 1, config.evaluation.num_videos)
    of_shot = tuple(test.index(shot) for shot, _ in loaded)
    more = load_windows(spans, 1, samples) if samples > config.evaluation.num_videos else loaded
    videos, real = (torch.stack([video for _, (video, _) in windows]) for windows in (loaded, more))
    return HeldOutData(train, tuple(test), videos, real, mean_image(test), of_shot)


def _seen_by(run_dir: Path) -> list[str]:
    split = _split_of(run_dir)
    return [*split["train"], *split.get("validation", ())]


def _split_of(run_dir: Path) -> dict[str, Any]:
    split = json.loads((run_dir / SPLIT_FILE).read_text())
    if "train" not in split:
        raise UserError(
            f"{run_dir / SPLIT_FILE} doesn't say which videos the run was trained on: give the folder that "
            "tools/train.py wrote"
        )
    return split


def measure_errors(denoise: Denoiser, data: HeldOutData, config: RunConfig) -> list[dict[str, float]]:
    """Mean squared error per pixel at each noise level, with its 95 % confidence interval over the shots.

    Windows of one shot are not independent, so a shot counts once, with the mean over its windows.
    """
    errors = denoising_errors(denoise, data.videos, config.evaluation.sigmas, device=device()).numpy()
    shots = np.array(data.of_shot)
    means = np.stack([errors[:, shots == shot].mean(1) for shot in np.unique(shots)], axis=1)
    return [confidence_interval(of_level)._asdict() for of_level in means]


def _finite(tree: Any) -> Any:
    """The same with None for infinite values and NaN, which JSON does not have."""
    if isinstance(tree, dict):
        return {key: _finite(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_finite(value) for value in tree]
    return None if isinstance(tree, float) and not math.isfinite(tree) else tree


def measure_statistics(
    sets: Mapping[str, Float[Tensor, "N C T H W"]],
    data: HeldOutData,
    configs: Mapping[str, RunConfig],
    features: FeatureNetwork,
) -> dict[str, dict[str, Any]]:
    """Statistics of each set of videos, with distance and autocorrelation error relative to the held-out videos.

    `configs` give the windows of each set's model; the lags are those of the evaluated run.
    """
    length = configs[REAL].clip.num_frames
    lags = sorted({1, length // 2, length - 1, length * 3 // 2, length * 3})
    reference, real_features = autocorrelation(data.real, data.mean, lags), features(data.real)
    found = {}
    for name, videos in sets.items():
        correlation = autocorrelation(videos, data.mean, lags)
        both = [lag for lag in lags if lag in correlation and lag in reference]
        found[name] = {
            "frechet_distance": None if name == REAL else frechet_distance(features(videos), real_features),
            "autocorrelation": {str(lag): correlation[lag] for lag in both},
            "autocorrelation_error": {str(lag): abs(correlation[lag] - reference[lag]) for lag in both},
            "seam_ratio": seam_ratio(videos, borders(configs[name], videos.shape[2])),
            "drift": drift(videos),
        }
    return found


def borders(config: RunConfig, num_frames: int) -> list[int]:
    """First frames of windows, and frames after their last: of clips, or in longer videos of windows of T frames."""
    length, overlap = config.clip.num_frames, config.clip.overlap
    if num_frames > config.video.num_frames:
        length, overlap = config.video.num_frames, config.video.overlap
    edges = {t for view in windows(num_frames, length, overlap) for t in (view.frames[0], view.frames[-1] + 1)}
    return sorted(edges - {0, num_frames})


def _generate(name: str, model: VideoModel, frames: int, request: RunRequest) -> Float[Tensor, "N C T H W"]:
    """Generate one by one, which takes little memory; each video depends on its seed only."""
    seeds = range(request.seed, request.seed + request.samples)
    made = [
        generate_videos(model, frames, [seed], steps=request.steps) for seed in tqdm(seeds, desc=f"sampling {name}")
    ]
    return torch.cat(made).cpu()


def _training_videos(data: HeldOutData, config: RunConfig, count: int) -> Tensor | None:
    """As many full training videos as are generated, or None if the manifest has none.

    The page plays them beside the samples. Their statistics are the best that samples can reach: between two small sets
    of real videos, too, there is some distance.
    """
    full = [shot for shot in data.train if "full" in shot.views]  # not long ones of low resolution
    try:
        return held_out_windows(full, config.video.num_frames, 1, count, clean=True)[0]
    except UserError:
        return None
