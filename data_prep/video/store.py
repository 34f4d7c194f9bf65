"""Write shots at the training size, in one pass over the video."""

from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from data_prep.config import Preprocess
from data_prep.video.cropping import Crop, Cropper
from data_prep.video.decode import Converter, Probe, raw_frames
from vidboot.data.video import Encoding, VideoWriter, median_step, upright


def centre_crop(about: Probe, region: Crop, height: int, width: int) -> Crop:
    """The largest region at the centre of `region` that shows the aspect ratio `width / height` with square pixels."""
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
    numbers: Collection[int] = (),
) -> tuple[list[float], dict[int, np.ndarray]]:
    """Write each span of frames to the file `name(start, end)`; spans must be ordered and disjoint.

    Returns the frame rate of each shot (that of the file, or the shot's own mean if the rate varies), and the
    full-size frames with these `numbers`, up to the end of the last span.
    """
    to_small, to_rgb = Cropper(crop, settings.height, settings.width), Converter("rgb24")
    rates, images = [], {}
    waiting = list(spans)
    times: list[float] = []
    with ExitStack() as open_writer:
        for number, seconds, frame in raw_frames(path, about):
            if not waiting:
                break
            if number in numbers:
                images[number] = upright(to_rgb(frame), frame.rotation)
            start, end = waiting[0]
            if number < start:
                continue
            if number == start:
                times = []
                writer = open_writer.enter_context(_writer(name(start, end), about.fps, settings))
            writer.write(to_small(frame))
            times.append(seconds)
            if number == end - 1:
                open_writer.close()
                rates.append(_rate(about.fps, times))
                waiting.pop(0)
    return rates, images


def _writer(path: Path, fps: float, settings: Preprocess) -> VideoWriter:
    # Colours at full resolution: at training sizes, half of it is visibly too little.
    kept = settings.store
    quick = not kept.lossless
    encoding = Encoding(crf=kept.crf, gop=kept.gop, lossless=kept.lossless, chroma="444", quick=quick)
    return VideoWriter(path, fps, encoding)


def _rate(declared: float, times: list[float]) -> float:
    """Frames per second of a shot with these frame times: from the mean step, or the median if the mean is far off."""
    seconds = times[-1] - times[0]
    measured = (len(times) - 1) / seconds if seconds > 0 else declared
    if not declared / 2 <= measured <= 2 * declared:
        # A jump of the clock, as between two parts of a recording, is no frame's duration.
        measured = 1 / (median_step(times) or 1 / declared)
    return declared if abs(measured - declared) < 0.02 * declared else measured
