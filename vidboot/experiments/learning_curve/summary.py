"""The results of a learning curve: rows, data-efficiency ratio, table and plot."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from rich.table import Table

from vidboot.data.display import print_table
from vidboot.data.files import atomic_path, write_atomic
from vidboot.experiments.gaussian.experiments import videos_needed
from vidboot.experiments.learning_curve.config import CurveConfig
from vidboot.experiments.learning_curve.page import write_page
from vidboot.experiments.learning_curve.rows import (
    AMBIENT,
    AVERAGED,
    BASE,
    COUNTED,
    DIRECT,
    FINE_TUNED,
    FINE_TUNED_GATED,
    FORCING,
    JOINED,
    JOINT,
    LIKE_RESIDUAL,
    MSM,
    RIVALS,
    SPECIAL_CASES,
    UNTUNED,
    WHOLE,
)

CURVE_FILE, PLOT_FILE = "learning_curve.json", "learning_curve.png"
ONE_NETWORK = (DIRECT, JOINT, AMBIENT, FORCING)
CLIP_NETWORK = (UNTUNED, FINE_TUNED, FINE_TUNED_GATED, LIKE_RESIDUAL)
COMPOSED = (AVERAGED, MSM, JOINED)
ORDER = (*ONE_NETWORK, *CLIP_NETWORK, *COMPOSED, COUNTED, BASE, *SPECIAL_CASES.values(), WHOLE)
STYLES = {
    DIRECT: "C3o-",
    JOINT: "C1o-",
    AMBIENT: "C5o-",
    FORCING: "C6o-",
    FINE_TUNED: "C2o--",
    FINE_TUNED_GATED: "C2o-",
    LIKE_RESIDUAL: "C4o-",
    BASE: "C0o--",
    WHOLE: "C0o-",
}
FLAT = {UNTUNED: "C2:", AVERAGED: "0.6", MSM: "C8:", JOINED: "0.3", COUNTED: "C0:"}
PLACES: Mapping[str, bool | Mapping[str, bool | set[str]]] = {
    "output": True,
    "quick": True,
    "run": {"run_dir": True, "data": {"manifest"}},
}
"""Settings that are paths, and `quick`: the results don't depend on them."""

Errors = dict[str, dict[int, list[float]]]
Ratios = dict[int, tuple[float, str]]
"""By number of full videos: a ratio, and whether it is exact (`=`) or a bound (`>`, `<`)."""


def write_curve(config: CurveConfig, results: Sequence[Mapping[str, Any]]) -> None:
    """Write JSON, plot and page into the output folder and print the tables, from the results that there are.

    `results` are the number of full videos (`count`), seed and rows of each task.
    """
    rows = [
        {"row": name, "count": found["count"], "seed": found["seed"], **row}
        for found in results
        for name, row in found["rows"].items()
    ]
    errors = errors_by_row(rows)
    ratios = data_efficiency_ratio(errors, config.counts)
    summary = {
        "data_efficiency_ratio": {str(n): ratio for n, (ratio, _) in ratios.items()},
        "data_efficiency_ratio_bound": {str(n): bound for n, (_, bound) in ratios.items()},
        "data_efficiency_ratio_by_rival": {
            name: {str(n): f"{bound}{ratio:.3g}" for n, (ratio, bound) in of_rival.items()}
            for name, of_rival in ratios_by_rival(errors, config.counts).items()
        },
        "counts": config.counts,
        "seeds": config.seeds,
        "sigmas": config.run.evaluation.sigmas,
        "settings": config.model_dump(mode="json", exclude=PLACES),
        "rows": rows,
    }
    write_atomic(config.output / CURVE_FILE, json.dumps(summary, indent=1, ensure_ascii=False).encode())
    with atomic_path(config.output / PLOT_FILE) as partial:
        plot(errors, config.counts).savefig(partial, dpi=120)
    shown = [table(errors, config.counts, ratios)]
    if any("autocorrelation_error" in row for row in rows):
        shown.append(correlation_table(rows))
    for one in shown:
        print_table(one)
    print(f"page: {write_page(config, PLOT_FILE, *shown)}")


def errors_by_row(rows: Sequence[Mapping[str, Any]]) -> Errors:
    """Errors of the seeds, by method and number of full videos."""
    errors: Errors = {WHOLE: {}}
    for row in rows:
        errors.setdefault(row["row"], {}).setdefault(row["count"], []).append(row["error"])
    return errors


def data_efficiency_ratio(errors: Errors, counts: Sequence[int]) -> Ratios:
    """For each n: how many full videos the best rival needs for the error that base + residual has with n, over n.

    The best rival's error at a count is the least of the rivals' means over seeds.
    """
    means = [_filled(_means(errors[name], counts), counts) for name in RIVALS if name in errors]
    measured = {n: [mean[n] for mean in means if n in mean] for n in counts}
    return _ratios({n: min(of_count) for n, of_count in measured.items() if of_count}, errors)


def ratios_by_rival(errors: Errors, counts: Sequence[int]) -> dict[str, Ratios]:
    """The same against each rival alone that learns from full videos."""
    learning = [name for name in RIVALS if name in errors and set(errors[name]) != {0}]
    return {name: _ratios(_means(errors[name], counts), errors) for name in learning}


def _means(of_count: dict[int, list[float]], counts: Sequence[int]) -> dict[int, float]:
    """Mean error over seeds at each count; a method that needs no full video (count 0) has the same at all of them."""
    found = {n: of_count.get(n) or of_count.get(0) for n in counts}
    return {n: float(np.mean(values)) for n, values in found.items() if values}


def _filled(mean: dict[int, float], counts: Sequence[int]) -> dict[int, float]:
    """The mean errors, interpolated in log–log between measured counts: a missing count must not help the method."""
    measured, errors = np.log(list(mean)), np.log(list(mean.values()))
    within = [n for n in counts if mean and min(mean) <= n <= max(mean)]
    return {n: mean.get(n) or float(np.exp(np.interp(np.log(n), measured, errors))) for n in within}


def _ratios(rival: dict[int, float], errors: Errors) -> Ratios:
    """The ratios for a rival with these errors."""
    ratios = {}
    for n, whole in sorted(errors[WHOLE].items() if rival else ()):
        needed, bound = videos_needed(list(rival), list(rival.values()), float(np.mean(whole)))
        ratios[n] = (needed / n, bound)
    return ratios


def table(errors: Errors, counts: Sequence[int], ratios: Ratios) -> Table:
    """A line for each method: its mean over seeds, and the standard deviation if there are several."""
    lines = Table(title="Held-out denoising error (EDM-weighted) against the number of full videos")
    lines.add_column("")
    for n in counts:
        lines.add_column(f"{n}", justify="right")
    for group in (ONE_NETWORK, CLIP_NETWORK, COMPOSED, ORDER[ORDER.index(COUNTED) :]):
        for name in (name for name in group if name in errors):
            lines.add_row(name, *(_cell(errors[name].get(n) or errors[name].get(0, [])) for n in counts))
        lines.add_section()
    lines.add_row("data-efficiency ratio", *_cells(ratios, counts))
    for name, of_rival in ratios_by_rival(errors, counts).items():
        lines.add_row(f"  against {name.removeprefix('… ')} alone", *_cells(of_rival, counts))
    return lines


def _cells(ratios: Ratios, counts: Sequence[int]) -> list[str]:
    """A cell for each count; a dash if it is not measured yet."""
    found = {n: f"{'' if bound == '=' else bound + ' '}{ratio:.2g}" for n, (ratio, bound) in ratios.items()}
    return [found.get(n, "–") for n in counts]


def correlation_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """A line for each method whose samples were measured, a column for each lag; means over the counts."""
    found: dict[str, list[dict[str, float]]] = defaultdict(list)
    for row in rows:
        if "autocorrelation_error" in row:
            found[row["row"]].append(row["autocorrelation_error"])
    lines = Table(title="Error of the autocorrelation of generated videos, by lag in frames")
    lines.add_column("")
    lags = next(iter(found.values()))[0]
    for lag in lags:
        lines.add_column(lag, justify="right")
    for name in (name for name in ORDER if name in found):
        lines.add_row(name, *(f"{np.mean([errors[lag] for errors in found[name]]):.3f}" for lag in lags))
    return lines


def _cell(values: Sequence[float]) -> str:
    if not values:
        return "–"
    spread = f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else ""
    return f"{np.mean(values):.4f}{spread}"


def plot(errors: Errors, counts: Sequence[int]) -> Figure:
    """Error against the number of full videos, with the range over seeds; a flat line for methods that need none."""
    with matplotlib.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(7.5, 4.2), layout="constrained")
        panel = figure.subplots()
        for name, style in ((name, style) for name, style in FLAT.items() if name in errors):
            panel.axhline(errors[name][0][0], color=style.rstrip(":"), label=name, linestyle=":", linewidth=1.2)
        for name, style in ((name, style) for name, style in STYLES.items() if name in errors):
            there = [n for n in counts if n in errors[name]]
            values = [errors[name][n] for n in there]
            panel.plot(there, [np.mean(v) for v in values], style, label=name, markersize=4)
            panel.fill_between(
                there, [min(v) for v in values], [max(v) for v in values], color=style[:2], alpha=0.15, linewidth=0
            )
        panel.set(xscale="log", yscale="log", xlabel="full videos", ylabel="held-out error, EDM-weighted")
        panel.set_xticks(counts, [str(n) for n in counts])
        panel.xaxis.set_minor_locator(NullLocator())
        panel.yaxis.set_minor_formatter("{x:.2g}")
        panel.legend(frameon=False, bbox_to_anchor=(1.01, 1), loc="upper left")
    return figure
