"""What a run trained on moving digits makes. Run by hand: first the data and the run, then one part at a time.

python tests/bench/bench_digits.py data
python tools/train.py --config tests/bench/digits.yaml
python tests/bench/bench_digits.py seams [--rule joint|stream|disjoint]   seams and drift of long videos
python tests/bench/bench_digits.py repair [--steps K --draws K]           painting out a subtitle, beside cv2.inpaint
python tests/bench/bench_digits.py solvers                                Fréchet distance of DPM-Solver++(2M) and Heun
python tests/bench/bench_digits.py correlation [--seeds N]                autocorrelation far beyond the clip length

Times are ratios to another measurement of the same run.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
from tqdm import tqdm

import vidboot
from vidboot.data.datasets import to_tensor
from vidboot.data.manifest import load_manifest
from vidboot.data.split import split_shots
from vidboot.evaluation.distance import frechet_distance
from vidboot.evaluation.features import own_features
from vidboot.evaluation.statistics import autocorrelation
from vidboot.experiments.digits import digit_video, subtitle, write_digits
from vidboot.experiments.learning_curve.correlation import lags
from vidboot.generation.sampling import DEFAULTS, REPAIR_DEFAULTS, Sampling, initial_noise, sample, seeded
from vidboot.generation.streaming import shared_frames, stream
from vidboot.method.composition import AveragedWindows, ComposedDenoiser, disjoint_windows
from vidboot.method.conditioning import Observation
from vidboot.method.edm import karras_sigmas
from vidboot.method.regions import region_graph, windows
from vidboot.method.samplers import initial_state, sample_dpm2m, sample_heun
from vidboot.model.video_model import VideoModel

STATISTICS = {
    "brightness": lambda v: v.mean(),
    "contrast": lambda v: v.std((-1, -2)).mean(),
    "sharpness": lambda v: (v[..., 1:] - v[..., :-1]).abs().mean(),
}
LAST = 128
"""Frames at the end of a video whose statistics must be those of real videos."""


def seams(run: Path, rule: str, frames: int, seeds: range, sampling: Sampling, overlap: int | None) -> None:
    """Frame differences at window borders (unshifted) over those elsewhere, and statistics of the last frames."""
    model = vidboot.load(run)
    video = model.config.video
    if overlap is not None:
        video = video.model_copy(update={"overlap": overlap})
        model.config = model.config.model_copy(update={"video": video})
    videos = torch.cat([one_video(model, rule, frames, seed, sampling) for seed in tqdm(seeds, desc=rule)])
    if rule == "stream":
        given, left_open = shared_frames(video.num_frames, video.overlap)
        final = video.num_frames - left_open
        borders = set(range(final, frames, final - given))
    elif rule == "disjoint":
        borders = {region.view.frames[0] for region in disjoint_windows(frames, video.num_frames)}
    else:
        spans = windows(frames, video.num_frames, video.overlap)
        borders = {t for view in spans for t in (view.frames[0], view.frames[-1] + 1)}
    real = torch.stack([to_tensor(digit_video((0, 0, n), LAST)) for n in range(64)])
    print(f"{rule}, {len(videos)} videos of {frames} frames, {sampling}")
    own = sample(
        model, video.num_frames, seeded(range(1000, 1016)), Sampling(steps=sampling.steps, sampler=sampling.sampler)
    )
    report_seams(videos, sorted(borders - {0, frames}))
    if rule == "joint":
        whole = torch.cat([one_video(model, "whole", frames, seed, sampling) for seed in tqdm(seeds, desc="whole")])
        print("the same frames of videos from the same noise, made without windows:")
        report_seams(whole, sorted(borders - {0, frames}))
        report_difference(videos, whole, sorted(borders - {0, frames}))
    for name, some in (("these", videos), ("the model's own of the training length", own), ("real", real)):
        print(f"mean step of {name}: {some.diff(dim=2).abs().mean():.4f}")
    report_drift(videos, own, video.num_frames)


def one_video(model: VideoModel, rule: str, frames: int, seed: int, sampling: Sampling) -> torch.Tensor:
    """A video made by one rule, 1 C T H W."""
    if rule == "joint":
        return sample(model, frames, seeded([seed]), sampling)
    if rule == "whole":  # all frames as one window: no borders, but memory grows with the length
        start = initial_noise((3, frames, model.config.video.height, model.config.video.width), seeded([seed]))
        sigmas = model.config.noise.karras_sigmas(sampling.steps)
        with torch.no_grad():
            return sampling.run(model.full, initial_state(model.full, start, float(sigmas[0])), sigmas).clamp(-1, 1)
    if rule == "disjoint":
        starts = range(0, frames, model.config.video.num_frames)
        lengths = [min(model.config.video.num_frames, frames - start) for start in starts]
        generators = [seeded([seed * 1000 + number]) for number in range(len(starts))]
        return torch.cat([sample(model, n, g, sampling) for n, g in zip(lengths, generators, strict=True)], dim=2)
    parts, done = [], 0
    for fresh, _ in stream(model, [seed], sampling):
        parts.append(fresh)
        done += fresh.shape[2]
        if done >= frames:
            return torch.cat(parts, dim=2)[:, :, :frames]
    raise AssertionError("a stream has no end")


def report_seams(videos: torch.Tensor, borders: list[int]) -> None:
    """The ratio with all frames elsewhere, and with the two steps before and after each border.

    The law is stationary, so both are 1 without seams; the second is surer, because a curtain that moves at a border
    moves beside it too.
    """
    steps = videos.diff(dim=2).abs().mean((1, 3, 4))  # from frame t to t + 1
    at = torch.tensor(borders) - 1
    near = torch.stack([steps[:, (at + shift).clamp(0, steps.shape[1] - 1)] for shift in (-2, -1, 1, 2)]).mean(0)
    elsewhere = torch.ones(steps.shape[1], dtype=torch.bool)
    elsewhere[at] = False
    for name, others in (("all others", steps[:, elsewhere].mean().expand(near.shape)), ("its neighbours", near)):
        ratio = steps[:, at].sum() / others.sum()
        error = (steps[:, at] - ratio * others).std() * near.numel() ** 0.5 / others.sum()
        print(f"steps at borders / {name}: {ratio:.3f} ± {error:.3f} (standard error), {near.numel()} borders")


def report_difference(videos: torch.Tensor, whole: torch.Tensor, borders: list[int]) -> None:
    """Steps at borders over those of the same frames made without windows, each over all its others: 1 = no seams.

    The error is a jackknife's over blocks of eight borders: what happens there by chance happens in both.
    """
    at = torch.tensor(borders) - 1
    kept = torch.ones(videos.shape[2] - 1, dtype=torch.bool)
    kept[at] = False
    windowed, plain = ((v.diff(dim=2).abs().mean((1, 3, 4)) / v.diff(dim=2).abs().mean()) for v in (videos, whole))
    scale = plain[:, kept].mean() / windowed[:, kept].mean()
    pairs = torch.stack([windowed[:, at].flatten(), plain[:, at].flatten()])
    blocks = pairs[:, : pairs.shape[1] // 8 * 8].reshape(2, -1, 8).sum(2)
    left_out = blocks.sum(1, keepdim=True) - blocks
    ratios = left_out[0] / left_out[1] * scale
    error = ((len(ratios) - 1) * ratios.var(unbiased=False)).sqrt()
    print(f"steps at borders / those of the same frames without windows: {ratios.mean():.3f} ± {error:.3f}")


def report_drift(videos: torch.Tensor, own: torch.Tensor, length: int) -> None:
    """Statistics of the last frames of each video, beside those of training videos, and what they change by in 1,000.

    Training videos are as long as `length`; as many frames as here vary less: both are shown. What the model's own
    videos of that length get wrong is no drift: their mean is shown too.
    """
    training, long = (
        torch.stack([to_tensor(digit_video((0, 0, n), count)) for n in range(256)]) for count in (length, LAST)
    )
    blocks = videos[:, :, : videos.shape[2] // LAST * LAST].split(LAST, dim=2)
    for statistic, of in STATISTICS.items():
        (low, high), strict = (np.percentile([float(of(v)) for v in some], [2.5, 97.5]) for some in (training, long))
        values = np.array([[float(of(video)) for video in block] for block in blocks])
        last, trends = values[-1], np.polyfit(np.arange(len(blocks)) * LAST / 1000, values, 1)[0]
        verdict = "within" if all((low <= last) & (last <= high)) else "OUTSIDE"
        outside = np.mean((last < strict[0]) | (last > strict[1]))
        trend = f"{trends.mean():+.4f} ± {trends.std(ddof=1) / len(trends) ** 0.5:.4f}"
        print(
            f"{statistic}: last {LAST} frames {' '.join(f'{value:.3f}' for value in last)}: {verdict} {low:.3f} to "
            f"{high:.3f}, 95 % of training videos ({outside:.0%} outside those of {LAST} real frames, {strict[0]:.3f} "
            f"to {strict[1]:.3f}); first {LAST} {values[0].mean():.3f}, own of the training length "
            f"{float(of(own)):.3f}; trend in 1,000 frames {trend}"
        )


def repair(run: Path, seeds: range, sampling: Sampling) -> None:
    """Error under a burnt-in subtitle, of one sample of the model and of `cv2.inpaint` frame by frame."""
    model = vidboot.load(run)
    length, size = model.config.video.num_frames, model.config.video.height
    print(sampling)
    squares: dict[str, list[float]] = {}
    for seed in tqdm(seeds, desc="repair"):
        letters, hidden = subtitle(size, np.random.default_rng([9, seed]))
        mask = torch.from_numpy(~hidden).expand(1, 1, length, size, size)
        frames = digit_video((9, 0, seed), length, "test", size)
        damaged = np.where(letters[..., None], np.uint8(255), frames)
        truth = to_tensor(frames)[None]
        made = {"model": sample(model, length, seeded([seed]), sampling, Observation.of_pixels(truth, mask))[0]}
        for name, flag in (("Telea", cv2.INPAINT_TELEA), ("Navier–Stokes", cv2.INPAINT_NS)):
            painted = [cv2.inpaint(frame, hidden.astype(np.uint8), 3, flag) for frame in damaged]
            made[f"cv2.inpaint, {name}"] = to_tensor(np.stack(painted))
        for name, video in made.items():
            error = (video - truth[0])[..., torch.from_numpy(hidden)]
            squares.setdefault(name, []).append(float(error.square().mean()))
    for name, values in squares.items():
        ratio = sum(values) / sum(squares["model"])
        print(f"{name:26} mean square {np.mean(values):.5f} ({ratio:.2f} × the model's; root {ratio**0.5:.2f} ×)")


def solvers(run: Path, seeds: range) -> None:
    """Fréchet distance of clips to held-out ones, from the same noise, so that differences are the solvers' own."""
    model = vidboot.load(run)
    config, clip = model.config, model.views["clip"]
    shots = split_shots(load_manifest(config.data.manifest), config.data.holdout)
    features = own_features(run, config, shots.train)
    length, size = config.clip.num_frames, config.video.height
    real = features(torch.stack([to_tensor(digit_video((9, 0, n), length, "test", size)) for n in range(2048)]))
    halves = frechet_distance(real[::2], real[1::2])
    print(f"{features.protocol}\n{len(seeds)} clips; half of the real ones to the other half: {halves:.4f}")
    first = None
    for name, run_sampler, sigmas in (
        ("Heun", sample_heun, config.noise.karras_sigmas(32)),
        ("DPM-Solver++(2M)", sample_dpm2m, config.noise.karras_sigmas(16)),
        (
            "DPM-Solver++(2M), ρ = 30",
            sample_dpm2m,
            karras_sigmas(16, config.noise.sigma_min, config.noise.sigma_max, rho=30),
        ),
        ("DPM-Solver++(2M)", sample_dpm2m, config.noise.karras_sigmas(32)),
        ("Heun", sample_heun, config.noise.karras_sigmas(8)),
    ):
        noise = initial_noise((3, length, size, size), seeded(seeds))
        starts = [initial_state(clip, part.clone(), float(sigmas[0])) for part in noise.split(16)]
        made = torch.cat([run_sampler(clip, start, sigmas) for start in starts]).clamp(-1, 1)
        distance = frechet_distance(features(made), real)
        first = first or distance
        evaluations = (len(sigmas) - 1) * (1 + (run_sampler is sample_heun)) - (run_sampler is sample_heun)
        print(f"{name}, {evaluations} evaluations: {distance:.4f}, {distance / first:.3f} × the first", flush=True)


@torch.no_grad()
def correlation(run: Path, count: int, sampling: Sampling) -> None:
    """Error of the autocorrelation over time of each method's videos, with its standard error over the videos."""
    model = vidboot.load(run)
    config, clip = model.config, model.views["clip"]
    length, size = config.video.num_frames, config.video.height
    spans = windows(length, config.clip.num_frames, config.clip.overlap)
    methods = {
        "averaged windows (MultiDiffusion)": AveragedWindows(config.clip.num_frames, config.clip.overlap, clip),
        "windows − overlaps (DiffCollage)": ComposedDenoiser(region_graph(spans), lambda view: clip),
        "base, calibrated": model.base,
        "base + residual": model.full,
    }
    real = torch.stack([to_tensor(digit_video((9, 0, n), length, "test", size)) for n in range(2048)])
    mean = real.mean((0, 2))[:, None]
    truth = autocorrelation(real, mean, lags(config))
    print(f"{count} videos each, {sampling}; real: " + ", ".join(f"{r:.3f} at lag {lag}" for lag, r in truth.items()))
    sigmas, rng = config.noise.karras_sigmas(sampling.steps), np.random.default_rng(0)
    for name, denoise in methods.items():
        made = []
        for seeds in tqdm(torch.arange(count).split(4), desc=name):
            start = initial_state(denoise, initial_noise(real.shape[1:], seeded(seeds.tolist())), float(sigmas[0]))
            made.append(sampling.run(denoise, start, sigmas).clamp(-1, 1))
        videos = torch.cat(made)
        found = autocorrelation(videos, mean, lags(config))
        again = [autocorrelation(videos[rng.integers(count, size=count)], mean, lags(config)) for _ in range(200)]
        errors = (
            f"{abs(found[lag] - truth[lag]):.3f} ± {np.std([one[lag] for one in again]):.3f} at lag {lag}"
            for lag in found
        )
        print(f"{name:34} {', '.join(errors)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("data", "seams", "repair", "solvers", "correlation"))
    parser.add_argument("--run", type=Path, default=Path("runs/digits/run"))
    parser.add_argument("--rule", choices=("joint", "stream", "disjoint"), default="joint")
    parser.add_argument("--frames", type=int, default=1024)
    parser.add_argument("--overlap", type=int, help="of windows, instead of the run's")
    parser.add_argument("--steps", type=int, help="default: 18; 3 to repair")
    parser.add_argument("--draws", type=int, help="default: 1; 8 to repair, if no --steps are given")
    parser.add_argument("--seeds", type=int, default=4, help="how many videos")
    parser.add_argument("--iterations", type=int, help="of moment matching; without it the networks get the pixels")
    a = parser.parse_args()
    seeds = range(a.seeds)
    default = REPAIR_DEFAULTS if a.part == "repair" and a.steps is None else DEFAULTS
    chosen = {"steps": a.steps or default["steps"], "draws": a.draws or default["draws"]}
    sampling = Sampling(sampler="dpm2m", iterations=a.iterations, **chosen)
    if a.part == "data":
        write_digits(a.run.parent / "data", full=256, clips=2048, low_res=2048, subtitled=0.5)
    elif a.part == "seams":
        seams(a.run, a.rule, a.frames, seeds, sampling, a.overlap)
    elif a.part == "repair":
        repair(a.run, seeds, sampling)
    elif a.part == "correlation":
        correlation(a.run, a.seeds, sampling)
    else:
        solvers(a.run, seeds)


if __name__ == "__main__":
    main()
