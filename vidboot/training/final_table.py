"""The table at the end of a run: held-out error before and after training, of every view, the base and the whole."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from rich.table import Table
from torch import Tensor

from vidboot.config import ResidualForm, RunConfig
from vidboot.data.datasets import held_out_windows, mean_image
from vidboot.data.display import print_table
from vidboot.data.files import write_atomic
from vidboot.data.split import Split
from vidboot.distributed import rank, share_of, sum_over_ranks
from vidboot.errors import UserError
from vidboot.method.composition import Denoiser
from vidboot.method.denoising_error import denoising_errors
from vidboot.method.views import pool
from vidboot.model.run_folder import load_form
from vidboot.model.video_model import VideoModel, view_network
from vidboot.seeds import torch_seed
from vidboot.training.networks import warm_started_residual
from vidboot.training.shots import supplying
from vidboot.training.view_stage import view_stages

logger = logging.getLogger(__name__)
RESULTS_FILE = "results.json"


@dataclass(frozen=True)
class Part:
    """A part of the model that gets a row, and the kind of held-out windows that it is measured on."""

    untrained: Denoiser
    trained: Denoiser
    supplied_as: str
    """The manifest's word for the view that a shot must supply."""
    num_frames: int
    scale: int = 1
    """Low-res factor."""


@dataclass(frozen=True)
class Row:
    """Errors of a part on held-out windows; those of the denoisers at each noise level."""

    videos: int
    """Number of windows."""
    mean_image: float
    """Error of predicting the mean frame of the training videos: every denoiser must beat it."""
    untrained: list[float]
    trained: list[float]


def untrained(config: RunConfig, form: ResidualForm = "reads_base") -> VideoModel:
    """The same model before any training, composed by counting numbers; `form` is that of its residual."""
    torch.manual_seed(torch_seed(config.seed))
    views = {name: view_network(config, view).eval() for name, view in config.views.items()}
    if config.residual is None:
        return VideoModel(config, views)
    return VideoModel(config, views, warm_started_residual(config, views["clip"], form).eval())


def report_results(model: VideoModel, split: Split, run_dir: Path) -> None:
    """Measure on the test shots, print the table and write it to the run folder; all processes call it and share the
    videos. Errors are per pixel of each view.

    A part that no test shot can measure is left out, with a warning in the log.
    """
    config = model.config
    mean = mean_image(split.train)
    rows: dict[str, Row] = {}
    form = None if config.residual is None else load_form(run_dir)
    before = untrained(config, form.network if form else "reads_base").to(model.device).frozen()
    for name, part in _parts(before, model.frozen()).items():
        try:
            rows[name] = _measure(part, config, split, mean, model.device)
        except UserError as error:
            logger.warning("%s is not measured: %s", name, error)
    if rank() != 0:
        return
    results = {"sigmas": config.evaluation.sigmas, "rows": {name: asdict(row) for name, row in rows.items()}}
    results |= {"form": asdict(form)} if form else {}
    write_atomic(run_dir / RESULTS_FILE, json.dumps(results, indent=2).encode())
    print_table(_table(config.evaluation.sigmas, rows))
    if form is not None:
        print(f"base + residual: {form}")


def _parts(before: VideoModel, after: VideoModel) -> dict[str, Part]:
    """The views in order, the base, and base + residual if the run has a residual."""
    config = after.config
    length = config.video.num_frames
    parts = {
        view.name: Part(before.views[view.name], after.views[view.name], view.supplied_as, view.num_frames, view.scale)
        for view in view_stages(config)
    }
    parts["base"] = Part(before.base, after.base, "full", length)
    if config.residual is not None:
        parts["base + residual"] = Part(before.full, after.full, "full", length)
    return parts


def _measure(part: Part, config: RunConfig, split: Split, mean: Float[Tensor, "C 1 H W"], device: torch.device) -> Row:
    """Errors on held-out windows of the test shots, in the view's natural range. Raises `UserError` without any."""
    shots = supplying(split.test, part.supplied_as)
    # Windows without a masked pixel, because under a mask there is no truth to compare with.
    videos, _ = held_out_windows(shots, part.num_frames, part.scale, config.evaluation.num_videos, clean=True)
    levels = [sigma / part.scale for sigma in config.evaluation.sigmas]
    trivial = ((videos - pool(mean[None], part.scale) / part.scale) ** 2).mean().item()
    before, after = (
        sum_over_ranks(denoising_errors(denoise, videos, levels, only=share_of(len(videos)), device=device).to(device))
        .mean(1)
        .tolist()
        for denoise in (part.untrained, part.trained)
    )
    return Row(len(videos), trivial, before, after)


def _table(sigmas: Sequence[float], rows: Mapping[str, Row]) -> Table:
    table = Table(title="Held-out denoising error per pixel, untrained → trained (test shots; values in [-1, 1])")
    table.add_column("")
    table.add_column("mean image", justify="right")
    for sigma in sigmas:
        table.add_column(f"σ = {sigma:g}", justify="right")
    for name, row in rows.items():
        cells = [f"{a:.4f} → {b:.4f}" for a, b in zip(row.untrained, row.trained, strict=True)]
        table.add_row(name, f"{row.mean_image:.4f}", *cells)
    return table
