"""Decode one video in order and strictly: a damaged file is refused with the reason, not filled with grey."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, VideoReformatter

from data_prep.video.interlacing import deinterlaced
from data_prep.video.strict import check_complete, decoded
from vidboot.data.clock import TIMED_PACKETS, frame_rate
from vidboot.data.container import (
    VideoError,
    check_not_mirrored,
    films_of,
    is_untagged_hd,
    open_video,
    pictures_of,
    tag_colours,
)
from vidboot.data.video import upright

# Formats whose first plane is the brightness, 8 bits a pixel.
_LUMA_FIRST = {"yuv420p", "yuv422p", "yuv444p", "nv12"}
# Television's range of brightness, 16 to 235, stretched to 0 to 255: the new level of each of the 256.
STRETCHED = cv2.convertScaleAbs(np.arange(256).clip(16).astype(np.uint8), None, 255 / 219, -16 * 255 / 219)
# FFmpeg's numbers for an unspecified colour space, and for those that it can't convert: reserved ones, YCgCo, constant
# luminance, ICtCp and newer ones.
_UNSPECIFIED, _NO_RGB = 2, {3, 8, *range(10, 18)}
# FFmpeg's numbers for the transfer curves of HDR: PQ and HLG.
_HDR = {16, 18}
# Pixel aspects whose ratio differs from 1 by less than this are the same: broadcasts say 16:11 or 64:45 for one shape.
_SAME_ASPECT = 0.03
# Fewer pictures a second are no film: a camera that takes one now and then, or times that are wrong.
_LEAST_FPS = 0.1
_CLOCK = re.compile(r"(\d+):(\d+):(\d+(?:\.\d+)?)\s*\0*")


@dataclass(frozen=True)
class Probe:
    """Facts from the headers and the first frame; sizes are those of the upright picture, pixels."""

    height: int
    width: int
    pixel_aspect: float
    """Width of a pixel divided by its height."""
    fps: float
    codec: str
    pix_fmt: str
    rotation: int
    declared_frames: int
    """Number of frames according to the header, 0 if unknown."""
    duration: float
    """Seconds of the video stream according to the header, 0 if unknown."""
    deinterlace: bool = False
    """Whether interlaced frames are mended when they are read."""
    notes: tuple[str, ...] = field(default=())
    """What is unusual and was handled, as sentences for the report."""


@dataclass(frozen=True)
class Picture:
    """A decoded frame: its number in display order, its time in seconds, the upright image (uint8 `H W C`)."""

    number: int
    seconds: float
    image: np.ndarray


def probe(path: str | Path, deinterlace: bool = False) -> Probe:
    """Read the headers, the first frame and some packets.

    Raises `VideoError` if no frame can be decoded, or if its frames are too far apart for a film.
    """
    with open_video(path) as (container, stream):
        shown: list[int] = []
        packets = _noting(container.demux(stream), shown)
        first = next(decoded(path, stream, packets), None)
        if first is None:
            raise VideoError(path, "none of its frames can be decoded" if shown else "no frames")
        check_not_mirrored(path, first)
        left_out = sum(time < first.pts for time in shown) if first.pts is not None else 0
        for _ in islice(packets, TIMED_PACKETS):
            pass
        fps = frame_rate(stream, shown)
        if fps < _LEAST_FPS:
            raise VideoError(path, f"no film: its pictures are {1 / fps:.0f} seconds apart")
        turned = _is_sideways(first.rotation)
        height, width = (first.width, first.height) if turned else (first.height, first.width)
        aspect = float(stream.sample_aspect_ratio or _coded_aspect(stream))
        return Probe(
            height=height,
            width=width,
            pixel_aspect=1 / aspect if turned else aspect,
            fps=fps,
            codec=stream.codec_context.name,
            pix_fmt=first.format.name,
            rotation=first.rotation,
            declared_frames=stream.frames,
            duration=_duration(container, stream),
            deinterlace=deinterlace,
            notes=(*_streams_note(path, container), *_rate_note(stream, shown, fps), *_notes(first, aspect, left_out)),
        )


def _is_sideways(rotation: int) -> bool:
    """Whether a rotation by so many degrees exchanges height and width."""
    return round(rotation / 90) % 2 == 1


def _coded_aspect(stream: av.VideoStream) -> float:
    """Width of a pixel divided by its height, as the coded headers that were read last say."""
    return float(stream.codec_context.sample_aspect_ratio or 1)


def _noting(packets: Iterable[av.Packet], shown: list[int]) -> Iterator[av.Packet]:
    """Pass the packets on, and append to `shown` the times of those that no edit list hides."""
    for packet in packets:
        time = packet.dts if packet.pts is None else packet.pts
        if time is not None and not packet.is_discard:
            shown.append(time)
        yield packet


def _duration(container: av.container.InputContainer, stream: av.VideoStream) -> float:
    """Seconds of the video stream according to the headers, 0 if these state only a length that includes the sound."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    # Matroska has a tag, to whose name some programs add a language.
    for name, value in stream.metadata.items():
        if name.split("-")[0].upper() == "DURATION" and (said := _CLOCK.fullmatch(value)):
            hours, minutes, seconds = map(float, said.groups())
            return 3600 * hours + 60 * minutes + seconds
    alone = len(container.streams) == 1
    return (container.duration or 0) / 1e6 if alone else 0.0


def _streams_note(path: str | Path, container: av.container.InputContainer) -> tuple[str, ...]:
    films, every = films_of(Path(path), container), pictures_of(container)
    several = (f"{len(films)} video streams, the largest one is used",) if len(films) > 1 else ()
    beside = len(every) - len(films)
    return (*several, f"single pictures beside the film, left out: {beside}") if beside else several


def _rate_note(stream: av.VideoStream, shown: Sequence[int], fps: float) -> tuple[str, ...]:
    """A remark on a raw stream whose headers say no rate, for which FFmpeg has a default."""
    return () if shown or stream.codec_context.framerate else (f"says no frame rate, read as {fps:g} a second",)


def _notes(first: av.VideoFrame, aspect: float, left_out: int) -> tuple[str, ...]:
    notes = []
    if left_out:
        notes.append(f"pictures at the beginning that need earlier ones, left out: {left_out}")
    if first.rotation:
        notes.append(f"turned by {first.rotation} degrees, as the file says")
    if abs(aspect - 1) > 0.01:
        notes.append(f"pixels {aspect:.3f} times as wide as high, scaled to square ones")
    if any(component.bits > 8 for component in first.format.components):
        notes.append(f"{first.format.components[0].bits} bits a sample, stored with 8")
    if first.color_trc in _HDR:
        notes.append("HDR, stored without tone mapping")
    if len(first.format.components) in (2, 4):
        notes.append("transparency dropped")
    if is_untagged_hd(first):
        notes.append("HD without a note on its colours, read as BT.709")
    return tuple(notes)


def raw_frames(
    path: str | Path, about: Probe, notes: list[str] | None = None
) -> Iterator[tuple[int, float, av.VideoFrame]]:
    """Every frame in display order: its number, its time in seconds, and the frame as decoded, not turned upright.

    Appends to `notes`, at the end, what only the whole video shows. Raises `VideoError` for damage, a change of the
    picture's size or its pixels' shape, colours that can't be converted, and at the end for missing frames.
    """
    number, earliest, latest = -1, 0.0, 0.0
    interlaced: list[int] = []
    with open_video(path) as (container, stream):
        frames = _checked(path, about, stream, decoded(path, stream, container.demux(stream)), interlaced)
        for number, frame in enumerate(deinterlaced(frames) if about.deinterlace else frames):
            seconds = float(frame.time) if frame.time is not None else number / about.fps
            earliest, latest = min(earliest, seconds), max(latest, seconds)
            yield number, seconds, frame
    check_complete(path, about.declared_frames, about.duration, about.fps, number + 1, latest - earliest)
    if interlaced and notes is not None:
        some = "" if len(interlaced) == number + 1 else f" at {len(interlaced)} frames, from frame {interlaced[0]} on"
        notes.append(f"interlaced{some}, {'' if about.deinterlace else 'not '}deinterlaced")


def _checked(
    path: str | Path, about: Probe, stream: av.VideoStream, frames: Iterable[av.VideoFrame], interlaced: list[int]
) -> Iterator[av.VideoFrame]:
    """The frames, with colours that FFmpeg converts; appends to `interlaced` the numbers of those that are so."""
    size = (about.width, about.height) if _is_sideways(about.rotation) else (about.height, about.width)
    aspect = 1.0
    for number, frame in enumerate(frames):
        if frame.is_corrupt:
            raise VideoError(path, f"damaged at frame {number}")
        if number == 0:
            check_not_mirrored(path, frame)
            aspect = _coded_aspect(stream)
        if (frame.height, frame.width) != size or frame.rotation != about.rotation:
            raise VideoError(path, f"the picture size changes at frame {number}")
        if abs(_coded_aspect(stream) / aspect - 1) > _SAME_ASPECT:
            raise VideoError(path, f"the shape of its pixels changes at about frame {number}")
        if frame.colorspace in _NO_RGB:
            raise VideoError(path, f"colour space {int(frame.colorspace)} can't be converted to RGB")
        if frame.interlaced_frame:
            interlaced.append(number)
        tag_colours(frame)
        # FFmpeg refuses to convert frames with some of these tags, though none of them changes the result.
        frame.color_trc = frame.color_primaries = _UNSPECIFIED
        yield frame


def grey(frame: av.VideoFrame, convert: "Converter") -> np.ndarray:
    """A frame's brightness from 0 to 255, uint8 `H W`, not turned upright; `convert` is a `Converter("gray")`.

    Most files hold the brightness as a plane, in another range. To stretch that takes less than half of the
    converter's time and gives the same values.
    """
    if frame.format.name not in _LUMA_FIRST or frame.color_range == ColorRange.JPEG:
        return convert(frame)
    plane = frame.planes[0]
    luma = np.asarray(plane).reshape(-1, plane.line_size)[: frame.height, : frame.width]
    return cv2.LUT(luma, STRETCHED)


class Converter:
    """Converts decoded frames to arrays of one pixel format, not turned upright; shrinks frames wider than `width`.

    It keeps its tables and uses one thread: `frame.to_ndarray` makes new tables and threads for each frame, which
    takes longer than the conversion.
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
    """Every frame in display order as an upright RGB image; raises the errors of `raw_frames`."""
    to_rgb = Converter("rgb24")
    for number, seconds, frame in raw_frames(path, about):
        yield Picture(number, seconds, upright(to_rgb(frame), frame.rotation))


def scale(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize a picture: by averaging areas if it shrinks, else by interpolation."""
    if image.shape[:2] == (height, width):
        return image
    shrinks = height <= image.shape[0] and width <= image.shape[1]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
