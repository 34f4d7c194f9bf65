"""What generation gives and costs. Run by hand, one part at a time:

python tests/bench/bench_generation.py lags                           covariance of samples over time, Gaussian videos
python tests/bench/bench_generation.py conditioning                   conditional means and costs, Gaussian videos
python tests/bench/bench_generation.py memory [--config F]            peak memory and time per frame against length
    (tests/bench/digits.yaml with networks of 16 channels: an hour on one core)
python tests/bench/bench_generation.py solvers                        DPM-Solver++(2M) against Heun, Gaussian videos

Times are ratios to another measurement of the same run.
"""

import argparse
import itertools
import math
import subprocess
import sys
import time
from collections.abc import Callable

import torch

from vidboot.config import NoiseConfig
from vidboot.experiments.gaussian.experiments import rules
from vidboot.experiments.gaussian.gaussian import GaussianVideo, WienerDenoiser
from vidboot.generation.sampling import Sampling, sample, seeded
from vidboot.generation.streaming import stream
from vidboot.method.composition import Denoiser
from vidboot.method.conditioning import Corrected, MomentMatched, Observation
from vidboot.method.samplers import sample_dpm2m, sample_heun, with_resampling
from vidboot.model.video_model import VideoModel

NOISE = NoiseConfig(sigma_min=0.01, sigma_max=100.0)


def sampled_covariance(sampler: Callable, denoise: Denoiser, shape: tuple, sigmas: torch.Tensor) -> torch.Tensor:
    """Exact covariance of the samples of a linear denoiser: M Mᵀ, where samples are M n with standard normal n."""
    size = math.prod(shape)
    m = sampler(denoise, torch.eye(size, dtype=torch.float64).reshape(size, *shape) * sigmas[0], sigmas).flatten(1).T
    return m @ m.T


def over_time(covariance: torch.Tensor, shape: tuple) -> list[float]:
    """Mean covariance of a pixel with itself at each distance in time."""
    blocks = covariance.reshape(shape[1], shape[2] * shape[3], shape[1], -1).diagonal(dim1=1, dim2=3).mean(-1)
    return [float(blocks.diagonal(lag).mean()) for lag in range(shape[1])]


def lags() -> None:
    video = GaussianVideo.reference()
    sigmas = NOISE.karras_sigmas(32)
    columns = {"data": over_time(video.covariance, video.shape)}
    denoisers = {"full model": video.denoiser_of(video.full_view)} | rules(video)
    for name in ("full model", "counting numbers", "windows − overlaps", "averaged windows"):
        covariance = sampled_covariance(sample_heun, denoisers[name], video.shape, sigmas)
        columns[name] = over_time(covariance, video.shape)
    print("lag  " + "".join(f"{name:>20}" for name in columns))
    for lag in (0, 1, 2, 4, 8, 12, 16, 24, 31):
        print(f"{lag:3d}  " + "".join(f"{values[lag]:20.3f}" for values in columns.values()))


def conditioning(steps: int = 18, count: int = 1000) -> None:
    """Relative error of the mean of samples, and cost in denoiser passes (a backward pass counted as two)."""
    video = GaussianVideo.reference(num_frames=16)
    generator = torch.Generator().manual_seed(0)
    truth = video.sample(1, generator)
    low = Observation.of_low_resolution(torch.nn.functional.avg_pool3d(truth, (1, 2, 2)), 2)
    first = Observation.of_first_frames(truth[:, :, :4], 16)
    mask = torch.rand(1, 1, *video.shape[1:], generator=generator) < 0.3
    cases = {"first 4 frames": first, "low-res": low, "30 % of pixels": Observation.of_pixels(truth, mask)}
    denoise = video.denoiser_of(video.full_view)
    print(f"{'':30} {'passes':>7} " + "".join(f"{name:>22}" for name in cases))
    print(f"{'':38} " + "error of mean, variance" * 1)
    rows = [(f"range–null, {r} ×", 0, r) for r in (1, 4, 10)] + [
        (f"moments, {k} iterations", k, 1) for k in (1, 2, 3, 10, 30)
    ]
    for name, iterations, resampling in [*rows, ("given to exact networks", None, 1)]:
        schedule = with_resampling(NoiseConfig().karras_sigmas(steps), resampling)
        passes = sum(1 if b == 0 else 2 for a, b in itertools.pairwise(schedule.tolist()) if b < a)
        passes *= 1 + 2 * (iterations + 1) if iterations else 1
        cells = []
        for observation in cases.values():
            if iterations is None:
                conditioned = given(video, observation)
            else:
                conditioned = (
                    MomentMatched(denoise, observation, iterations) if iterations else Corrected(denoise, observation)
                )
            generators = seeded(range(count))
            x = torch.stack([torch.randn(*video.shape, dtype=torch.float64, generator=g) for g in generators])
            samples = sample_heun(conditioned, x * schedule[0], schedule, generators=generators).flatten(1)
            mean, covariance = conditional(video, observation)
            error = (samples.mean(0) - mean).norm() / mean.norm()
            cells.append(f"{100 * float(error):13.1f} %  {float(samples.var(0).sum() / covariance.trace()):5.2f}")
        print(f"{name:30} {passes:7d} " + "".join(f"{cell:>22}" for cell in cells), flush=True)


def given(video: GaussianVideo, observation: Observation) -> Denoiser:
    """E[x0 | x, y]: what networks give that have learnt perfectly to be given what is observed."""
    mean, covariance = conditional(video, observation)
    wiener, mean = WienerDenoiser(covariance), mean.reshape(video.shape)
    return lambda x, sigma: observation.impose(mean + wiener(x - mean, sigma))


def conditional(video: GaussianVideo, observation: Observation) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and covariance given what is observed, in closed form."""
    size = math.prod(video.shape)
    p = observation.project(torch.eye(size, dtype=torch.float64).reshape(size, *video.shape)).flatten(1).T
    c = video.covariance
    gain = c @ p @ torch.linalg.pinv(p @ c @ p, hermitian=True, rtol=1e-10)
    return gain @ observation.lifted.flatten(), c - gain @ p @ c


def memory(config: str) -> None:
    """Each length in a process of its own, so that its peak is its own."""
    for mode, lengths in (("joint", (128, 256, 2048)), ("stream", (200, 10_000))):
        peaks = {}
        for length in lengths:
            words = [sys.executable, __file__, "one", "--config", config, "--mode", mode, "--frames", str(length)]
            done = subprocess.run(words, capture_output=True, text=True, check=True)
            peaks[length], seconds, state = (float(word) for word in done.stdout.split())
            print(
                f"{mode:7} {length:6d} frames: peak {peaks[length]:.1f} MB ({peaks[length] - peaks[lengths[0]]:+.1f}), "
                f"state {state:.1f} MB, {1000 * seconds / length:.2f} ms of processor time a frame",
                flush=True,
            )


def one(config: str, mode: str, frames: int) -> None:
    """Peak resident memory in MB, processor seconds and the state's MB of one generation by an untrained model."""
    import resource

    from vidboot.config import RunConfig
    from vidboot.model.video_model import residual_network, view_network
    from vidboot.settings import load_settings

    settings = load_settings(RunConfig, config, [])
    views = {name: view_network(settings, view).eval().requires_grad_(False) for name, view in settings.views.items()}
    model = VideoModel(settings, views, residual_network(settings).eval().requires_grad_(False))
    start = time.process_time()
    if mode == "joint":
        sample(model, frames, seeded([0]), Sampling(steps=2))
    else:
        done = 0
        for fresh, _ in stream(model, [0], Sampling(steps=1, sampler="euler")):
            done += fresh.shape[2]
            if done >= frames:
                break
    seconds = time.process_time() - start
    state = 3 * frames * settings.video.height * settings.video.width * 4 / 2**20
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, seconds, state)


def solvers() -> None:
    """Covariance error; on a trained run `bench_digits.py solvers` compares Fréchet distances."""
    video = GaussianVideo.reference(num_frames=16)
    denoise, truth = video.denoiser_of(video.full_view), video.covariance
    noise = NoiseConfig()
    for name, sampler, steps in (
        ("heun 64", sample_heun, 32),
        ("dpm2m 16", sample_dpm2m, 16),
        ("heun 16", sample_heun, 8),
    ):
        covariance = sampled_covariance(sampler, denoise, video.shape, noise.karras_sigmas(steps))
        error = float((covariance - truth).norm() / truth.norm())
        print(f"{name:9} evaluations: relative covariance error {error:.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("lags", "conditioning", "memory", "one", "solvers"))
    parser.add_argument("--config", default="tests/bench/digits.yaml")
    parser.add_argument("--mode", choices=("joint", "stream"))
    parser.add_argument("--frames", type=int)
    a = parser.parse_args()
    parts = {
        "lags": lags,
        "conditioning": conditioning,
        "memory": lambda: memory(a.config),
        "one": lambda: one(a.config, a.mode, a.frames),
        "solvers": solvers,
    }
    parts[a.part]()


if __name__ == "__main__":
    main()
