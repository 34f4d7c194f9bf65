"""The page *generate*."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from vidboot.app.events import MODEL, NOT_MADE, path_of, sentences, shown, whole
from vidboot.app.generating import Studio, Wanted, generate
from vidboot.app.parts import DROP, downloads, player

ANY_CLASS = "any"


def build(studio: Studio) -> None:
    """Lay the page out, inside the tab that is open."""
    config = studio.model.config
    with gr.Row():
        with gr.Column():
            frames = gr.Number(config.video.num_frames, precision=0, label="Length, frames", elem_id="frames")
            seed = gr.Number(0, precision=0, label="Seed: the same one gives the same video", elem_id="seed")
            classes = [ANY_CLASS, *config.data.classes]
            name = gr.Dropdown(classes, value=ANY_CLASS, label="Class", visible=len(classes) > 1)
            kinds = ["image", "video"]
            init = gr.File(label="First frames: an image or a video", file_types=kinds, elem_id="init", height=DROP)
            kinds = ["video"]
            low_res = gr.File(label="Low-resolution version: a video", file_types=kinds, elem_id="low-res", height=DROP)
            label = f"Beyond {config.video.num_frames} frames: chunk after chunk, shown as they are made"
            chunks = gr.Checkbox(True, label=label)
            with gr.Row():
                make = gr.Button("Generate", variant="primary", elem_id="generate")
                stop = gr.Button("Stop")
        with gr.Column():
            said = gr.Markdown(elem_id="generate-said")
            video = player(studio, "Video", "generated")
            files = downloads("To download: the video, and what is needed to make it again", "generated-files")
    inputs, outputs = [frames, seed, name, init, low_res, chunks], [said, video, files]
    event = make.click(_handler(studio), inputs, outputs, show_progress_on=said, api_name="generate", **MODEL)
    event.failure(lambda: NOT_MADE, None, said)
    stop.click(lambda: "Stopped.", None, said, cancels=[event])


def _handler(studio: Studio) -> Any:
    @sentences
    def run(frames: Any, seed: Any, name: str, init: Any, low_res: Any, chunks: bool) -> Iterator[tuple]:
        """Check the fields, and sample; what was made is copied by Gradio, so that the folder can go."""
        class_name = None if name == ANY_CLASS else name
        counts = whole(frames, "length"), whole(seed, "seed")
        wanted = Wanted(*counts, class_name, path_of(init), path_of(low_res), chunks)
        with tempfile.TemporaryDirectory(dir=studio.folder) as folder:
            yield "Begins.", None, None
            made = yield from shown(generate(studio, wanted, Path(folder)), lambda text, video: (text, video, None))
            yield "Done.", str(made), [str(made), str(made.with_suffix(".json"))]

    return run
