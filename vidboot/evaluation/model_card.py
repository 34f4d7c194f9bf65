"""The model card of a run: what it was trained on, how well it does on what it has not seen, how to load it."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from huggingface_hub import ModelCardData

from vidboot.config import RunConfig
from vidboot.data.files import write_atomic
from vidboot.data.manifest import VERDICTS, VIEWS, Manifest, load_manifest
from vidboot.errors import UserError
from vidboot.evaluation.run_page import error_cell
from vidboot.evaluation.run_report import RESULTS_FILE as REPORT_FILE
from vidboot.generation.sampling import generate
from vidboot.generation.writers import GIF_FPS, open_output
from vidboot.model.video_model import VideoModel
from vidboot.training.final_table import RESULTS_FILE

CARD_FILE, GIFS = "README.md", ("sample.gif", "longer.gif")
LONGER = 2
"""The second sample has so many times the frames of training: enough for several windows."""
_ENOUGH = 96
"""Least height of the pictures in the card, pixels: smaller ones can't be made out."""
_TEMPLATE = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent), trim_blocks=True, undefined=jinja2.StrictUndefined
).get_template("model_card.md")


def write_card(folder: Path, run: Path, model: VideoModel, name: str, licence: str | None) -> None:
    """Write the card and its two pictures into a folder; `name` is the repository's, `licence` one of the hub's names.

    What the run folder doesn't know, because it was not measured or the data are elsewhere, is said so.
    """
    config = model.config
    longer = LONGER * config.video.num_frames
    for gif, frames in zip(GIFS, (config.video.num_frames, longer), strict=True):
        _write_gif(folder / gif, model, frames)
    text = _TEMPLATE.render(
        metadata=_metadata(licence),
        name=name,
        config=config,
        fps=model.fps,
        longer=longer,
        gifs=GIFS,
        licence=licence,
        data=_data(config),
        verdicts=VERDICTS,
        networks=_networks(config),
        held_out=_held_out(run),
    )
    write_atomic(folder / CARD_FILE, text.encode())


def _metadata(licence: str | None) -> str:
    """The head of the card, which the hub reads."""
    tags = ["video-generation", "video-inpainting", "diffusion"]
    card = ModelCardData(license=licence, library_name="vidboot", tags=tags)
    return f"---\n{card.to_yaml()}\n---"


def _write_gif(path: Path, model: VideoModel, frames: int) -> None:
    """A sample as a GIF; small pictures are enlarged by a whole number, pixel by pixel."""
    video = generate(model, frames, seed=0)
    times = -(-_ENOUGH // video.shape[2])
    large = video.repeat_interleave(times, 2).repeat_interleave(times, 3)
    with tempfile.TemporaryDirectory() as work:
        output = open_output(path, Path(work), frames, min(model.fps, GIF_FPS))
        output.append(large)
        output.finish()


def _data(config: RunConfig) -> dict[str, Any]:
    """A sentence about the data, and for each view its shots, hours and shots of each verdict."""
    try:
        manifest = load_manifest(config.data.manifest)
    except UserError:
        return {"sentence": "The data were not on the machine that published the model.", "rows": []}
    share = f"{config.data.holdout:.0%}".replace("%", " %")
    sentence = f"{len(manifest)} shots; about {share} of those for full videos are held out of training and tuning."
    return {"sentence": sentence, "rows": [_row(manifest, view) for view in VIEWS if manifest.supplying(view)]}


def _row(manifest: Manifest, view: str) -> list[str]:
    shots = manifest.supplying(view)
    hours = sum(shot.num_frames / shot.fps for shot in shots) / 3600
    return [view, str(len(shots)), f"{hours:.3f}", *(str(sum(s.verdict == v for s in shots)) for v in VERDICTS)]


def _networks(config: RunConfig) -> list[list[str]]:
    video = config.video
    rows = [["clip", str(config.clip.num_frames), f"{video.width}×{video.height}", str(config.clip.train.steps)]]
    for view in config.low_res:
        size = f"{video.width // view.scale}×{video.height // view.scale}"
        rows.append([f"low-res, 1/{view.scale}", str(video.num_frames), size, str(view.train.steps)])
    if config.residual is not None:
        steps = str(config.residual.train.steps)
        rows.append(["residual", str(video.num_frames), f"{video.width}×{video.height}", steps])
    return rows


def _held_out(run: Path) -> dict[str, Any]:
    """The held-out table with intervals, of the run's report; else the one that training wrote in the end."""
    if (report := _read(run / "evaluation" / REPORT_FILE)) is not None:
        sentence = (
            f"Mean squared error per pixel of denoising, values in [-1, 1], and its 95 % interval over "
            f"{report['test_shots']} held-out shots, by `tools/evaluate.py run`."
        )
        rows = [[name, *map(error_cell, row)] for name, row in report["denoising"].items()]
        return {"sentence": sentence, "sigmas": report["sigmas"], "rows": rows}
    if (table := _read(run / RESULTS_FILE)) is None:
        return {"sentence": "It was not measured.", "sigmas": [], "rows": []}
    sentence = (
        "Mean squared error per pixel of denoising on held-out shots, values in [-1, 1], untrained → trained; without "
        "intervals, which `tools/evaluate.py run` gives. Each view is measured in its own range."
    )
    return {
        "sentence": sentence,
        "sigmas": table["sigmas"],
        "rows": [
            [name, *(f"{a:.4f} → {b:.4f}" for a, b in zip(row["untrained"], row["trained"], strict=True))]
            for name, row in table["rows"].items()
        ],
    }


def _read(path: Path) -> Mapping[str, Any] | None:
    """The values of a JSON file that the run's commands wrote; None if it isn't there."""
    return json.loads(path.read_text()) if path.is_file() else None
