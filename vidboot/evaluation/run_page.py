"""The report of a run: tables on the console, and one HTML file with plots and videos."""

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from rich.table import Table
from torch import Tensor

from vidboot.data.display import mp4_address, print_table
from vidboot.data.files import write_atomic

PAGE_FILE, PLOTS = "index.html", {"errors": "denoising.png", "autocorrelation": "autocorrelation.png"}
PLAYED = 8
"""How many videos of each kind the page plays."""


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
    for text in results["protocol"].values():
        print(text)


def error_cell(error: Mapping[str, float | None]) -> str:
    """A mean with its interval, if it has one."""
    interval = f" ({error['low']:.4f}–{error['high']:.4f})" if error["low"] is not None else ""
    return f"{error['mean']:.4f}{interval}"


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
    return ["Fréchet distance", *(f"autocorr. error, lag {lag}" for lag in lags), "seam ratio", "drift"]


def statistics_cells(row: Mapping[str, Any], lags: list[str]) -> list[str]:
    """One row of the statistics as text; short videos lack the longer lags."""

    def text(x: float | None) -> str:
        return "–" if x is None else f"{x:.3f}"

    of_lag, drift = row["autocorrelation_error"], row["drift"]
    numbers = [row["frechet_distance"], *(of_lag.get(lag) for lag in lags), row["seam_ratio"]]
    return [*map(text, numbers), f"{text(drift['brightness'])} / {text(drift['contrast'])}"]


def write_page(
    output: Path, results: Mapping[str, Any], videos: Mapping[str, Float[Tensor, "N C T H W"]], fps: float
) -> Path:
    """Write the plots and the page into the output folder; returns the page's path."""
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
        titles=statistics_titles(lags),
        cells={name: statistics_cells(row, lags) for name, row in results["statistics"].items()},
        players={name: [mp4_address(video, fps) for video in some[:PLAYED]] for name, some in videos.items()},
    )
    write_atomic(output / PAGE_FILE, page.encode())
    return output / PAGE_FILE


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


_TEMPLATE = jinja2.Environment(autoescape=True, trim_blocks=True).from_string("""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>vidboot: evaluation of {{ run }}</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: 1rem 0 } th, td { padding: .25rem .8rem; text-align: right }
th { border-bottom: 1px solid #888; font-weight: 600 } td:first-child { text-align: left }
video { width: 8rem; margin: 0 .3rem .3rem 0; image-rendering: pixelated }
</style>
<h1>Evaluation of {{ run }}</h1>
<h2>Samples beside real videos</h2>
{% for name, addresses in players.items() %}<h3>{{ name }}</h3>
<p>{% for address in addresses %}<video src="{{ address }}" autoplay loop muted playsinline></video>
{% endfor %}</p>
{% endfor %}
<h2>Held-out denoising error</h2>
<p>Mean squared error per pixel for values in [-1, 1], with the 95 % confidence interval (Student) over
the means of {{ test_shots }} held-out shots; the noise is the same for every row.</p>
<table><tr><th></th>{% for sigma in sigmas %}<th>σ = {{ sigma }}</th>{% endfor %}</tr>
{% for name, row in denoising.items() %}<tr><td>{{ name }}</td>{% for e in row %}
<td>{{ error_cell(e) }}</td>{% endfor %}</tr>
{% endfor %}</table>
<img src="{{ pictures.errors }}" alt="Error against noise level">
<h2>Generated videos</h2>
<p>{{ protocol.generated }}.</p>
{% for name, text in protocol.items() if name not in ("features", "generated") %}<p>{{ text }}.</p>
{% endfor %}
<p>Fréchet distance: {{ protocol.features }}.</p>
<p>Autocorrelation: of frames less the mean held-out frame. Seam ratio: mean square change from frame to frame at the
borders of windows, over that elsewhere (1 = no seams). Drift: change from the first to the last quarter, of brightness
/ of contrast.</p>
<table><tr><th></th>{% for title in titles %}<th>{{ title }}</th>{% endfor %}</tr>
{% for name, row in cells.items() %}<tr><td>{{ name }}</td>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</table>
<img src="{{ pictures.autocorrelation }}" alt="Autocorrelation against lag">
</html>
""")
