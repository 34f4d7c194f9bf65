"""Write shots at the training size, in one pass over the video."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from data_prep.config import Preprocess
from data_prep.video.cropping import Crop, Cropper
from data_prep.video.decode import Converter, Probe, raw_frames, scale
from vidboot.data.clock import rate_of
from vidboot.data.video import Encoding, VideoWriter, upright


def centre_crop(about: Probe, region: Crop, height: int, width: int) -> Crop:
    """The largest region at the centre of `region` that shows the aspect ratio `width / height` with square pixels."""
    top, left, rows, columns = region
    aspect = width / height / about.pixel_aspect
    new_rows, new_columns = min(rows, max(1, round(columns / aspect))), min(columns, max(1, round(rows * aspect)))
    return top + (rows - new_rows) // 2, left + (columns - new_columns) // 2, new_rows, new_columns


@dataclass(frozen=True)
class StoredShot:
    """A shot to be written."""

    start: int
    end: int
    """The frame after the last one."""
    crop: Crop
    path: Path
    left_out: frozenset[int] = frozenset()
    """Numbers of frames that are not stored."""
    fps: float | None = None
    """Frames per second; None: as the stored frames' times say."""


def store_shots(
    path: Path,
    about: Probe,
    shots: Sequence[StoredShot],
    settings: Preprocess,
    shown: Mapping[int, tuple[int, int]] = MappingProxyType({}),
) -> tuple[list[float], dict[int, np.ndarray]]:
    """Write the file of each shot; shots must be ordered and disjoint.

    Returns the frame rate of each shot (that of the file, or the shot's own if the rate varies), and frames by
    number, up to the end of the last shot: those in `shown`, at the height and width that it gives.
    """
    to_rgb = Converter("rgb24")
    rates, images = [], {}
    waiting = list(shots)
    times: list[float] = []
    to_small: Cropper | None = None
    with ExitStack() as open_writer:
        for number, seconds, frame in raw_frames(path, about):
            if not waiting:
                break
            if number in shown:
                images[number] = scale(upright(to_rgb(frame), frame.rotation), *shown[number])
            shot = waiting[0]
            if number < shot.start:
                continue
            if number == shot.start:
                times = []
                if to_small is None or shot.crop != to_small.crop:
                    to_small = Cropper(shot.crop, settings.height, settings.width)
                writer = open_writer.enter_context(_writer(shot.path, shot.fps or about.fps, settings))
            assert to_small is not None, "made with the shot's first frame"
            if number not in shot.left_out:
                writer.write(to_small(frame))
            times.append(seconds)
            if number == shot.end - 1:
                open_writer.close()
                rates.append(shot.fps or rate_of(times, float(frame.time_base or 0), [about.fps]) or about.fps)
                waiting.pop(0)
    return rates, images


def _writer(path: Path, fps: float, settings: Preprocess) -> VideoWriter:
    # Colours at full resolution: at training sizes, half of it is visibly too little.
    kept = settings.store
    quick = not kept.lossless
    encoding = Encoding(crf=kept.crf, gop=kept.gop, lossless=kept.lossless, chroma="444", quick=quick)
    return VideoWriter(path, fps, encoding)
