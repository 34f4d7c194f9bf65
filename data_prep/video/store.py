"""Write shots at the training size, in one pass over the video."""

from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_prep.config import Preprocess
from data_prep.video.cropping import Crop, Cropper
from data_prep.video.decode import Converter, Probe, raw_frames
from vidboot.data.clock import rate_of
from vidboot.data.video import Encoding, VideoWriter, upright


@dataclass(frozen=True)
class Stretch:
    """Frames to store as one shot: from `start` up to, not including, `end`."""

    start: int
    end: int
    path: Path
    left_out: frozenset[int] = frozenset()
    """Numbers of frames that are not stored."""
    fps: float | None = None
    """Frames per second; None: as the stored frames' times say."""


def centre_crop(about: Probe, region: Crop, height: int, width: int) -> Crop:
    """The largest region at the centre of `region` that shows the aspect ratio `width / height` with square pixels."""
    top, left, rows, columns = region
    aspect = width / height / about.pixel_aspect
    new_rows, new_columns = min(rows, max(1, round(columns / aspect))), min(columns, max(1, round(rows * aspect)))
    return top + (rows - new_rows) // 2, left + (columns - new_columns) // 2, new_rows, new_columns


def store_shots(
    path: Path,
    about: Probe,
    stretches: Sequence[Stretch],
    crop: Crop,
    settings: Preprocess,
    numbers: Collection[int] = (),
) -> tuple[list[float], dict[int, np.ndarray]]:
    """Write each stretch of frames to its file; they must be ordered and disjoint.

    Returns the frame rate of each shot (that of the file, or the shot's own if the rate varies), and the full-size
    frames with these `numbers`, up to the end of the last stretch.
    """
    to_small, to_rgb = Cropper(crop, settings.height, settings.width), Converter("rgb24")
    rates, images = [], {}
    waiting = list(stretches)
    times: list[float] = []
    with ExitStack() as open_writer:
        for number, seconds, frame in raw_frames(path, about):
            if not waiting:
                break
            if number in numbers:
                images[number] = upright(to_rgb(frame), frame.rotation)
            now = waiting[0]
            if number < now.start:
                continue
            if number == now.start:
                times = []
                writer = open_writer.enter_context(_writer(now.path, now.fps or about.fps, settings))
            if number not in now.left_out:
                writer.write(to_small(frame))
            times.append(seconds)
            if number == now.end - 1:
                open_writer.close()
                rates.append(now.fps or rate_of(times, float(frame.time_base or 0), [about.fps]) or about.fps)
                waiting.pop(0)
    return rates, images


def _writer(path: Path, fps: float, settings: Preprocess) -> VideoWriter:
    # Colours at full resolution: at training sizes, half of it is visibly too little.
    kept = settings.store
    quick = not kept.lossless
    encoding = Encoding(crf=kept.crf, gop=kept.gop, lossless=kept.lossless, chroma="444", quick=quick)
    return VideoWriter(path, fps, encoding)
