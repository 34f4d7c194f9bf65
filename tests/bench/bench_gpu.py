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
from vidboot.method.composition import ComposedDenoiser
from vidboot.method.edm import add_noise, denoising_loss
from vidboot.method.network_inputs import NetworkInputs
from vidboot.method.regions import region_graph, windows
from vidboot.networks.attention import attention
from vidboot.networks.unet import upsample
from vidboot.settings import load_settings
from vidboot.training.residual_stage import ResidualStage
from vidboot.training.view_stage import ViewStage, view_stages

TINY = ["clip.network={channels: 8, multipliers: [1, 2]}", "low_res=[]", "clip.full_length=null", "residual=null"]


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
    network = ViewStage(config, config.clip).network().eval().requires_grad_(False)
    for parameter in network.parameters():
        parameter.add_(0.05 * torch.randn_like(parameter))
    x, sigma = torch.randn(1, 3, 32, 36, 64), torch.tensor([1.5])
    windowed = ComposedDenoiser(region_graph(windows(32, 8, 4)), lambda view: network)
    for name, denoise in {"clip network": network, "windows − overlaps": windowed}.items():
        on_cpu = denoise(x, sigma)
        network.to(device)
        found = denoise(x.to(device), sigma.to(device)).cpu()
        with torch.autocast(device, torch.bfloat16):
            rounded = denoise(x.to(device), sigma.to(device)).float().cpu()
        network.to("cpu")
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
    """Forward and backward of temporal attention, by the channels of a head, against the plain formula."""
    shapes = {"one_gpu, 64 frames": (4096, 64, 128), "long_video, 128 frames": (1024, 128, 512)}
    for name, (items, length, channels) in shapes.items():
        items = 8 if tiny else items
        for head in (16, 64):
            run = partial(_attention_pass, device, items, length, channels // head, head)
            with sdpa_kernel(SDPBackend.MATH):
                plain = 1e3 * seconds(run, device)
            say("attention", f"{name}, heads of {head}", ms=1e3 * seconds(run, device), plain_formula_ms=plain)


def _attention_pass(device: str, items: int, length: int, heads: int, channels: int) -> None:
    _attention(device, items, length, heads, channels, biased=True).sum().backward()


def steps(device: str, tiny: bool, compiled: bool) -> None:
    """Training steps of shipped configurations in bf16: forward, backward and AdamW."""
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
            flops = stage.cost(frames).flops * batch / stage.optimization.batch_size
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
    denoise = torch.compile(network) if compiled else network
    x0, sigma = torch.randn(shape, device=device).clamp(-1, 1), torch.ones(shape[0], device=device)
    everything = torch.ones(shape[0], 1, *shape[2:], dtype=torch.bool, device=device)
    inputs = NetworkInputs(observed_mask=everything)
    inputs = replace(inputs, base=x0) if stage.name == "residual" else inputs

    def step() -> None:
        with torch.autocast(device, torch.bfloat16):
            x0_hat = denoise(add_noise(x0, sigma, torch.randn_like(x0)), sigma, inputs=inputs)
        denoising_loss(x0_hat.float(), x0, sigma, 0.5, everything, everything).mean().backward()
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
