"""Files that a user drops: what is refused, and how the others are fitted to the run's size."""

from fractions import Fraction
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from vidboot.app.request import AppRequest
from vidboot.data.container import VideoError, open_video
from vidboot.data.video import Encoding, VideoWriter, iter_frames
from vidboot.errors import UserError
from vidboot.generation.inputs import IMAGES, rate_of, read_any

MOST_PIXELS = 4096 * 2304
"""Largest picture, pixels: 4K. A small file can hold much larger ones, each of which takes its size in memory."""


def check_upload(path: Path, request: AppRequest) -> None:
    """Raise `UserError`, in one sentence, for a file that is too large or too long, or no video or image."""
    size = path.stat().st_size
    if size > request.max_bytes:
        raise UserError(
            f"{path.name} has {size / 2**20:.1f} MB, and at most {request.max_megabytes} are taken (--max-megabytes): "
            "cut it, or encode it smaller"
        )
    try:
        rows, columns = _picture_size(path)
        if rows * columns > MOST_PIXELS:
            raise UserError(
                f"{path.name} has pictures of {columns}×{rows} pixels, which is more than 4K: scale it down"
            )
        # No more than the limit is decoded.
        if (
            not is_image(path)
            and sum(1 for _ in islice(iter_frames(path), request.max_frames + 1)) > request.max_frames
        ):
            raise UserError(
                f"{path.name} has more than {request.max_frames} frames, which is the limit (--max-frames): cut it"
            )
    except VideoError as error:
        raise UserError(f"{path.name} can't be used: {error.reason}") from None


def is_image(path: Path) -> bool:
    """Whether a file's name is that of an image."""
    return path.suffix.lower() in IMAGES


def _picture_size(path: Path) -> tuple[int, int]:
    """Height and width of the pictures, from the file's header."""
    if not is_image(path):
        with open_video(path) as (_, stream):
            return stream.height, stream.width
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError):
        raise VideoError(path, "damaged or not an image") from None


def as_first_frames(path: Path, folder: Path, height: int, width: int) -> Path:
    """An image or a video as the run's first frames: cropped at the centre and scaled, exact values, in `folder`."""
    if not is_image(path):
        return _rewritten(path, folder / "first.mp4", height, width)
    made = folder / "first.png"
    Image.fromarray(fitted(read_any(path, range(1))[0], height, width)).save(made)
    return made


def as_low_resolution(path: Path, folder: Path, height: int, width: int) -> Path:
    """A video as the run's low-resolution version: at the largest fitting size that it has the pixels for.

    Raises `UserError` if it is smaller than all of them.
    """
    rows, columns = next(iter_frames(path)).shape[:2]
    scales = [s for s in range(2, min(height, width) + 1) if height % s == width % s == 0]
    fitting = next((s for s in scales if height // s <= rows and width // s <= columns), None)
    if fitting is None:
        raise UserError(
            f"{path.name} has pictures of {columns}×{rows} pixels, which is less than any low-resolution version of "
            f"{width}×{height} has: give a larger one"
        )
    return _rewritten(path, folder / "low_res.mp4", height // fitting, width // fitting)


def _rewritten(path: Path, made: Path, height: int, width: int) -> Path:
    with VideoWriter(made, Fraction(rate_of(path)).limit_denominator(100_000), Encoding(lossless=True)) as writer:
        for frame in iter_frames(path):
            writer.write(fitted(frame, height, width))
    return made


def fitted(frame_HWC: UInt8[np.ndarray, "H W C"], height: int, width: int) -> UInt8[np.ndarray, "h w C"]:
    """The frame's centre with the aspect ratio `width / height`, scaled to that size."""
    rows, columns = frame_HWC.shape[:2]
    tall, wide = min(rows, max(1, round(columns * height / width))), min(columns, max(1, round(rows * width / height)))
    top, left = (rows - tall) // 2, (columns - wide) // 2
    shrinks = height <= tall and width <= wide
    part = np.ascontiguousarray(frame_HWC[top : top + tall, left : left + wide])
    if part.shape[:2] == (height, width):
        return part
    return cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
