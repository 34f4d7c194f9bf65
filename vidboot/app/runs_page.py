"""The page *run*: what was trained, and how it went."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr

from vidboot.app import run_view
from vidboot.app.events import sentences
from vidboot.app.generating import Studio
from vidboot.app.parts import player


def build(studio: Studio, app: Any) -> None:
    """Lay the page out, inside the tab that is open. Files are read when they are shown, so a training can go on."""
    run = studio.request.run
    reports = run_view.reports(run)
    with gr.Row():
        stage = gr.Dropdown([], label="Stage", elem_id="stage")
        sample = gr.Dropdown([], label="Sample, after so many steps (the noise is the same)", elem_id="sample")
        again = gr.Button("Read again", elem_id="again", scale=0, min_width=140)
    with gr.Row():
        loss = gr.Plot(label="Training loss", elem_id="loss")
        errors = gr.Plot(label="Held-out error", elem_id="errors")
    video = player(studio, "Sample", "sampled")
    data = gr.Markdown()
    headers = ["stage", "shot", "reason"]
    set_aside = gr.Dataframe(headers=headers, label="Set aside in training", interactive=False, elem_id="set-aside")
    report = gr.Dropdown(["none", *reports], value="none", label="Report", visible=bool(reports), elem_id="report")
    page = gr.HTML()
    outputs = [stage, loss, errors, sample, video, data, set_aside]
    gr.on([stage.input, again.click, app.load], _show(studio), stage, outputs)
    sample.input(_play(studio), [stage, sample], video)
    report.input(_read(run), report, page)


def _show(studio: Studio) -> Any:
    run = studio.request.run

    @sentences
    def show(stage: str | None) -> Iterator[tuple]:
        """A stage's curves and samples, the last one chosen, and what was set aside."""
        stages = run_view.stages(run)
        stage = stage if stage in stages else next(iter(stages), None)
        files = run_view.samples(run, stage) if stage else []
        choices = [(file.stem.removeprefix("step-").lstrip("0"), file.name) for file in files]
        chosen = gr.update(choices=choices, value=choices[-1][1] if choices else None)
        loss, errors = run_view.curves(run, stage) if stage else (None, None)
        listed = gr.update(choices=stages, value=stage)
        with _served(studio, files[-1] if files else None) as last:
            yield listed, loss, errors, chosen, last, run_view.shots_of(run), run_view.set_aside(run)

    return show


def _play(studio: Studio) -> Any:
    @sentences
    def play(stage: str | None, chosen: str | None) -> Iterator[str | None]:
        """The chosen sample, of those that there are."""
        files = {file.name: file for file in run_view.samples(studio.request.run, stage)} if stage else {}
        with _served(studio, files.get(chosen or "")) as path:
            yield path

    return play


@contextmanager
def _served(studio: Studio, file: Path | None) -> Iterator[str | None]:
    """A copy of the file where Gradio may take it from: from the run folder it may not, which holds the weights too."""
    with tempfile.TemporaryDirectory(dir=studio.folder) as folder:
        yield None if file is None else shutil.copy(file, folder)


def _read(run: Path) -> Any:
    @sentences
    def read(chosen: str) -> Iterator[str]:
        """A report page."""
        found = run_view.reports(run).get(chosen)
        yield "" if found is None else run_view.framed(found)

    return read
