"""Reading and writing videos as uint8 arrays `T H W C`."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from jaxtyping import UInt8

from vidboot.data.container import VideoError, check_not_mirrored, open_video, tag_colours
from vidboot.data.files import atomic_path
from vidboot.data.random_access import Frames, read_at


def upright(image: UInt8[np.ndarray, "H W *C"], rotation: int) -> UInt8[np.ndarray, "h w *C"]:
    """Turn a decoded picture by the file's rotation flag (degrees counter-clockwise, multiples of 90)."""
    turns = round(rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


def iter_frames(path: str | Path) -> Iterator[UInt8[np.ndarray, "H W C"]]:
    """Decode a file in display order, one RGB frame at a time, in flat memory, the right way up.

    Raises `VideoError` if the file can't be read.
    """
    to_rgb = VideoReformatter()  # one for all frames: `frame.to_ndarray` would set up threads and tables for each
    with open_video(path) as (container, stream):
        for number, frame in enumerate(container.decode(stream)):
            if number == 0:
                check_not_mirrored(path, frame)
            tag_colours(frame)
            yield upright(to_rgb.reformat(frame, format="rgb24", threads=1).to_ndarray(), frame.rotation)


def read_frames(
    path: str | Path, indices: Sequence[int] | None = None, height: int | None = None, width: int | None = None
) -> Frames:
    """Read frames by their number in display order (None: all), RGB, resized if both `height` and `width` are given.

    Resizing averages areas. Raises `VideoError` if the file can't be read or has no such frame.
    """
    if indices is not None and any(i < 0 for i in indices):
        raise ValueError(f"frame numbers start at 0, got {min(indices)}")
    frames = None if indices is None else read_at(path, indices)
    if frames is None:
        frames = _read_pyav(path, indices)
    if height is not None and width is not None:
        frames = np.stack([cv2.resize(f, (width, height), interpolation=cv2.INTER_AREA) for f in frames])
    return frames


def _read_pyav(path: str | Path, indices: Sequence[int] | None) -> Frames:
    wanted = None if indices is None else set(indices)
    found: dict[int, np.ndarray] = {}
    number = -1
    for number, frame in enumerate(iter_frames(path)):
        if wanted is None or number in wanted:
            found[number] = frame
        if wanted is not None and len(found) == len(wanted):
            break
    if number < 0:
        raise VideoError(path, "no frames")
    order = range(number + 1) if indices is None else indices
    missing = sorted(set(order) - set(found))
    if missing:
        raise VideoError(path, f"has {number + 1} frames, so no frame {missing[0]}")
    if not len(order):
        return np.zeros((0, *next(iter_frames(path)).shape), np.uint8)
    return np.stack([found[i] for i in order])


@dataclass(frozen=True)
class Encoding:
    """How an H.264 file is encoded."""

    crf: int = 16
    """x264's constant rate factor: lower is better and larger."""
    gop: int = 24
    """Frames from one key frame to the next."""
    chroma: Literal["420", "444"] = "420"
    """"420" stores colour at half the size, which every player shows; odd sizes are stored as "444" in any case."""
    lossless: bool = False
    """Keep the RGB values exactly."""
    quick: bool = False
    """For small files that are often read: a quarter of the encoding time, half the decoding time, a third larger."""
    b_frames: bool = True
    """Without them packets are in display order, so that files can be joined packet by packet."""

    def options(self) -> dict[str, str]:
        """The encoder's own options."""
        quality = {"qp": "0"} if self.lossless else {"crf": str(self.crf)}
        speed = {"preset": "superfast", "tune": "fastdecode"} if self.quick else {"preset": "medium"}
        # One thread: the output must not depend on the machine's number of cores. No macroblock tree: in frames as
        # small as 64×36 x264's vector code for it reads uninitialised memory, and the same video gives different files.
        options = {**quality, **speed, "g": str(self.gop), "threads": "1", "mbtree": "0"}
        return options if self.b_frames else options | {"bf": "0"}


class VideoWriter:
    """Write an H.264 mp4 frame by frame (uint8 RGB); it gets its name when the `with` block ends without error."""

    def __init__(self, path: str | Path, fps: int | float | Fraction, encoding: Encoding = Encoding()) -> None:
        self.path, self.encoding = Path(path), encoding
        self.rate = Fraction(fps).limit_denominator(100_000)
        self.num_frames = 0
        self._stream: av.VideoStream | None = None

    def __enter__(self) -> "VideoWriter":
        with ExitStack() as stack:
            partial = stack.enter_context(atomic_path(self.path))
            options = {"movflags": "+faststart"}
            self._container = stack.enter_context(av.open(str(partial), "w", format="mp4", options=options))
            self._open_files = stack.pop_all()
        return self

    def write(self, frame_HWC: UInt8[np.ndarray, "H W C"]) -> None:
        """Append one frame; all frames have the size of the first."""
        if self._stream is None:
            self._stream = self._open_stream(*frame_HWC.shape[:2])
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame_HWC), format="rgb24")
        self._container.mux(self._stream.encode(frame))
        self.num_frames += 1

    def _open_stream(self, height: int, width: int) -> av.VideoStream:
        lossless = self.encoding.lossless
        codec = "libx264rgb" if lossless else "libx264"
        stream = self._container.add_stream(codec, rate=self.rate, options=self.encoding.options())
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = width, height
        stream.codec_context.thread_count = 1  # for the conversion of colours, too
        whole_chroma = self.encoding.chroma == "444" or height % 2 or width % 2
        stream.pix_fmt = "rgb24" if lossless else "yuv444p" if whole_chroma else "yuv420p"
        if not lossless:  # FFmpeg converts by BT.601; players take HD that says nothing for BT.709
            stream.codec_context.colorspace = Colorspace.ITU601
            stream.codec_context.color_range = ColorRange.MPEG
        return stream

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        with self._open_files:
            if error is not None:
                raise error  # through the open file, which then does not get its name
            if self._stream is None:
                raise ValueError(f"no frame was written to {self.path}")
            self._container.mux(self._stream.encode(None))


def write_video(path: str | Path, frames: Frames, fps: int | float | Fraction, **encoding: Any) -> None:
    """Write RGB frames as an H.264 mp4, atomically; `encoding` are the fields of `Encoding`."""
    with VideoWriter(path, fps, Encoding(**encoding)) as writer:
        for frame in frames:
            writer.write(frame)
