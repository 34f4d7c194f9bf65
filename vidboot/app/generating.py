"""What the page *generate* does: a request from its fields, and the sample with its record."""

import threading
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from vidboot.app.progress import Report, Update, followed
from vidboot.app.request import AppRequest
from vidboot.app.uploads import as_first_frames, as_low_resolution, check_upload
from vidboot.errors import UserError
from vidboot.generation.render import load_for_sampling, render, unfinished
from vidboot.generation.request import GenerateRequest
from vidboot.generation.writers import join_videos
from vidboot.model.run_folder import weights_hash
from vidboot.model.video_model import VideoModel
from vidboot.seeds import MOST_SEED

SAMPLE = "sample.mp4"


class Studio:
    """A run with its limits, its model, which is read again when its files have changed, and a folder for work."""

    def __init__(self, request: AppRequest, folder: Path) -> None:
        """Raises `UserError` if the run can't be read."""
        self.request, self.folder, self._lock = request, folder, threading.Lock()
        self._hash, self._model = weights_hash(request.run), load_for_sampling(request.run)

    @property
    def model(self) -> VideoModel:
        """The model; raises `UserError` if its files can't be read any more."""
        with self._lock:
            if (now := weights_hash(self.request.run)) != self._hash:
                self._model, self._hash = load_for_sampling(self.request.run), now
            return self._model


@dataclass(frozen=True)
class Wanted:
    """The fields of the page."""

    frames: int
    seed: int = 0
    class_name: str | None = None
    init: Path | None = None
    low_res: Path | None = None
    chunks: bool = True
    """Make videos longer than the training's chunk by chunk, and show each as soon as it is there."""


def generate(studio: Studio, wanted: Wanted, folder: Path) -> Generator[Update, None, Path]:
    """Yield progress; the video's path is returned, and its record lies beside it, as `tools/generate.py` writes it.

    All files are written to `folder`. Raises `UserError` for a field or a file that is refused.
    """
    if not 1 <= wanted.frames <= studio.request.max_frames:
        raise UserError(f"the length is 1 to {studio.request.max_frames} frames (--max-frames), got {wanted.frames}")
    if not 0 <= wanted.seed <= MOST_SEED:
        raise UserError(f"the seed is 0 to 2^63 − 1, got {wanted.seed}")
    for path in (wanted.init, wanted.low_res):
        if path is not None:
            check_upload(path, studio.request)
    return followed(lambda report: _render(studio, wanted, folder, report))


def _render(studio: Studio, wanted: Wanted, folder: Path, report: Report) -> Path:
    model, output = studio.model, folder / SAMPLE
    video = model.config.video
    init = wanted.init and as_first_frames(wanted.init, folder, video.height, video.width)
    low_res = wanted.low_res and as_low_resolution(wanted.low_res, folder, video.height, video.width)
    request = GenerateRequest(
        run=studio.request.run,
        output=output,
        frames=wanted.frames,
        seed=wanted.seed,
        class_name=wanted.class_name,
        stream=wanted.chunks and wanted.frames > video.num_frames,
        init=init,
        low_res=low_res,
    )

    def on_progress(done: int, total: int, unit: str) -> None:
        """Report, with what is there of a stream."""
        report(Update(f"{done} of {total} {unit}", _so_far(output, done) if request.stream else None))

    render(request, model, on_progress)
    return output


def _so_far(output: Path, done: int) -> Path:
    """The pieces of a stream that are done, as one video."""
    made = output.with_name(f"so-far-{done}.mp4")
    join_videos(sorted(unfinished(output).glob("[0-9]*.mp4")), made)
    return made
