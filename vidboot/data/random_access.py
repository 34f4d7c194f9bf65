"""Some frames of a file without decoding all before them: by torchcodec where it is installed, else by decord.

On our shots torchcodec is faster (tests/bench/bench_readers.py); it needs FFmpeg's libraries on the system, decord
brings its own. Readers are opened where they are used and closed before returning: a decord reader that lives through a
fork hangs.
"""

import importlib
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from pathlib import Path
from types import ModuleType

import numpy as np
from jaxtyping import UInt8

from vidboot.data.container import VideoError, check_not_mirrored, is_untagged_hd, open_video
from vidboot.data.members import file_of, for_ffmpeg

Frames = UInt8[np.ndarray, "T H W C"]
Reader = Callable[[str, Sequence[int]], Frames | None]


def read_at(path: str | Path, indices: Sequence[int]) -> Frames | None:
    """Frames by their number in display order, RGB; None where that must be left to decoding from the start.

    Raises `VideoError` if the file can't be opened.
    """
    reader = _reader()
    return reader(for_ffmpeg(path), indices) if reader is not None and _is_read_rightly(reader, path) else None


@cache
def _reader() -> Reader | None:
    """The fastest one that this machine has."""
    if (decoders := _imported("torchcodec.decoders")) is not None:
        return lambda path, indices: _by_torchcodec(decoders, path, indices)
    if (decord := _imported("decord")) is not None:
        return lambda path, indices: _by_decord(decord, path, indices)
    return None


def _imported(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except (ImportError, OSError, RuntimeError):  # not installed, or torchcodec without FFmpeg's libraries
        return None


def _is_read_rightly(reader: Reader, path: str | Path) -> bool:
    """Whether a reader counts the frames of a file rightly: only those of plain H.264 in mp4, as our shots are.

    They count packets or times instead of frames; decord ignores rotation flags. It also fails on very small pictures,
    and each failure leaks memory, so that its first frame is tried here, once.
    """
    try:
        status = Path(file_of(path)).stat()
    except OSError as error:
        raise VideoError(path, f"can't be opened ({error.strerror})") from None
    return _probe(reader, str(path), status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=65536)  # opening a file with PyAV takes long, compared with reading a clip from it
def _probe(reader: Reader, path: str, _modified_ns: int, _size: int) -> bool:
    with open_video(path) as (container, stream):
        if stream.codec_context.name != "h264" or "mp4" not in container.format.name or stream.start_time:
            return False
        if len(container.streams.video) > 1:  # another one may be chosen
            return False
        first = next(container.decode(stream), None)
        # What is untagged is converted by BT.601, whatever its size.
        if first is None or first.rotation != 0 or is_untagged_hd(first):
            return False
        check_not_mirrored(path, first)
    return reader(for_ffmpeg(path), [0]) is not None


def _by_torchcodec(decoders: ModuleType, path: str, indices: Sequence[int]) -> Frames | None:
    """Frames read by torchcodec, or None where it fails: PyAV then reads them, or names the reason."""
    try:
        decoder = decoders.VideoDecoder(path, dimension_order="NHWC", num_ffmpeg_threads=1)
        if not len(indices) or max(indices) >= len(decoder):
            return None
        return decoder.get_frames_at(indices=list(indices)).data.numpy()
    except (IndexError, RuntimeError, ValueError):
        return None


def _by_decord(decord: ModuleType, path: str, indices: Sequence[int]) -> Frames | None:
    """Frames read by decord, or None where it fails: PyAV then reads them, or names the reason."""
    try:
        reader = decord.VideoReader(path, num_threads=1)
        if len(indices) and max(indices) >= len(reader):
            return None
        return reader.get_batch(list(indices)).asnumpy()
    except (decord.DECORDError, RuntimeError):
        return None
