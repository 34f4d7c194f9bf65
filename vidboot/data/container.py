"""Opening a video file: which of its streams is the film, and what is no video though FFmpeg opens it."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.sidedata.sidedata import SideData
from av.stream import Disposition
from av.video.reformatter import Colorspace

from vidboot.data.members import for_ffmpeg, member_of, read_bytes, size_of
from vidboot.errors import UserError

NO_VIDEO_FORMATS = {"tty", "image2", "lavfi", "bin", "xbin", "adf", "idf"}
"""What FFmpeg opens though it is no video: plain text as terminal art, single pictures, test patterns."""
LIST_OF_FILES = "a list of other files"
"""Why a playlist is no video: its pictures are in other files, which are read themselves."""
# How files of such lists begin, after white space, in lower case; and FFmpeg's names of such formats.
_LISTS = (b"#extm3u", b"ffconcat version", b"[playlist]", b"[reference]", b"<asx", b"<smil", b"<mpd", b"<playlist")
_LIST_FORMATS = {"hls", "concat", "dash", "sdp", "imf"}
# Boxes that an mp4 never begins with, but pieces of one for streaming do.
_FRAGMENTS = {b"styp", b"moof", b"sidx"}
_XML, _HEAD = b"<?xml", 2048
# Packets that are looked at, at most, to tell a film from pictures beside it. A stream that has so many times fewer of
# them than another one shows about a picture a second, or less.
_LOOKED_AT, _SLIDES = 2000, 20
# From this size on, pictures that do not say how their colours are coded are HD, as mpv takes them too.
_HD_HEIGHT, _HD_WIDTH = 720, 1280


class VideoError(UserError):
    """A video that can't be read: its `path`, and the `reason` in words."""

    def __init__(self, path: str | Path, reason: str) -> None:
        super().__init__(str(path), reason)
        self.path, self.reason = Path(path), reason

    def __str__(self) -> str:
        return f"{self.args[0]}: {self.reason}"


class UnreadableError(VideoError):
    """A video that can't be read now but perhaps later: the file system refused, whatever the file holds."""


def is_list(path: str | Path) -> bool:
    """Whether a file is a playlist (m3u, HLS, DASH, concat, asx, …); raises `OSError` if it can't be read."""
    head = read_bytes(path, _HEAD).removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if head.startswith(_XML):
        return any(b"<" + name in head for name in (b"mpd", b"asx", b"smil", b"playlist", b"compositionplaylist"))
    return head.startswith(_LISTS)


def _is_fragment(path: Path) -> bool:
    return read_bytes(path, 8)[4:] in _FRAGMENTS


@contextmanager
def open_video(path: str | Path) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """Open a file with PyAV and choose the largest of its films, to be decoded on one thread.

    Only this file's own bytes are read. Raises `VideoError` with the reason in words, also for what PyAV raises inside
    the `with` block.
    """
    path = Path(path)
    try:
        if size_of(path) == 0:
            raise VideoError(path, "empty file (0 bytes)")
        if is_list(path):
            raise VideoError(path, LIST_OF_FILES)
        with _opened(path) as container:
            _check_format(path, container)
            stream = max(films_of(path, container), key=_area, default=None)
            if stream is None:
                kinds = sorted({s.type for s in container.streams})
                raise VideoError(path, f"no video stream (only: {', '.join(kinds) or 'nothing'})")
            if stream.codec_context is None:
                raise VideoError(path, "no decoder for its codec")
            stream.codec_context.thread_count = 1
            yield container, stream
    except av.FFmpegError as error:
        if _is_fragment(path):
            raise VideoError(path, "a piece of a video whose beginning is in another file: join them") from None
        kind = UnreadableError if isinstance(error, OSError) else VideoError
        raise kind(path, f"damaged or not a video ({error.strerror})") from None
    except OSError as error:
        raise UnreadableError(path, f"can't be opened ({error.strerror})") from None


def _opened(path: Path) -> av.container.InputContainer:
    # An absolute path: FFmpeg takes "a:b.mp4" for a protocol. No network, whatever a file refers to.
    protocols = "file" if member_of(path) is None else "subfile,file"
    options = {"protocol_whitelist": protocols}
    return av.open(for_ffmpeg(path.absolute()), metadata_errors="replace", options=options)


def _check_format(path: Path, container: av.container.InputContainer) -> None:
    names = set(container.format.name.split(","))
    if names & _LIST_FORMATS:
        raise VideoError(path, LIST_OF_FILES)
    if names & NO_VIDEO_FORMATS or any(name.endswith("_pipe") for name in names):
        raise VideoError(path, f"not a video (looks like {container.format.long_name})")


def pictures_of(container: av.container.InputContainer) -> list[av.VideoStream]:
    """The video streams of a file, without attached pictures such as album covers, unless it has nothing else."""
    streams = list(container.streams.video)
    return [s for s in streams if not s.disposition & Disposition.attached_pic] or streams


def films_of(path: Path, container: av.container.InputContainer) -> list[av.VideoStream]:
    """Those of `pictures_of` that have many pictures: covers and slides are not always marked as such.

    They are counted: AVI's headers count what isn't there, too. If none has more than one picture, all are returned.
    """
    streams = pictures_of(container)
    if len(streams) < 2:
        return streams
    counts = _counted(path)
    least = max(1.0, max(counts.values(), default=0) / _SLIDES)
    return [stream for stream in streams if counts[stream.index] > least] or streams


def _counted(path: Path) -> Counter[int]:
    """Packets of each video stream in the beginning of the file, up to damage."""
    counts: Counter[int] = Counter()
    with suppress(av.FFmpegError), _opened(path) as container:
        for packet in islice(container.demux(list(container.streams.video)), _LOOKED_AT):
            if packet.size:
                counts[packet.stream.index] += 1
    return counts


def _area(stream: av.VideoStream) -> int:
    return stream.width * stream.height if stream.codec_context is not None else 0


def is_untagged_hd(frame: av.VideoFrame) -> bool:
    """Whether a frame is of HD size and does not say by which matrix its colours were made."""
    untagged = int(frame.colorspace) == 2 and not frame.format.is_rgb
    return untagged and (frame.height >= _HD_HEIGHT or frame.width >= _HD_WIDTH)


def tag_colours(frame: av.VideoFrame) -> None:
    """Take untagged HD for BT.709, as players do: FFmpeg converts whatever is untagged by BT.601."""
    if is_untagged_hd(frame):
        frame.colorspace = Colorspace.ITU709


def check_not_mirrored(path: str | Path, frame: av.VideoFrame) -> None:
    """Refuse a video whose display matrix mirrors it: its rotation flag alone would turn it the wrong way.

    Call it for the first frame only: reading a frame's side data keeps the frame in memory until Python's garbage
    collector runs, which may be hundreds of frames later.
    """
    for data in cast(Iterable[SideData], frame.side_data):  # its stub says otherwise
        if data.type.name == "DISPLAYMATRIX":
            a, b, _, c, d = np.frombuffer(bytes(data), np.int32, count=5).astype(float)
            if a * d < b * c:
                raise VideoError(path, "its pictures are mirrored (display matrix)")
