"""Decoding one video in order, strictly: what is damaged is refused with its reason, not shown grey."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path
from statistics import median

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, VideoReformatter

from vidboot.data.video import VideoError, open_video, upright

# Formats whose first plane is the brightness, 8 bits a pixel, and its black if it has the range of television.
_LUMA_FIRST, _BLACK = {"yuv420p", "yuv422p", "yuv444p", "nv12"}, 16
# FFmpeg's numbers for colours of no stated kind, and for those that it can't convert: reserved ones, YCgCo, ICtCp.
_UNSPECIFIED, _NO_RGB = 2, {3, 8, *range(10, 18)}
# Transfer characteristics PQ and HLG.
_HDR = {16, 18}
# Frames at the end that a good file may lack: some muxers count one too many or start with an undecodable one.
_MISSING_ALLOWED = 2
_CLOCK = re.compile(r"(\d+):(\d+):(\d+(?:\.\d+)?)\s*\0*")


@dataclass(frozen=True)
class Probe:
    """What the first frame and the headers say; sizes are upright, in pixels."""

    height: int
    width: int
    pixel_aspect: float
    """Width of a pixel over its height."""
    fps: float
    codec: str
    pix_fmt: str
    rotation: int
    declared_frames: int
    """Frames according to the header, 0 if it does not say."""
    duration: float
    """Seconds of picture according to the header, 0 if it does not say."""
    notes: tuple[str, ...] = field(default=())
    """What is unusual and was handled."""


@dataclass(frozen=True)
class Picture:
    """A decoded frame: its number in display order, its time in seconds, the image (uint8 `H W C`, upright)."""

    number: int
    seconds: float
    image: np.ndarray


def probe(path: str | Path) -> Probe:
    """Read headers and the first frame; raises `VideoError` with the reason if there is none."""
    with open_video(path) as (container, stream):
        first = next(container.decode(stream), None)
        if first is None:
            raise VideoError(path, "no frames")
        if _mirrored(first):
            raise VideoError(path, "its pictures are mirrored, which is not undone here: encode it again")
        turned = round(first.rotation / 90) % 2 == 1
        height, width = (first.width, first.height) if turned else (first.height, first.width)
        aspect = float(stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio or 1)
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        return Probe(
            height=height,
            width=width,
            pixel_aspect=1 / aspect if turned else aspect,
            fps=_believable(path, float(rate)),
            codec=stream.codec_context.name,
            pix_fmt=first.format.name,
            rotation=first.rotation,
            declared_frames=stream.frames,
            duration=_duration(container, stream),
            notes=_notes(container, first, aspect),
        )


def _mirrored(frame: av.VideoFrame) -> bool:
    """Whether the file says to flip its pictures, which their rotation alone does not tell."""
    matrices = (bytes(data) for data in frame.side_data if data.type.name == "DISPLAYMATRIX")
    turns = (np.frombuffer(matrix, np.int32).reshape(3, 3)[:2, :2].astype(float) for matrix in matrices)
    return any(np.linalg.det(turn) < 0 for turn in turns)


def _believable(path: str | Path, rate: float) -> float:
    """A frame rate, measured by the times of the first packets if the headers overstate it, as a time base of 1/1000 s
    taken for a rate does."""
    with open_video(path) as (container, stream):
        packets = islice(container.demux(stream), 200)
        times = sorted(float(packet.pts * packet.time_base) for packet in packets if packet.pts is not None)
    steps = [after - before for before, after in pairwise(times) if after > before]
    return 1 / median(steps) if steps and rate * median(steps) > 1.5 else rate


def _duration(container: av.container.InputContainer, stream: av.VideoStream) -> float:
    """Seconds of the video stream according to the headers, 0 if they tell only those of the sound beside it."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    # Matroska: a tag, which some writers give a language.
    for name, value in stream.metadata.items():
        if name.split("-")[0].upper() == "DURATION" and (said := _CLOCK.fullmatch(value)):
            hours, minutes, seconds = map(float, said.groups())
            return 3600 * hours + 60 * minutes + seconds
    alone = len(container.streams) == 1
    return (container.duration or 0) / 1e6 if alone else 0.0


def _notes(container: av.container.InputContainer, first: av.VideoFrame, aspect: float) -> tuple[str, ...]:
    notes = []
    if len(container.streams.video) > 1:
        notes.append(f"{len(container.streams.video)} video streams, the best one is used")
    if first.rotation:
        notes.append(f"turned by {first.rotation} degrees, as the file says")
    if abs(aspect - 1) > 0.01:
        notes.append(f"pixels {aspect:.3f} times as wide as high, scaled to square ones")
    if any(component.bits > 8 for component in first.format.components):
        notes.append(f"{first.format.components[0].bits} bits a sample, stored with 8")
    if len(first.format.components) in (2, 4):
        notes.append("transparency dropped")
    if first.color_trc in _HDR:
        notes.append("HDR, stored without tone mapping")
    if first.interlaced_frame:
        notes.append("interlaced, not deinterlaced")
    return tuple(notes)


def raw_frames(path: str | Path, about: Probe) -> Iterator[tuple[int, float, av.VideoFrame]]:
    """Number, time in seconds and decoded frame of every frame in display order, not turned upright.

    Raises `VideoError` on damage, on a change of picture size, for colours that can't be converted, and at the end if
    frames are missing.
    """
    number, seconds = -1, 0.0
    turned = round(about.rotation / 90) % 2 == 1
    size = (about.width, about.height) if turned else (about.height, about.width)
    with open_video(path) as (container, stream):
        stream.codec_context.options = {"err_detect": "crccheck+bitstream+buffer+explode"}
        for number, frame in enumerate(_decoded(path, container, stream)):
            if frame.is_corrupt:
                raise VideoError(path, f"damaged at frame {number}")
            if (frame.height, frame.width) != size or frame.rotation != about.rotation:
                raise VideoError(path, f"the picture size changes at frame {number}")
            if frame.colorspace in _NO_RGB:
                raise VideoError(path, f"colour space {int(frame.colorspace)} can't be converted to RGB")
            # FFmpeg refuses to convert frames with some of these tags, though none changes what comes out.
            frame.color_trc = frame.color_primaries = _UNSPECIFIED
            seconds = float(frame.time) if frame.time is not None else number / about.fps
            yield number, seconds, frame
    _check_complete(path, about, number + 1, seconds)


def _decoded(
    path: str | Path, container: av.container.InputContainer, stream: av.VideoStream
) -> Iterator[av.VideoFrame]:
    """The frames of a stream. What a recording that begins between two key frames has before the first is left out."""
    count = 0
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.FFmpegError as error:
            if count or packet.is_keyframe or not packet.size:
                raise VideoError(path, f"damaged after frame {count - 1} ({error.strerror})") from None
            continue
        count += len(frames)
        yield from frames


def grey(frame: av.VideoFrame, convert: "Converter") -> np.ndarray:
    """A frame's brightness from 0 to 255, uint8 `H W`, not turned upright: as `convert`, made for "gray", gives it.

    Most files hold it as it is but for its range, which takes a third of the time to stretch here.
    """
    if frame.format.name not in _LUMA_FIRST or frame.color_range == ColorRange.JPEG:
        return convert(frame)
    plane = frame.planes[0]
    luma = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: frame.height, : frame.width]
    return cv2.convertScaleAbs(cv2.max(luma, _BLACK), None, 255 / 219, -_BLACK * 255 / 219)


class Converter:
    """Turns decoded frames into arrays of one format, of the width asked for if they are wider, not turned upright.

    It keeps its tables and works on one thread: `frame.to_ndarray` makes tables anew for each frame, and threads too,
    which takes longer than to convert one.
    """

    def __init__(self, pix_fmt: str, width: int | None = None) -> None:
        self._pix_fmt, self._width = pix_fmt, width
        self._tables = VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        """The array, uint8 `H W` or `H W C`."""
        wide = min(frame.width, self._width or frame.width)
        tall = max(2, round(frame.height * wide / frame.width))
        return self._tables.reformat(frame, wide, tall, self._pix_fmt, interpolation="AREA", threads=1).to_ndarray()


def pictures(path: str | Path, about: Probe) -> Iterator[Picture]:
    """Every frame in display order as an upright RGB image; raises as `raw_frames` does."""
    to_rgb = Converter("rgb24")
    for number, seconds, frame in raw_frames(path, about):
        yield Picture(number, seconds, upright(to_rgb(frame), frame.rotation))


def scale(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize, averaging areas where it shrinks and interpolating where it grows."""
    if image.shape[:2] == (height, width):
        return image
    shrinks = height <= image.shape[0] and width <= image.shape[1]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _check_complete(path: str | Path, about: Probe, decoded: int, last_seconds: float) -> None:
    """Refuse a file that ends early.

    Counts alone would refuse files whose edit list hides frames: time must be missing too.
    """
    short = about.duration - last_seconds > (_MISSING_ALLOWED + 1) / about.fps + 0.02 * about.duration
    if about.declared_frames and decoded < about.declared_frames - _MISSING_ALLOWED and short:
        raise VideoError(path, f"truncated: {decoded} of {about.declared_frames} frames can be decoded")
    if not about.declared_frames and short and about.duration:
        raise VideoError(path, f"truncated: ends after {last_seconds:.1f} of {about.duration:.1f} seconds")
