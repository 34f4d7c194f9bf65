"""The report of a run: tables on the console, and one HTML file with plots and videos."""

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from rich.table import Table
from torch import Tensor

from vidboot.data.display import mp4_address, print_table
from vidboot.data.files import write_atomic
from vidboot.evaluation.intervals import ENOUGH
from vidboot.pages import template

PAGE_FILE, PLOTS = "index.html", {"errors": "denoising.png", "autocorrelation": "autocorrelation.png"}
PLAYED = 8
"""How many videos of each kind the page plays."""
_TEMPLATE = template(Path(__file__).with_name("run_page.html"))


def print_tables(results: Mapping[str, Any]) -> None:
    """Print errors with their intervals, the statistics of the generated videos, and how they were measured."""
    errors = Table(
        title=f"Held-out denoising error per pixel, 95 % interval over {results['test_shots']} held-out shots"
    )
    errors.add_column("")
    for sigma in results["sigmas"]:
        errors.add_column(f"σ = {sigma:g}", justify="right")
    for name, row in results["denoising"].items():
        errors.add_row(name, *map(error_cell, row))
    print_table(errors)
    print_table(_statistics_table(results["statistics"]))
    for text in (*sentences(results), *results["protocol"].values()):
        print(text)


def interval_cell(found: Mapping[str, float | None] | None, digits: int = 3) -> str:
    """A value with its interval, if it has one; a dash if there is no value."""
    if found is None or found["mean"] is None:
        return "–"
    low, high = found["low"], found["high"]
    interval = "" if low is None or high is None else f" ({low:.{digits}f}–{high:.{digits}f})"
    return f"{found['mean']:.{digits}f}{interval}"


def error_cell(error: Mapping[str, float | None]) -> str:
    """A mean error with its interval, if it has one."""
    return interval_cell(error, 4)


def sentences(results: Mapping[str, Any]) -> list[str]:
    """In words, for each set of videos: what its distance says, or why it isn't shown, and whether it is copied."""
    distances = {name: row["frechet_distance"] for name, row in results["statistics"].items()}
    found = [f"Fréchet distance, {name}: {row['sentence']}" for name, row in distances.items() if row is not None]
    if not results["copies"]:
        return [*found, "Copies: not searched, because no training video could be read, or samples are too short."]
    return [*found, *(f"{name}: {row['sentence']}" for name, row in results["copies"].items())]


def _statistics_table(statistics: Mapping[str, Any]) -> Table:
    table, lags = Table(title="Generated videos"), list(next(iter(statistics.values()))["autocorrelation_error"])
    table.add_column("")
    for title in statistics_titles(lags):
        table.add_column(title, justify="right")
    for name, row in statistics.items():
        table.add_row(name, *statistics_cells(row, lags))
    return table


def statistics_titles(lags: list[str]) -> list[str]:
    """Titles of the statistics' columns."""
    correlations = (f"autocorr. error, lag {lag}" for lag in lags)
    return ["Fréchet distance", "real from real", "motion, × real", *correlations, "seam ratio", "drift"]


def statistics_cells(row: Mapping[str, Any], lags: list[str]) -> list[str]:
    """One row of the statistics as text; short videos lack the longer lags."""

    def text(x: float | None) -> str:
        return "–" if x is None else f"{x:.3f}"

    of_lag, drift, distance = row["autocorrelation_error"], row["drift"], row["frechet_distance"]
    floor = distance["floor"] if distance is not None and distance["shown"] else None
    intervals = [interval_cell(found) for found in (distance, floor, row["motion_ratio"])]
    numbers = [*(of_lag.get(lag) for lag in lags), row["seam_ratio"]]
    return [*intervals, *map(text, numbers), f"{text(drift['brightness'])} / {text(drift['contrast'])}"]


def write_page(
    output: Path,
    results: Mapping[str, Any],
    videos: Mapping[str, Float[Tensor, "N C T H W"]],
    pairs: Mapping[str, Float[Tensor, "2 C n H W"]],
    fps: float,
) -> Path:
    """Write the plots and the page into the output folder; returns the page's path.

    `pairs` are windows of samples and their nearest training windows.
    """
    plots = {"errors": plot_errors(results), "autocorrelation": plot_autocorrelation(results)}
    pictures = {}
    for name, figure in plots.items():
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=110)
        write_atomic(output / PLOTS[name], buffer.getvalue())
        pictures[name] = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    lags = list(next(iter(results["statistics"].values()))["autocorrelation_error"])
    page = _TEMPLATE.render(
        results,
        pictures=pictures,
        error_cell=error_cell,
        interval_cell=interval_cell,
        enough=ENOUGH,
        sentences=sentences(results),
        titles=statistics_titles(lags),
        cells={name: statistics_cells(row, lags) for name, row in results["statistics"].items()},
        players=_players(videos, fps),
        pairs=_players(pairs, fps),
    )
    write_atomic(output / PAGE_FILE, page.encode())
    return output / PAGE_FILE


def _players(videos: Mapping[str, Float[Tensor, "N C T H W"]], fps: float) -> dict[str, list[str]]:
    """Addresses of the first videos of each set."""
    return {name: [mp4_address(video, fps) for video in some[:PLAYED]] for name, some in videos.items()}


def plot_errors(results: Mapping[str, Any]) -> Figure:
    """Plot of the error against the noise level, with intervals."""
    figure, panel = _panel()
    sigmas = np.array(results["sigmas"])
    for number, (name, row) in enumerate(results["denoising"].items()):
        mean, low, high = (np.array([e[key] for e in row], float) for key in ("mean", "low", "high"))
        # Moved a little to the side, so that intervals don't hide one another.
        at = sigmas * 1.02**number
        half = np.where(np.isfinite(high), (mean - low, high - mean), 0)
        panel.errorbar(at, mean, half, fmt="o-", markersize=4, capsize=3, linewidth=1, label=name)
    panel.set(xscale="log", yscale="log", xlabel="σ", ylabel="held-out error per pixel")
    panel.legend(frameon=False)
    return figure


def plot_autocorrelation(results: Mapping[str, Any]) -> Figure:
    """Plot of the frames' autocorrelation against the lag, for real and generated videos."""
    figure, panel = _panel()
    for name, row in results["statistics"].items():
        lags = [int(lag) for lag in row["autocorrelation"]]
        panel.plot(lags, np.array([*row["autocorrelation"].values()], float), "o-", markersize=4, label=name)
    panel.set(xlabel="lag, frames", ylabel="autocorrelation of frames")
    panel.legend(frameon=False)
    return figure


def _panel() -> tuple[Figure, Any]:
    with matplotlib.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(5, 3.4), layout="constrained")
        return figure, figure.subplots()
