"""Decode one video in order and strictly: a damaged file is refused with the reason, not filled with grey."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
from av.bitstream import BitStreamFilterContext
from av.video.reformatter import ColorRange, VideoReformatter

from vidboot.data.video import (
    TIMED_PACKETS,
    VideoError,
    check_not_mirrored,
    frame_rate,
    open_video,
    pictures_of,
    upright,
)

# Formats whose first plane is the brightness, 8 bits a pixel.
_LUMA_FIRST = {"yuv420p", "yuv422p", "yuv444p", "nv12"}
# Television's range of brightness, 16 to 235, stretched to 0 to 255: the new level of each of the 256.
STRETCHED = cv2.convertScaleAbs(np.arange(256).clip(16).astype(np.uint8), None, 255 / 219, -16 * 255 / 219)
# FFmpeg's numbers for an unspecified colour space, and for those that it can't convert: reserved ones, YCgCo, constant
# luminance, ICtCp and newer ones.
_UNSPECIFIED, _NO_RGB = 2, {3, 8, *range(10, 18)}
# FFmpeg's numbers for the transfer curves of HDR: PQ and HLG.
_HDR = {16, 18}
# Types of coded units of key frames that no later frame refers behind ("IDR").
_FRESH = {"h264": "5", "hevc": "19-20"}
# Frames at the end that a good file may lack: some muxers count one too many or start with an undecodable one.
_MISSING_ALLOWED = 2
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
    notes: tuple[str, ...] = field(default=())
    """What is unusual and was handled, as sentences for the report."""


@dataclass(frozen=True)
class Picture:
    """A decoded frame: its number in display order, its time in seconds, the upright image (uint8 `H W C`)."""

    number: int
    seconds: float
    image: np.ndarray


def probe(path: str | Path) -> Probe:
    """Read the headers, the first frame and some packets; raises `VideoError` if no frame can be decoded."""
    with open_video(path) as (container, stream):
        shown: list[int] = []
        packets = _noting(container.demux(stream), shown)
        first = next(_decoded(path, stream, packets), None)
        if first is None:
            raise VideoError(path, "none of its frames can be decoded" if shown else "no frames")
        check_not_mirrored(path, first)
        left_out = sum(time < first.pts for time in shown) if first.pts is not None else 0
        for _ in islice(packets, TIMED_PACKETS):
            pass
        turned = _is_sideways(first.rotation)
        height, width = (first.width, first.height) if turned else (first.height, first.width)
        aspect = float(stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio or 1)
        return Probe(
            height=height,
            width=width,
            pixel_aspect=1 / aspect if turned else aspect,
            fps=frame_rate(stream, shown),
            codec=stream.codec_context.name,
            pix_fmt=first.format.name,
            rotation=first.rotation,
            declared_frames=stream.frames,
            duration=_duration(container, stream),
            notes=_notes(container, first, aspect, left_out),
        )


def _is_sideways(rotation: int) -> bool:
    """Whether a rotation by so many degrees exchanges height and width."""
    return round(rotation / 90) % 2 == 1


def _noting(packets: Iterable[av.Packet], shown: list[int]) -> Iterator[av.Packet]:
    """Pass the packets on, and append to `shown` the times of those that no edit list hides."""
    for packet in packets:
        if packet.pts is not None and not packet.is_discard:
            shown.append(packet.pts)
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


def _notes(
    container: av.container.InputContainer, first: av.VideoFrame, aspect: float, left_out: int
) -> tuple[str, ...]:
    notes = []
    if (streams := len(pictures_of(container))) > 1:
        notes.append(f"{streams} video streams, the largest one is used")
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
    if first.interlaced_frame:
        notes.append("interlaced, not deinterlaced")
    return tuple(notes)


def raw_frames(path: str | Path, about: Probe) -> Iterator[tuple[int, float, av.VideoFrame]]:
    """Every frame in display order: its number, its time in seconds, and the frame as decoded, not turned upright.

    Raises `VideoError` for damage, a change of picture size, colours that can't be converted, and at the end for
    missing frames.
    """
    number, seconds = -1, 0.0
    size = (about.width, about.height) if _is_sideways(about.rotation) else (about.height, about.width)
    with open_video(path) as (container, stream):
        for number, frame in enumerate(_decoded(path, stream, container.demux(stream))):
            if frame.is_corrupt:
                raise VideoError(path, f"damaged at frame {number}")
            if number == 0:
                check_not_mirrored(path, frame)
            if (frame.height, frame.width) != size or frame.rotation != about.rotation:
                raise VideoError(path, f"the picture size changes at frame {number}")
            if frame.colorspace in _NO_RGB:
                raise VideoError(path, f"colour space {int(frame.colorspace)} can't be converted to RGB")
            # FFmpeg refuses to convert frames with some of these tags, though none of them changes the result.
            frame.color_trc = frame.color_primaries = _UNSPECIFIED
            seconds = float(frame.time) if frame.time is not None else number / about.fps
            yield number, seconds, frame
    _check_complete(path, about, number + 1, seconds)


def _decoded(path: str | Path, stream: av.VideoStream, packets: Iterable[av.Packet]) -> Iterator[av.VideoFrame]:
    """Frames in display order; raises `VideoError` for damage.

    A recording may begin between two key frames: frames that need the first one, which is missing, are left out.
    """
    stream.codec_context.options = {"err_detect": "crccheck+bitstream+buffer+explode"}
    number, begun, refers_back = -1, False, True
    for packet in packets:
        if packet.is_keyframe and not begun:
            begun, refers_back = True, not _starts_afresh(stream, packet)
        try:
            frames = packet.decode()
        except av.InvalidDataError as error:
            if number < 0 and refers_back and not packet.is_keyframe:
                continue
            where = f"after frame {number}" if number >= 0 else "from its first frame on"
            raise VideoError(path, f"damaged {where} ({error.strerror})") from None
        for frame in frames:
            number += 1
            yield frame


def _starts_afresh(stream: av.VideoStream, key: av.Packet) -> bool:
    """Whether no frame after this key frame refers to one before it, as in closed groups of pictures."""
    kinds = _FRESH.get(stream.codec_context.name)
    if kinds is None:
        return True
    try:
        only_fresh = BitStreamFilterContext(f"filter_units=pass_types={kinds}", stream)
        return bool(only_fresh.filter(av.Packet(bytes(key))))
    except av.FFmpegError:  # headers that this filter can't parse; any error of the decoder then counts as damage
        return True


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


def _check_complete(path: str | Path, about: Probe, decoded: int, last_seconds: float) -> None:
    """Raise `VideoError` if a file ends early.

    Both frames and time must be missing: an edit list hides frames of a complete file.
    """
    short = about.duration - last_seconds > (_MISSING_ALLOWED + 1) / about.fps + 0.02 * about.duration
    if about.declared_frames and decoded < about.declared_frames - _MISSING_ALLOWED and short:
        raise VideoError(path, f"truncated: {decoded} of {about.declared_frames} frames can be decoded")
    if not about.declared_frames and short and about.duration:
        raise VideoError(path, f"truncated: ends after {last_seconds:.1f} of {about.duration:.1f} seconds")
