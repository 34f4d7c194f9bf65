"""What a GPU makes of the networks: agreement with the CPU, sizes that kernels refuse, attention, and training steps.
Run by hand on a machine with an NVIDIA GPU (or with --device cpu --tiny, to see that it runs):

python tests/bench/bench_gpu.py [--device cuda] [--compile] [--only parity limits attention steps]

Times are medians of steps after a warm-up, with nothing else on the card; TFLOP/s are those that the layers need, as
PyTorch's counter has them, without what is computed again. Each line is printed as soon as it is known.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from vidboot.config import RunConfig
from vidboot.generation.sampling import generate_videos
from vidboot.method.edm import add_noise, denoising_loss
from vidboot.method.network_inputs import NetworkInputs
from vidboot.model.video_model import VideoModel, residual_network, view_network
from vidboot.networks.attention import attention
from vidboot.networks.unet import upsample
from vidboot.settings import load_settings
from vidboot.training.computing import ComputedNetwork
from vidboot.training.estimate import training_pass
from vidboot.training.residual_stage import ResidualStage
from vidboot.training.view_stage import view_stages

TINY = ["clip.network={channels: 8, multipliers: [1, 2]}"]


SHAPES = {
    "temporal, one_gpu, 16 frames": (1024, 8, 16, True),
    "temporal, one_gpu, 64 frames": (1024, 8, 64, True),
    "temporal, long_video, 128 frames": (1024, 24, 128, True),
    "temporal, the base's windows": (16384, 24, 16, True),
    "spatial, one_gpu": (16, 8, 1024, False),
    "spatial, long_video": (128, 24, 1024, False),
}
"""Batch, heads of 16 channels, length of the sequence, and whether there is a learnt bias."""


def say(section: str, name: str, **values: Any) -> None:
    """One result, on one line."""
    shown = "  ".join(
        f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}" for key, value in values.items()
    )
    print(f"{section:10} {name:48} {shown}", flush=True)


def seconds(call: Callable[[], object], device: str, rounds: int = 7) -> float:
    """Median seconds of a call, the device's work included."""
    taken = []
    for number in range(rounds + 2):
        start = time.perf_counter()
        call()
        if device == "cuda":
            torch.cuda.synchronize()
        taken += [time.perf_counter() - start] if number > 1 else []
    return statistics.median(taken)


def parity(device: str, tiny: bool) -> None:
    """Largest difference between CPU and device over the largest value, float32 without TF32; and that of bf16."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    config = load_settings(RunConfig, "configs/quickstart.yaml", TINY if tiny else [])
    torch.manual_seed(0)
    networks = {name: view_network(config, view) for name, view in config.views.items()}
    networks["residual"] = residual_network(config)
    for parameter in (p for network in networks.values() for p in network.eval().requires_grad_(False).parameters()):
        parameter.add_(0.05 * torch.randn_like(parameter))
    residual = networks.pop("residual")
    model = VideoModel(config, networks, residual)
    parts: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "clip network": model.views["clip"],
        "residual network": lambda x, sigma: residual(x, sigma, inputs=NetworkInputs(base=x)),
        "base": model.base,
        "base + residual": model.full,
        "beyond the training length": model.denoise,
        "a generated video": lambda x, sigma: generate_videos(model, 32, [0], steps=4),
    }
    for name, denoise in parts.items():
        frames = 45 if name.startswith("beyond") else 32
        x, sigma = torch.randn(1, 3, frames, 36, 64), torch.tensor([1.5])
        on_cpu = denoise(x, sigma)
        model.to(device)
        found = denoise(x.to(device), sigma.to(device)).cpu()
        with torch.autocast(device, torch.bfloat16):
            rounded = denoise(x.to(device), sigma.to(device)).float().cpu()
        model.to("cpu")
        largest = on_cpu.abs().max()
        exact, in_bf16 = (float((y - on_cpu).abs().max() / largest) for y in (found, rounded))
        say("parity", name, fp32=exact, bf16=in_bf16)


def limits(device: str, tiny: bool) -> None:
    """Sizes beyond what 32 bits, or a grid's second dimension, can count: forward and backward, in bf16."""
    frames, items = (2, 64) if tiny else (128, 70_000)
    cases: dict[str, Callable[[], Tensor]] = {
        f"up-sampling to {frames}×256×256×256": lambda: upsample(
            torch.randn(frames, 256, 128, 128, device=device, dtype=torch.bfloat16, requires_grad=True)
        ),
        f"attention, batch {items}": lambda: _attention(device, items, 16, 4, 16, biased=False),
        f"attention with a bias, batch {items}": lambda: _attention(device, items, 16, 4, 16, biased=True),
    }
    for name, make in cases.items():
        try:
            make().sum().backward()
            say("limits", name, ok=True)
        except RuntimeError as error:
            say("limits", name, ok=False, error=str(error).splitlines()[0][:120])


def _attention(device: str, items: int, length: int, heads: int, channels: int, biased: bool) -> Tensor:
    q = torch.randn(items, heads, length, channels, device=device, dtype=torch.bfloat16, requires_grad=True)
    bias = torch.randn(heads, length, length, device=device, requires_grad=True) if biased else None
    return attention(q, q, q, bias)


def attention_times(device: str, tiny: bool) -> None:
    """Milliseconds of forward and backward: torch's kernel by the channels of a head, its plain formula, xformers'."""
    for name, (items, heads, length, biased) in SHAPES.items():
        count, times = 8 if tiny else items, {}
        ours = partial(_attention_pass, device, count, length, heads, 16, biased)
        times["heads_of_16"] = seconds(ours, device)
        times["heads_of_64"] = seconds(partial(_attention_pass, device, count, length, heads // 4, 64, biased), device)
        if length < 1024:
            with sdpa_kernel(SDPBackend.MATH):
                times["plain_formula"] = seconds(ours, device)
        try:
            times["xformers"] = seconds(partial(_xformers_pass, device, count, length, heads), device)
        except (ImportError, NotImplementedError) as error:
            say("attention", "xformers", why_not=str(error).splitlines()[0][:100])
        say("attention", name, **{how: 1e3 * taken for how, taken in times.items()})


def _attention_pass(device: str, items: int, length: int, heads: int, channels: int, biased: bool) -> None:
    _attention(device, items, length, heads, channels, biased).sum().backward()


def _xformers_pass(device: str, items: int, length: int, heads: int) -> None:
    from xformers.ops import memory_efficient_attention

    q = torch.randn(items, length, heads, 16, device=device, dtype=torch.bfloat16, requires_grad=True)
    memory_efficient_attention(q, q, q).sum().backward()


def steps(device: str, tiny: bool, compiled: bool) -> None:
    """Training steps of shipped configurations, computed in bf16 as in training: forward, backward and AdamW."""
    cases = [("one_gpu", 16, 1), ("one_gpu", 16, 16), ("one_gpu", 64, 1), ("long_video", 16, 8), ("long_video", 128, 1)]
    for name, frames, batch in [("quickstart", 8, 1)] if tiny else cases:
        config = load_settings(RunConfig, f"configs/{name}.yaml", TINY if tiny else [])
        stages = [
            view_stages(config)[0],
            *([] if config.residual is None else [ResidualStage(config, config.residual)]),
        ]
        for stage in stages if frames == config.video.num_frames else stages[:1]:
            shape = (batch, 3, frames, config.video.height, config.video.width)
            ms, peak = _step(stage, shape, device, compiled)
            flops = training_pass(stage, batch, frames)[1]
            say(
                "steps",
                f"{name} {stage.name}, {batch} × {frames} frames",
                ms=1e3 * ms,
                tflop_s=flops / ms / 1e12,
                peak_gb=peak,
            )


def _step(stage: Any, shape: tuple[int, ...], device: str, compiled: bool) -> tuple[float, float]:
    network = stage.network().to(device).train()
    network.network.recompute_activations(stage.optimization.activation_checkpointing)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=device == "cuda")
    denoise = ComputedNetwork(network, bf16=True)
    if compiled:
        denoise.compile_for(shape[2])
    x0, sigma = torch.randn(shape, device=device).clamp(-1, 1), torch.ones(shape[0], device=device)
    everything = torch.ones(shape[0], 1, *shape[2:], dtype=torch.bool, device=device)
    inputs = NetworkInputs(observed_mask=everything)
    inputs = replace(inputs, base=x0) if stage.name == "residual" else inputs

    def step() -> None:
        x0_hat = denoise(add_noise(x0, sigma, torch.randn_like(x0)), sigma, inputs=inputs)
        denoising_loss(x0_hat, x0, sigma, 0.5, everything, everything).mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    taken = seconds(step, device)
    return taken, torch.cuda.max_memory_allocated() / 1e9 if device == "cuda" else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--tiny", action="store_true", help="small sizes, to see that it runs")
    parser.add_argument("--compile", action="store_true", help="training steps with torch.compile")
    parser.add_argument("--only", nargs="+", default=["parity", "limits", "attention", "steps"])
    a = parser.parse_args()
    if a.device == "cuda":
        say("machine", torch.cuda.get_device_name(), torch=torch.__version__, cuda=torch.version.cuda)
    parts = {
        "parity": lambda: parity(a.device, a.tiny),
        "limits": lambda: limits(a.device, a.tiny),
        "attention": lambda: attention_times(a.device, a.tiny),
        "steps": lambda: steps(a.device, a.tiny, a.compile),
    }
    for name in a.only:
        parts[name]()


if __name__ == "__main__":
    main()
