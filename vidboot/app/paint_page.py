"""The page *paint out*."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import gradio as gr
import numpy as np

from data_prep.config import MaskSettings, Preprocess
from data_prep.report.regions import Region
from vidboot.app.clip import Clip, open_clip
from vidboot.app.events import MODEL, NOT_MADE, path_of, sentences, shown, whole
from vidboot.app.generating import Studio
from vidboot.app.painting import paint_out
from vidboot.app.parts import DROP, downloads, player
from vidboot.errors import UserError

HELP = (
    "Red is masked, and will be painted out. Untick what is not burnt in; to add a box, click on two opposite corners. "
    "The white border is what the run's pictures can hold."
)
# Yellow: seen on red too.
_CROSS = (255, 220, 0)


@dataclass(frozen=True)
class Editing:
    """A clip with the boxes that the user has added, and the first corner of one that is being added."""

    clip: Clip
    boxes: tuple[MaskSettings, ...] = ()
    corner: tuple[int, int] | None = None

    def choices(self) -> list[tuple[str, str]]:
        """What can be ticked: a label and a name for each region that was found and each box."""
        found = [(_label(region), f"r{number}") for number, region in enumerate(self.clip.regions)]
        return found + [(f"your box {number + 1}", f"b{number}") for number in range(len(self.boxes))]

    def settings(self, ticked: Sequence[str]) -> Preprocess:
        """The settings that mask what is ticked."""
        kept = [number for number in range(len(self.clip.regions)) if f"r{number}" in ticked]
        return self.clip.with_changes(kept, [box for number, box in enumerate(self.boxes) if f"b{number}" in ticked])


def _label(region: Region) -> str:
    return f"{region.kind}, frames {region.start} to {region.end - 1}: {region.why}"


class _Parts(NamedTuple):
    """The parts of the page that are changed."""

    editing: Any
    said: Any
    picture: Any
    number: Any
    ticked: Any
    first: Any
    last: Any
    original: Any
    result: Any
    files: Any


def build(studio: Studio) -> None:
    """Lay the page out, inside the tab that is open."""
    minutes = studio.request.keep_minutes
    editing = gr.State(None, time_to_live=60 * minutes, delete_callback=forget)
    upload = gr.File(label="A clip: a video", file_types=["video"], elem_id="clip", height=DROP)
    said = gr.Markdown(elem_id="paint-said")
    with gr.Row():
        with gr.Column():
            picture = gr.Image(label="What is masked", interactive=False, elem_id="overlay", buttons=[])
            number = gr.Slider(0, 1, value=0, step=1, label="Frame")
        with gr.Column():
            ticked = gr.CheckboxGroup([], label="Masked", elem_id="masked")
            with gr.Row():
                first = gr.Number(0, precision=0, label="A new box's first frame")
                last = gr.Number(0, precision=0, label="Its last frame")
            with gr.Row():
                paint = gr.Button("Paint out", variant="primary", elem_id="paint")
                stop = gr.Button("Stop")
    with gr.Row():
        original, result = player(studio, "Original", "original"), player(studio, "Painted out", "painted")
    files = downloads("To download: the video, and how it was made", "painted-files")
    parts = _Parts(editing, said, picture, number, ticked, first, last, original, result, files)
    _connect(studio, parts, upload, paint, stop)


def _connect(studio: Studio, parts: _Parts, upload: Any, paint: Any, stop: Any) -> None:
    """Say what each click does."""
    editing, said, picture, number, ticked = parts[:5]
    search = upload.upload(_find(studio), [editing, upload], parts[:7], show_progress_on=said, **MODEL)
    search.failure(lambda: "Not used; the message says why.", None, said)
    upload.clear(_cleared, editing, [editing, said, picture, ticked])
    for event in (number.release, ticked.input):
        event(draw, [editing, number, ticked], picture, show_progress="hidden")
    inputs = [editing, number, ticked, parts.first, parts.last]
    picture.select(add_corner, inputs, [editing, said, picture, ticked], show_progress="hidden")
    outputs = [said, parts.original, parts.result, parts.files]
    event = paint.click(_paint(studio), [editing, ticked], outputs, show_progress_on=said, **MODEL)
    event.failure(lambda: NOT_MADE, None, said)
    stop.click(lambda: "Stopped.", None, said, cancels=[event])


def forget(editing: Editing | None) -> None:
    """Delete a clip and all that was made of it."""
    if editing is not None:
        shutil.rmtree(editing.clip.path.parent, ignore_errors=True)


def _cleared(editing: Editing | None) -> tuple:
    forget(editing)
    return None, "", None, gr.update(choices=[], value=[])


def _find(studio: Studio) -> Any:
    @sentences
    def find(before: Editing | None, upload: Any) -> Iterator[tuple]:
        """Search a new clip, which takes the place of the one before."""
        forget(before)
        yield None, "Looks for what is burnt in.", None, gr.update(), gr.update(choices=[], value=[]), 0, 0
        folder, path = Path(tempfile.mkdtemp(dir=studio.folder, prefix="clip-")), path_of(upload)
        try:
            if path is None:
                raise UserError("drop a clip first")
            clip = open_clip(path, folder, studio.model.config, studio.request)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        editing = Editing(clip)
        names = [name for _, name in editing.choices()]
        number = clip.regions[0].middle(clip.shots) if clip.regions else clip.shots[0][0]
        words = f"{len(clip.regions)} found. {HELP}" if clip.regions else f"Nothing was found. {HELP}"
        end = clip.analysis.frames - 1
        slider, boxes = gr.update(maximum=max(1, end), value=number), gr.update(choices=editing.choices(), value=names)
        yield editing, words, clip.overlay(number, editing.settings(names)), slider, boxes, 0, end

    return find


@sentences
def draw(editing: Editing | None, number: float, ticked: list[str]) -> Iterator[np.ndarray | None]:
    """The frame with what is masked in it."""
    yield None if editing is None else editing.clip.overlay(int(number), editing.settings(ticked))


@sentences
def add_corner(
    editing: Editing | None, number: float, ticked: list[str], first: Any, last: Any, where: gr.SelectData
) -> Iterator[tuple]:
    """The first corner of a box, or the second, which completes it."""
    if editing is None:
        raise UserError("drop a clip first")
    corner = int(where.index[0]), int(where.index[1])
    if editing.corner is None:
        picture = with_corner(editing.clip.overlay(int(number), editing.settings(ticked)), *corner)
        yield replace(editing, corner=corner), "Now click on the opposite corner.", picture, gr.update()
        return
    try:
        frames = whole(first, "box's first frame"), whole(last, "box's last frame") + 1
        box = editing.clip.box(editing.corner, corner, *frames)
    except UserError as error:  # the first corner goes too, so that the next click begins anew
        picture = editing.clip.overlay(int(number), editing.settings(ticked))
        yield replace(editing, corner=None), str(error), picture, gr.update()
        return
    editing = Editing(editing.clip, (*editing.boxes, box))
    now = [*ticked, f"b{len(editing.boxes) - 1}"]
    picture = editing.clip.overlay(int(number), editing.settings(now))
    yield editing, HELP, picture, gr.update(choices=editing.choices(), value=now)


def with_corner(picture: np.ndarray, x: int, y: int) -> np.ndarray:
    """The picture with a cross at the first corner of a box, so that one sees where the next click closes it."""
    return cv2.drawMarker(picture, (x, y), _CROSS, cv2.MARKER_CROSS, max(picture.shape) // 20, 2)


def _paint(studio: Studio) -> Any:
    @sentences
    def paint(editing: Editing | None, ticked: list[str]) -> Iterator[tuple]:
        """Paint out what is ticked; what was made is copied by Gradio, so that the folder can go."""
        if editing is None:
            raise UserError("drop a clip first")
        with tempfile.TemporaryDirectory(dir=studio.folder) as folder:
            work = paint_out(studio, editing.clip, editing.settings(ticked), Path(folder))
            made = yield from shown(work, lambda text, _: (text, None, None, None))
            yield "Done.", str(made.original), str(made.result), [str(made.result), str(made.record)]

    return paint
