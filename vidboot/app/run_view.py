"""What the page *runs* shows: a run folder's curves, samples, reports and what was set aside."""

import html
import json
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from vidboot.data.manifest import VERDICTS, load_manifest
from vidboot.data.set_aside import FILE_NAME as SET_ASIDE_FILE
from vidboot.errors import UserError
from vidboot.evaluation.run_page import PAGE_FILE
from vidboot.model.form import CANDIDATES, FORMS
from vidboot.model.run_folder import load_config
from vidboot.training.log import METRICS_FILE

SAMPLES_FOLDER = "samples"


def stages(run: Path) -> list[str]:
    """The stages that have written metrics, in their order, with each form of the residual that was begun."""
    forms = [f"residual/{CANDIDATES}/{form}" for form in FORMS]
    return [name for name in (*load_config(run).views, "residual", *forms) if (run / name / METRICS_FILE).is_file()]


def metrics(run: Path, stage: str) -> dict[str, tuple[list[int], list[float]]]:
    """Steps and values of each metric of a stage; a line that is just being written is left out."""
    found: dict[str, tuple[list[int], list[float]]] = {}
    for line in _lines(run / stage / METRICS_FILE):
        for name, value in line.items():
            if name != "step" and isinstance(value, int | float):
                steps, values = found.setdefault(name, ([], []))
                steps.append(line["step"])
                values.append(value)
    return found


def curves(run: Path, stage: str) -> tuple[Figure, Figure]:
    """The training loss of a stage, and its held-out errors, against the step; two, which a phone shows in a column."""
    measured = metrics(run, stage)
    loss, errors = ({name: measured[name] for name in measured if name.startswith(s)} for s in ("loss", "error"))
    return _plot(loss), _plot(errors)


def _plot(lines: dict[str, tuple[list[int], list[float]]]) -> Figure:
    with matplotlib.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(4.6, 3.2), layout="constrained")
        panel = figure.subplots()
        for name, (steps, values) in lines.items():
            panel.plot(steps, values, "o-", markersize=3, linewidth=1, label=name)
        panel.set(xlabel="step")
        if lines:
            panel.legend(frameon=False)
            panel.set_yscale("log")
    return figure


def samples(run: Path, stage: str) -> list[Path]:
    """The stage's sample videos, from the first to the last step; the same noise, so they can be compared."""
    return sorted((run / stage / SAMPLES_FOLDER).glob("step-*.mp4"))


def set_aside(run: Path) -> list[list[str]]:
    """What training set aside: stage, shot and reason."""
    files = sorted(run.rglob(SET_ASIDE_FILE))
    return [
        [file.parent.relative_to(run).as_posix(), str(line.get("path", "")), str(line.get("reason", ""))]
        for file in files
        for line in _lines(file)
    ]


def reports(run: Path) -> dict[str, Path]:
    """The report pages that there are, by what they are about."""
    data = load_config(run).data.manifest
    pages = {"evaluation": run / "evaluation" / PAGE_FILE, "preprocessing": Path(data) / "report.html"}
    return {name: page for name, page in pages.items() if page.is_file()}


def shots_of(run: Path) -> str:
    """How many shots the run's data have, by verdict, in a sentence; why not, if they can't be read."""
    try:
        manifest = load_manifest(load_config(run).data.manifest)
    except UserError as error:
        return f"The data can't be read: {error}"
    counts = {verdict: sum(shot.verdict == verdict for shot in manifest) for verdict in VERDICTS}
    return f"{len(manifest)} shots: " + ", ".join(f"{count} {verdict}" for verdict, count in counts.items())


def framed(page: Path) -> str:
    """A report page inside another page. It may run its own scripts, but reach nothing of the page around it."""
    inside = html.escape(page.read_text(), quote=True)
    style = "width: 100%; height: 80vh; border: 1px solid #ccc; background: white"
    return f'<iframe sandbox="allow-scripts" style="{style}" srcdoc="{inside}"></iframe>'


def _lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a file of JSON lines."""
    found = []
    for line in path.read_text("utf-8", errors="replace").splitlines() if path.exists() else []:
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            found.append(value)
    return found
