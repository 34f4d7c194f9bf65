"""Does calibration harm or help with trained networks? Moving digits behind a curtain. Run by hand (15–25 minutes):

python tests/bench/bench_calibration.py [--steps 1200]

Trains a small clip and a small low-res network, fits the calibration on 16 full videos (three independent sets of them)
and compares it, on 64 held-out videos of unseen digits, with every single rule: held-out error at each noise level and
the paired difference to the best rule in hindsight, with its 95 % confidence interval over videos.
"""

import argparse

import numpy as np
import torch
from tqdm import trange

from vidboot.config import NoiseConfig
from vidboot.experiments.digits import digit_video
from vidboot.experiments.gaussian.experiments import uniform_rules
from vidboot.method.calibration_fit import ErrorCovariance, fit_calibration, measure
from vidboot.method.composition import Denoiser, by_scale
from vidboot.method.edm import Preconditioned, add_noise, loss_weight, squared_error
from vidboot.method.regions import ViewPlan
from vidboot.method.views import pool
from vidboot.networks.unet import UNet

PLAN, NUM_FRAMES = ViewPlan(8, 4, (2,)), 32
NOISE = NoiseConfig()
SIGMAS = (0.15, 0.3, 0.6, 1.0, 2.5, 6.0, 15.0)


def digits(count: int, seed: int, split: str) -> torch.Tensor:
    """Grey videos, B 1 T H W in [-1, 1]."""
    frames = np.stack([digit_video((seed, i), NUM_FRAMES, split)[..., 0] for i in range(count)])
    return torch.from_numpy(frames)[:, None].float() / 127.5 - 1


def train_view(scale: int, videos: torch.Tensor, steps: int) -> Denoiser:
    """A network for one scale, trained on every number of frames that the region graph asks for."""
    torch.manual_seed(0)
    multipliers = (1, 2, 3) if scale == 1 else (1, 2)
    network = Preconditioned(UNet(1, channels=16, multipliers=multipliers, head_channels=16), NOISE.sigma_data)
    mean = torch.optim.swa_utils.AveragedModel(network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99))
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    counts = sorted({r.view.num_frames for r in PLAN.regions(NUM_FRAMES) if r.view.scale == scale}, reverse=True)
    generator = torch.Generator().manual_seed(0)
    for step in trange(steps, desc=f"training at scale {scale}"):
        # The longest first: half of the steps; the shorter ones share the rest.
        frames = counts[0] if step % 2 == 0 else counts[step // 2 % len(counts)]
        start = int(torch.randint(NUM_FRAMES - frames + 1, (), generator=generator))
        chosen = torch.randint(len(videos), (8,), generator=generator)
        x0 = pool(videos[chosen, :, start : start + frames], scale) / scale
        sigma = torch.tensor([NOISE.sample(generator) for _ in chosen]) / scale
        x = add_noise(x0, sigma, torch.randn(x0.shape, generator=generator))
        loss = (squared_error(network(x, sigma), x0) * loss_weight(sigma, NOISE.sigma_data)).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        mean.update_parameters(network)
    return mean.module.eval().requires_grad_(False)


def error(bands: tuple[dict, ...], covariances: list[ErrorCovariance]) -> np.ndarray:
    """Each held-out video's error under these weights: Σ_j wᵀ M_j w."""
    total = 0
    for band, m in zip(bands, covariances, strict=True):
        w = np.array([band.get(estimate, 0.0) for estimate in m.estimates])
        total = total + np.einsum("k,nkl,l->n", w, m.per_video, w)
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1200)
    steps = parser.parse_args().steps
    seen = digits(2000, 0, "train")
    networks = by_scale({scale: train_view(scale, seen, steps) for scale in PLAN.scales})
    fits = []
    for seed in range(1, 4):
        full = digits(16, seed, "train").split(4)
        fits.append(fit_calibration(PLAN, networks, full, SIGMAS, torch.Generator().manual_seed(seed)))
    held_out = digits(64, 0, "test").split(4)
    truth = measure(PLAN, networks, held_out, SIGMAS, torch.Generator().manual_seed(0))
    for i, sigma in enumerate(SIGMAS):
        rules = {name: error(bands, truth[i]) for name, bands in uniform_rules(PLAN).items()}
        best = min(rules, key=lambda name: rules[name].mean())
        print(f"\nσ = {sigma:g}   " + "   ".join(f"{name}: {e.mean():.5f}" for name, e in rules.items()))
        for fit in fits:
            found = error(fit.weights[i], truth[i])
            change = (found - rules[best]) / rules[best].mean()
            interval = 1.96 * change.std(ddof=1) / len(change) ** 0.5
            share = f"{100 * change.mean():+.2f} % ± {100 * interval:.2f} %"
            print(f"  calibrated on 16: {found.mean():.5f}, {share} against {best}")


if __name__ == "__main__":
    main()
