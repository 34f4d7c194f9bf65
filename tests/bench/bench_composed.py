"""What composing costs, with a configuration's own (untrained) networks. Run by hand:

python tests/bench/bench_composed.py [--config configs/quickstart.yaml] [--device cpu] [--rounds 7] [key=value …]

Every time is a ratio to one plain pass of the clip network over all frames, measured in the same round (processor time
on a CPU, so that a busy machine matters little; set OMP_NUM_THREADS=1); the share is what is left of a composed
evaluation without the networks: project, lift, gather, weigh. Excess errors are exact, on Gaussian videos of 32 frames
(see `tools/evaluate.py theory`).
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from vidboot.config import RunConfig
from vidboot.experiments.gaussian.experiments import overlap_trade
from vidboot.method.calibration import CalibratedDenoiser, Calibration, visible
from vidboot.method.composition import ComposedDenoiser, Denoiser, by_scale
from vidboot.method.regions import ViewPlan
from vidboot.model.video_model import view_network
from vidboot.settings import load_settings


def cuda_seconds() -> float:
    """The time at which the device has done all that it was given."""
    torch.cuda.synchronize()
    return time.perf_counter()


class Stopwatch:
    """A denoiser that adds up the time spent in it."""

    def __init__(self, denoise: Denoiser, clock: Callable[[], float]) -> None:
        self.denoise, self.clock, self.seconds = denoise, clock, 0.0

    def __call__(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        start = self.clock()
        x0 = self.denoise(x, sigma)
        self.seconds += self.clock() - start
        return x0


def all_weights(plan: ViewPlan) -> Calibration:
    """A calibration that uses every estimate: the dearest."""
    bands = tuple({k: 1 / len(visible(plan, j)) for k in visible(plan, j)} for j in range(len(plan.scales)))
    return Calibration(plan, (1.0,), (bands,))


def compositions(config: RunConfig, networks: dict[int, Stopwatch]) -> dict[str, Denoiser]:
    frames, limit, denoiser_of = config.video.num_frames, config.max_batch_frames, by_scale(networks)
    plan = config.plan
    made = {
        f"overlap {overlap}": ComposedDenoiser(
            ViewPlan(plan.length, overlap, plan.low_res).regions(frames), denoiser_of, limit
        )
        for overlap in range(plan.length // 2 + 1)
    }
    made["calibrated, counting numbers"] = CalibratedDenoiser(Calibration.counting(plan), denoiser_of, limit)
    made["calibrated, every estimate"] = CalibratedDenoiser(all_weights(plan), denoiser_of, limit)
    return made


@torch.no_grad()
def measure(config: RunConfig, device: str, rounds_wanted: int) -> dict[str, tuple[float, float]]:
    """Median over rounds of (time over a plain pass, share outside the networks) for each composition."""
    clock = cuda_seconds if device.startswith("cuda") else time.process_time
    made = [view_network(config, view).eval().to(device) for view in config.views.values()]
    networks = {scale: Stopwatch(net, clock) for scale, net in zip(config.plan.scales, made, strict=True)}
    video = config.video
    x = torch.randn(1, 3, video.num_frames, video.height, video.width, generator=torch.Generator().manual_seed(0))
    x, sigma = x.to(device), torch.ones(1, device=device)
    denoisers, rounds = compositions(config, networks), []
    for _ in range(rounds_wanted + 1):  # the first round warms up
        plain = _timed(lambda: networks[1](x, sigma), networks, clock)[0]
        times = {name: _timed(lambda d=d: d(x, sigma), networks, clock) for name, d in denoisers.items()}
        rounds.append({name: (total / plain, 1 - inside / total) for name, (total, inside) in times.items()})
    return {name: tuple(statistics.median(r[name][i] for r in rounds[1:]) for i in (0, 1)) for name in denoisers}


def _timed(
    call: Callable[[], object], networks: dict[int, Stopwatch], clock: Callable[[], float]
) -> tuple[float, float]:
    """Seconds of a call, and those spent in networks."""
    for network in networks.values():
        network.seconds = 0.0
    start = clock()
    call()
    return clock() - start, sum(network.seconds for network in networks.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="configs/quickstart.yaml")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("settings", nargs="*", metavar="key=value", help="changes to the configuration")
    arguments = parser.parse_args()
    config = load_settings(RunConfig, arguments.config, arguments.settings)
    measured = measure(config, arguments.device, arguments.rounds)
    print(f"{'':30} cost in plain passes   share outside the networks")
    for name, (ratio, share) in measured.items():
        print(f"{name:30} {ratio:20.2f} {100 * share:22.1f} %")
    half = f"overlap {config.plan.length // 2}"
    print(f"\nat most 3.6 plain passes at overlap L/2: {'yes' if measured[half][0] <= 3.6 else 'no'}")
    print(f"at most 10 % outside the networks: {'yes' if measured[half][1] <= 0.1 else 'no'}")
    print("\nexcess error in % of the least, on Gaussian videos with clips of 8:")
    for row in overlap_trade():
        losses = "  ".join(f"σ = {sigma}: {value:.2g}" for sigma, value in row["excess"].items())
        print(f"overlap {row['overlap']}  {losses}")


if __name__ == "__main__":
    main()
