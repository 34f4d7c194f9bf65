"""Strict decoding: damage and missing frames are errors, not grey pictures."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import av
from av.bitstream import BitStreamFilterContext

from vidboot.data.container import VideoError

# Types of coded units of key frames that no later frame refers behind ("IDR").
_FRESH = {"h264": "5", "hevc": "19-20"}
# Frames at the end that a good file may lack: some muxers count one too many or start with an undecodable one.
_MISSING_ALLOWED = 2


def decoded(path: str | Path, stream: av.VideoStream, packets: Iterable[av.Packet]) -> Iterator[av.VideoFrame]:
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


def check_complete(
    path: str | Path, declared_frames: int, duration: float, fps: float, decoded: int, last_seconds: float
) -> None:
    """Raise `VideoError` if a file ends early: `decoded` frames, which last `last_seconds`, and not what it says.

    Both frames and time must be missing: an edit list hides frames of a complete file.
    """
    short = duration - last_seconds > (_MISSING_ALLOWED + 1) / fps + 0.02 * duration
    if declared_frames and decoded < declared_frames - _MISSING_ALLOWED and short:
        raise VideoError(path, f"truncated: {decoded} of {declared_frames} frames can be decoded")
    if not declared_frames and short and duration:
        raise VideoError(path, f"truncated: ends after {last_seconds:.1f} of {duration:.1f} seconds")
