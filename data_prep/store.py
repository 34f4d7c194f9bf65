"""Writing shots at the training size, in one pass over the video."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from data_prep.config import Preprocess
from data_prep.decode import Probe, pictures, scale
from vidboot.data.video import VideoWriter

Crop = tuple[int, int, int, int]
"""Top, left, height, width in upright source pixels."""


def centre_crop(about: Probe, region: Crop, height: int, width: int) -> Crop:
    """The largest region of aspect `width / height` at the centre of `region`, for the pixel shape of the source."""
    top, left, rows, columns = region
    aspect = width / height / about.pixel_aspect
    new_rows, new_columns = min(rows, max(1, round(columns / aspect))), min(columns, max(1, round(rows * aspect)))
    return top + (rows - new_rows) // 2, left + (columns - new_columns) // 2, new_rows, new_columns


def store_shots(
    path: Path,
    about: Probe,
    spans: Sequence[tuple[int, int]],
    crop: Crop,
    settings: Preprocess,
    name: Callable[[int, int], Path],
    seen: dict[int, np.ndarray],
) -> list[float]:
    """Write each span of frames to the file `name(start, end)`; spans must be ordered and disjoint.

    Full-size frames whose numbers are keys of `seen` are put there.
    Returns each shot's frame rate: the file's own, or the mean over the shot if the file's rate varies.
    """
    top, left, rows, columns = crop
    rates = []
    waiting = list(spans)
    first_seconds = 0.0
    with ExitStack() as open_writer:
        for picture in pictures(path, about):
            if not waiting:
                break
            if picture.number in seen:
                seen[picture.number] = picture.image
            start, end = waiting[0]
            if picture.number < start:
                continue
            if picture.number == start:
                first_seconds = picture.seconds
                writer = open_writer.enter_context(_writer(name(start, end), about.fps, settings))
            region = picture.image[top : top + rows, left : left + columns]
            writer.write(scale(region, settings.height, settings.width))
            if picture.number == end - 1:
                open_writer.close()
                rates.append(_rate(about.fps, end - start, picture.seconds - first_seconds))
                waiting.pop(0)
    return rates


def _writer(path: Path, fps: float, settings: Preprocess) -> VideoWriter:
    # Whole chroma: at training sizes, half of it is visibly too little.
    kept = settings.store
    return VideoWriter(path, fps, crf=kept.crf, gop=kept.gop, lossless=kept.lossless, chroma="444")


def _rate(declared: float, frames: int, seconds: float) -> float:
    measured = (frames - 1) / seconds if seconds > 0 else declared
    return declared if abs(measured - declared) < 0.02 * declared else measured
