"""The view network against its peers, at equal parameters. Run by hand, after `pip install -e '.[bench,dev]'`:

python tests/bench/bench_networks.py step [--rounds 5]       # time and memory of a training step, a few minutes
python tests/bench/bench_networks.py quality [--steps 300]   # held-out loss on moving digits, about 25 minutes

Peers: lucidrains' `Unet3D` (package video-diffusion-pytorch) and diffusers' `UNet3DConditionModel`, in the same EDM
preconditioning and loss. Times are processor seconds taken in turns (set OMP_NUM_THREADS=1), memory the peak above what
the process held before its first step, each network in a process of its own.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import trange

from vidboot.config import NoiseConfig
from vidboot.data.datasets import to_tensor
from vidboot.experiments.digits import digit_video
from vidboot.method.edm import Preconditioned, add_noise, loss_weight, squared_error
from vidboot.networks.unet import UNet

NOISE = NoiseConfig()
SIGMAS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0)
RATES = (1e-3, 3e-3)
STEP_SHAPE = (4, 3, 8, 32, 32)


class Lucidrains(nn.Module):
    """`Unet3D`, 2.0 M parameters."""

    def __init__(self) -> None:
        super().__init__()
        from video_diffusion_pytorch import Unet3D

        self.unet = Unet3D(dim=24, dim_mults=(1, 2, 4), channels=3)

    def forward(self, x: Tensor, c_noise: Tensor, *_: object) -> Tensor:
        return self.unet(x, c_noise * 1000)  # it embeds the 1,000 steps of a DDPM


class Diffusers(nn.Module):
    """`UNet3DConditionModel` without a text, 2.0 M parameters."""

    def __init__(self) -> None:
        super().__init__()
        from diffusers import UNet3DConditionModel

        self.unet = UNet3DConditionModel(
            in_channels=3,
            out_channels=3,
            down_block_types=("DownBlock3D", "DownBlock3D", "CrossAttnDownBlock3D"),
            up_block_types=("CrossAttnUpBlock3D", "UpBlock3D", "UpBlock3D"),
            block_out_channels=(16, 32, 64),
            layers_per_block=1,
            norm_num_groups=8,
            cross_attention_dim=8,
            attention_head_dim=16,
        )

    def forward(self, x: Tensor, c_noise: Tensor, *_: object) -> Tensor:
        return self.unet(x, c_noise * 1000, x.new_zeros(len(x), 1, 8)).sample


NETWORKS = {
    "vidboot": lambda: UNet(channels=24, multipliers=(1, 3, 5), blocks=2, head_channels=16),
    "lucidrains": Lucidrains,
    "diffusers": Diffusers,
}


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def train_step(denoise: nn.Module, optimizer: torch.optim.Optimizer, x0: Tensor, generator: torch.Generator) -> float:
    sigma = torch.tensor([NOISE.sample(generator) for _ in x0])
    x = add_noise(x0, sigma, torch.randn(x0.shape, generator=generator))
    loss = (loss_weight(sigma, NOISE.sigma_data) * squared_error(denoise(x, sigma), x0)).mean()
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(denoise.parameters(), 1.0)
    optimizer.step()
    return loss.item()


def digits(count: int, split: str) -> Tensor:
    """Clips of 8 frames, B C T H W."""
    return torch.stack([to_tensor(digit_video((7, n), num_frames=8, split=split)) for n in range(count)])


def quality(name: str, steps: int, rate: float) -> float:
    """Held-out EDM loss, mean over noise levels, after `steps` steps of 4 clips with a cosine to zero."""
    torch.manual_seed(0)
    denoise = Preconditioned(NETWORKS[name](), NOISE.sigma_data)
    optimizer = torch.optim.AdamW(denoise.parameters(), lr=rate, betas=(0.9, 0.99), weight_decay=0.0)
    warm = torch.optim.lr_scheduler.LinearLR(optimizer, 0.02, total_iters=50)
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator, clips = torch.Generator().manual_seed(1), digits(1024, "train")
    for _ in trange(steps, desc=f"{name} at {rate:g}"):
        chosen = torch.randint(len(clips), (4,), generator=generator)
        train_step(denoise, optimizer, clips[chosen], generator)
        warm.step()
        fall.step()
    held_out = digits(32, "test")
    with torch.no_grad():
        losses = []
        for sigma in SIGMAS:
            noise = torch.randn(held_out.shape, generator=torch.Generator().manual_seed(2))
            level = torch.full((len(held_out),), sigma)
            error = squared_error(denoise(held_out + sigma * noise, level), held_out)
            losses.append((loss_weight(level, NOISE.sigma_data) * error).mean().item())
    print(f"{name} at {rate:g}: {[round(loss, 4) for loss in losses]}", flush=True)
    return statistics.mean(losses)


def memory(name: str) -> int:
    """Bytes by which two training steps raise the process's peak."""

    def peak() -> int:
        status = Path("/proc/self/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) * 1024

    denoise = Preconditioned(NETWORKS[name](), NOISE.sigma_data)
    optimizer = torch.optim.AdamW(denoise.parameters())
    x0, generator = torch.zeros(STEP_SHAPE), torch.Generator()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts here
    before = peak()
    for _ in range(2):
        train_step(denoise, optimizer, x0, generator)
    return peak() - before


def step_costs(rounds: int) -> dict[str, tuple[float, int]]:
    """Processor seconds (median, taken in turns) and peak bytes of a training step."""
    made = {name: Preconditioned(make(), NOISE.sigma_data) for name, make in NETWORKS.items()}
    optimizers = {name: torch.optim.AdamW(network.parameters()) for name, network in made.items()}
    x0, generator = torch.zeros(STEP_SHAPE), torch.Generator()
    seconds: dict[str, list[float]] = {name: [] for name in made}
    for _ in trange(rounds + 1, desc="training steps"):
        for name, network in made.items():
            start = time.process_time()
            train_step(network, optimizers[name], x0, generator)
            seconds[name].append(time.process_time() - start)
    command = [sys.executable, __file__, "memory", "--network"]
    peaks = {
        name: int(json.loads(subprocess.run([*command, name], check=True, capture_output=True).stdout)) for name in made
    }
    return {name: (statistics.median(seconds[name][1:]), peaks[name]) for name in made}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["step", "quality", "memory"])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--network", choices=list(NETWORKS), help="the one whose memory to measure")
    arguments = parser.parse_args()
    if arguments.what == "memory":
        print(memory(arguments.network))
        return
    sizes = {name: parameters(make()) for name, make in NETWORKS.items()}
    if arguments.what == "step":
        costs = step_costs(arguments.rounds)
        fastest, leanest = (min(costs[n][i] for n in ("lucidrains", "diffusers")) for i in (0, 1))
        for name, (seconds, peak) in costs.items():
            print(
                f"{name:12} {sizes[name]:9,} parameters  {seconds:6.2f} s ({seconds / fastest:.2f} × the faster peer)"
                f"  {peak / 2**20:6.0f} MiB ({peak / leanest:.2f} × the leaner peer)"
            )
        return
    for name, size in sizes.items():
        best = min((quality(name, arguments.steps, rate), rate) for rate in RATES)
        print(f"{name:12} {size:9,} parameters  held-out loss {best[0]:.4f} (learning rate {best[1]:g})", flush=True)


if __name__ == "__main__":
    main()
