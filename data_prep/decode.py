"""Decoding one video in order, strictly: what is damaged is refused with its reason, not shown grey."""

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
_STRETCHED = cv2.convertScaleAbs(np.arange(256).clip(16).astype(np.uint8), None, 255 / 219, -16 * 255 / 219)
# FFmpeg's numbers for colours of no stated kind, and for those that it can't convert: reserved ones, YCgCo, constant
# luminance, ICtCp and newer ones.
_UNSPECIFIED, _NO_RGB = 2, {3, 8, *range(10, 18)}
# FFmpeg's numbers for the transfer curves of HDR: PQ and HLG.
_HDR = {16, 18}
# Kinds of coded units of key frames that nothing refers back behind ("IDR").
_FRESH = {"h264": "5", "hevc": "19-20"}
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
    """Read headers, the first frame and some packets; raises `VideoError` with the reason if there is no frame."""
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
        turned = round(first.rotation / 90) % 2 == 1
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


def _noting(packets: Iterable[av.Packet], shown: list[int]) -> Iterator[av.Packet]:
    """The packets; adds to `shown` the times of those that no edit list hides."""
    for packet in packets:
        if packet.pts is not None and not packet.is_discard:
            shown.append(packet.pts)
        yield packet


def _duration(container: av.container.InputContainer, stream: av.VideoStream) -> float:
    """Seconds of the video stream according to the headers, 0 if they tell only those of the sound beside it."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    # Matroska: a tag, which some writers give a language.
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
    """Number, time in seconds and decoded frame of every frame in display order, not turned upright.

    Raises `VideoError` on damage, on a change of picture size, for colours that can't be converted, and at the end if
    frames are missing.
    """
    number, seconds = -1, 0.0
    turned = round(about.rotation / 90) % 2 == 1
    size = (about.width, about.height) if turned else (about.height, about.width)
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
            # FFmpeg refuses to convert frames with some of these tags, though none changes what comes out.
            frame.color_trc = frame.color_primaries = _UNSPECIFIED
            seconds = float(frame.time) if frame.time is not None else number / about.fps
            yield number, seconds, frame
    _check_complete(path, about, number + 1, seconds)


def _decoded(path: str | Path, stream: av.VideoStream, packets: Iterable[av.Packet]) -> Iterator[av.VideoFrame]:
    """Frames in display order, strictly: raises `VideoError` on damage.

    A recording may begin between key frames: what needs those before its beginning is left out.
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
    """Whether nothing after this key frame refers to what came before it, as in groups of pictures that are closed."""
    kinds = _FRESH.get(stream.codec_context.name)
    if kinds is None:
        return True
    try:
        only_fresh = BitStreamFilterContext(f"filter_units=pass_types={kinds}", stream)
        return bool(only_fresh.filter(av.Packet(bytes(key))))
    except av.FFmpegError:  # headers that this filter can't parse: the decoder decides, and no error is let pass
        return True


def grey(frame: av.VideoFrame, convert: "Converter") -> np.ndarray:
    """A frame's brightness from 0 to 255, uint8 `H W`, not turned upright: as `convert`, made for "gray", gives it.

    Most files hold it as it is except for its range; stretching that here takes less than half the time.
    """
    if frame.format.name not in _LUMA_FIRST or frame.color_range == ColorRange.JPEG:
        return convert(frame)
    plane = frame.planes[0]
    luma = np.asarray(plane).reshape(-1, plane.line_size)[: frame.height, : frame.width]
    return cv2.LUT(luma, _STRETCHED)


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
