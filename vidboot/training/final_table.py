"""The table at the end of a run: held-out error, untrained → trained, of every view, the base and the whole."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from rich.table import Table
from torch import Tensor

from vidboot.config import RunConfig
from vidboot.data.datasets import held_out_windows, mean_image
from vidboot.data.display import print_table
from vidboot.data.files import write_atomic
from vidboot.data.manifest import Shot
from vidboot.data.split import Split
from vidboot.errors import UserError
from vidboot.method.composition import Denoiser
from vidboot.method.denoising_error import denoising_errors
from vidboot.method.views import pool
from vidboot.model.video_model import VideoModel, residual_network, view_network

logger = logging.getLogger(__name__)
RESULTS_FILE = "results.json"


def untrained(config: RunConfig) -> VideoModel:
    """The same model before any training, composed by counting numbers."""
    torch.manual_seed(config.seed)
    views = {name: view_network(config, view).eval() for name, view in config.views.items()}
    if config.residual is None:
        return VideoModel(config, views)
    residual = residual_network(config).eval()
    residual.network.warm_start(views["clip"].network)
    return VideoModel(config, views, residual)


def report_results(model: VideoModel, split: Split, run_dir: Path) -> None:
    """Measure on the test shots, print the table and write it to the run folder. Errors are per pixel of each view.

    What no test shot is to be had for is left out.
    """
    config, device = model.config, model.device
    before = untrained(config).to(device)
    mean = mean_image(split.train)
    rows: dict[str, dict[str, object]] = {}
    for name, (pair, kind, num_frames, scale) in _measured(before, model).items():
        shots = [shot for shot in split.test if kind in shot.views]
        try:
            rows[name] = _row(pair, config, shots, num_frames, scale, mean, device)
        except UserError as error:
            logger.warning("%s is not measured: %s", name, error)
    write_atomic(
        run_dir / RESULTS_FILE, json.dumps({"sigmas": config.evaluation.sigmas, "rows": rows}, indent=2).encode()
    )
    print_table(_table(config.evaluation.sigmas, rows))


def _measured(before: VideoModel, after: VideoModel) -> dict[str, tuple[tuple[Denoiser, Denoiser], str, int, int]]:
    """Denoisers before and after training, with the kind of shots to measure them on, frames and low-res factor."""
    config = after.config
    whole = config.video.num_frames
    found = {
        name: (
            (before.views[name], after.views[name]),
            "clip" if scale == 1 else "low_res",
            view.num_frames if scale == 1 else whole,
            scale,
        )
        for (name, view), scale in zip(config.views.items(), config.plan.scales, strict=True)
    }
    found["base"] = (before.base, after.base), "full", whole, 1
    if config.residual is not None:
        found["base + residual"] = (before.full, after.full), "full", whole, 1
    return found


def _row(
    pair: tuple[Denoiser, Denoiser],
    config: RunConfig,
    shots: Sequence[Shot],
    num_frames: int,
    scale: int,
    mean: Float[Tensor, "C 1 H W"],
    device: torch.device,
) -> dict[str, object]:
    """Errors of the mean image, and of a denoiser before and after training, on held-out windows in natural range."""
    # Windows without a masked pixel: there all of the truth is known.
    videos, _ = held_out_windows(shots, num_frames, scale, config.evaluation.num_videos, clean=True)
    levels = [sigma / scale for sigma in config.evaluation.sigmas]
    trivial = ((videos - pool(mean[None], scale) / scale) ** 2).mean().item()
    errors = [denoising_errors(denoise, videos, levels, device=device).mean(1).tolist() for denoise in pair]
    return {"videos": len(videos), "mean_image": trivial, "untrained": errors[0], "trained": errors[1]}


def _table(sigmas: Sequence[float], rows: dict[str, dict[str, object]]) -> Table:
    table = Table(title="Held-out denoising error per pixel, untrained → trained (test shots; values in [-1, 1])")
    table.add_column("")
    table.add_column("mean image", justify="right")
    for sigma in sigmas:
        table.add_column(f"σ = {sigma:g}", justify="right")
    for name, row in rows.items():
        cells = [f"{a:.4f} → {b:.4f}" for a, b in zip(row["untrained"], row["trained"], strict=True)]
        table.add_row(name, f"{row['mean_image']:.4f}", *cells)
    return table
