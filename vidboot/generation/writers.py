"""Writing generated videos a few frames at a time: mp4, GIF, a folder of PNG frames, or npy.

Every output takes float videos `C T H W` in [-1, 1] and gets its name when it is complete. Until then its frames are in
a folder for unfinished work, from which it can be continued.
"""

import itertools
import math
import os
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Protocol, runtime_checkable

import av
import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from vidboot.data.datasets import to_frames
from vidboot.data.files import atomic_path
from vidboot.data.video import write_video
from vidboot.errors import UserError
from vidboot.generation.request import FPS

SUFFIXES = (".mp4", ".gif", ".npy", "")
"""Endings of the file formats; none is a folder of PNG frames."""
GIF_FPS = 50.0
"""Highest frame rate of a GIF: players slow down frames of less than 20 ms."""
PNG_FOLDER = "frames"
"""Folder of PNG frames inside the folder for unfinished work."""
AT_ONCE = 64
"""How many frames are converted to 8 bits at once."""


@runtime_checkable
class Output(Protocol):
    """An unfinished video: `append` frames, then `finish` it. After a kill, `finish` can be called again."""

    def append(self, video: Float[Tensor, "C T H W"]) -> None:
        """Add frames."""
        ...

    def finish(self) -> None:
        """Complete the output and give it its name."""
        ...


def open_output(
    path: Path,
    work: Path,
    num_frames: int,
    fps: float,
    lossless: bool = False,
    done: int = 0,
    size: tuple[int, int, int] | None = None,
) -> Output:
    """The output for the suffix of `path` (none: a folder of PNG frames), continued after `done` frames.

    `work` is the folder for unfinished work, which the caller deletes in the end. With `size` (channels, height, width)
    an npy's space is reserved at once; raises `OSError` if the disk has too little. Raises `UserError` as `check_path`
    does, and if some of the `done` frames are missing.
    """
    check_path(path, named=done >= num_frames and not (work / PNG_FOLDER).exists())
    work.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".mp4":
        return Mp4(path, work, fps, lossless, done)
    if path.suffix == ".gif":
        return Gif(path, work, fps, done)
    if path.suffix == ".npy":
        return Npy(path, work, num_frames, done, size)
    return Pngs(path, work, done)


def check_path(path: Path, named: bool = False) -> None:
    """Raise `UserError` for a suffix that no output has, and if something is at `path` that may not be replaced.

    `named`: a folder of PNG frames may be there, because the program was killed right after the folder got its name.
    """
    if path.suffix not in SUFFIXES:
        raise UserError(f"--output {path} must end in .mp4, .gif or .npy, or be a folder for PNG frames (no ending)")
    if path.exists() and not path.is_file() and not path.is_dir():
        raise UserError(f"--output {path} is no file or folder, but a device; choose another name")
    if path.suffix and path.is_dir():
        raise UserError(f"--output {path} is a folder; choose another name, or delete it")
    if not path.suffix and (path.is_file() or (not named and path.is_dir() and any(path.iterdir()))):
        raise UserError(f"--output {path} exists and is not empty; choose another, or delete it")


def check_fps(path: Path, fps: int | float) -> None:
    """Raise `UserError` for a frame rate that an mp4 can't have or that GIF players don't reach."""
    lowest, highest = FPS[0], GIF_FPS if path.suffix == ".gif" else FPS[1]
    if not lowest <= fps <= highest:
        what = "a GIF" if path.suffix == ".gif" else "a video"
        raise UserError(f"{what} has {lowest:g} to {highest:g} frames per second, got {fps:g}; give another --fps")


def numbered(folder: Path, suffix: str, done: int) -> list[Path]:
    """The files in `folder`, which are named by the number of their first frame, in order.

    Files from frame `done` on are deleted, and so are partial files of a killed program. Raises `UserError` if the
    first frames are missing.
    """
    for partial in folder.glob(".partial-*"):
        partial.unlink()
    files = sorted(folder.glob(f"[0-9]*{suffix}"))
    for late in [file for file in files if int(file.stem) >= done]:
        late.unlink()
    kept = [file for file in files if int(file.stem) < done]
    if done and (not kept or int(kept[0].stem) > 0):
        raise _lost(folder)
    return kept


def _lost(folder: Path) -> UserError:
    return UserError(f"frames that were done are missing in {folder}; delete it to start again")


def slices(video: Float[Tensor, "C T H W"]) -> Iterator[UInt8[np.ndarray, "t H W C"]]:
    """The video as 8-bit frames, at most `AT_ONCE` at a time."""
    for part in video.split(AT_ONCE, dim=1):
        yield to_frames(part)


class Mp4:
    """H.264: short mp4 files, joined at the end without encoding again.

    They have no B-frames. B-frames delay what is shown by two frames, except in files of one or two frames, so that the
    times of joined files would overlap.
    """

    def __init__(self, path: Path, work: Path, fps: float, lossless: bool, done: int) -> None:
        self.path, self.work, self.fps, self.lossless = path, work, fps, lossless
        self.pieces = numbered(work, ".mp4", done)
        self.done = done

    def append(self, video: Float[Tensor, "C T H W"]) -> None:
        """Write short files, named by the number of their first frame."""
        for frames in slices(video):
            piece = self.work / f"{self.done:09d}.mp4"
            write_video(piece, frames, self.fps, lossless=self.lossless, b_frames=False)
            self.pieces.append(piece)
            self.done += len(frames)

    def finish(self) -> None:
        """Join the short files. They stay, so that they can be joined again after a kill."""
        join_videos(self.pieces, self.path)


def join_videos(pieces: Sequence[Path], path: Path) -> None:
    """Copy the packets of mp4 files with the same encoding, one file after the other, into a new file, atomically."""
    offset, stream = 0, None
    with (
        atomic_path(path) as partial,
        av.open(str(partial), "w", format="mp4", options={"movflags": "+faststart"}) as out,
    ):
        for piece in pieces:
            with av.open(str(piece)) as source:
                video = source.streams.video[0]
                assert video.average_rate is not None and video.time_base is not None  # as in all that `Mp4` writes
                stream = stream or out.add_stream_from_template(video)
                for packet in source.demux(video):
                    if packet.dts is not None and packet.pts is not None:
                        packet.pts, packet.dts = packet.pts + offset, packet.dts + offset
                        packet.stream = stream
                        out.mux(packet)
                offset += round(Fraction(video.frames) / video.average_rate / video.time_base)


class Pngs:
    """A folder with a PNG file for each frame, `000000000.png` and so on. It may exist, if it is empty."""

    def __init__(self, path: Path, work: Path, done: int) -> None:
        self.path, self.folder, self.done = path, work / PNG_FOLDER, done
        # If the program was killed after the folder got its name, nothing is left to do (see `check_path`).
        self.named = done > 0 and not self.folder.exists() and path.is_dir() and any(path.iterdir())
        if not self.named:
            numbered(self.folder, ".png", done)

    def append(self, video: Float[Tensor, "C T H W"]) -> None:
        """Write frames."""
        for frames in slices(video):
            for frame in frames:
                with atomic_path(self.folder / f"{self.done:09d}.png") as partial:
                    Image.fromarray(frame).save(partial)
                self.done += 1

    def finish(self) -> None:
        """Give the folder its name, unless it has it."""
        if self.named:
            return
        if self.path.exists():
            self.path.rmdir()
        self.folder.rename(self.path)
        self.named = True


class Gif(Pngs):
    """An animated GIF, made from PNG frames at the end."""

    def __init__(self, path: Path, work: Path, fps: float, done: int) -> None:
        self.path, self.folder, self.done, self.fps = path, work / PNG_FOLDER, done, fps
        numbered(self.folder, ".png", done)

    def finish(self) -> None:
        """Write the GIF. Its times are hundredths of a second: each frame ends at the nearest one."""
        names = sorted(self.folder.glob("[0-9]*.png"))
        with atomic_path(self.path) as partial, Image.open(names[0]) as first:
            rest = (Image.open(name) for name in names[1:])
            ends = [round(100 * t / self.fps) for t in range(len(names) + 1)]
            durations = [10 * (end - start) for start, end in itertools.pairwise(ends)]
            first.save(partial, save_all=True, append_images=rest, duration=durations, loop=0)


class Npy:
    """float32 of shape C T H W, written in place on disk; its space is reserved as soon as its size is known."""

    def __init__(
        self, path: Path, work: Path, num_frames: int, done: int, size: tuple[int, int, int] | None = None
    ) -> None:
        self.path, self.file, self.num_frames, self.done = path, work / "video.npy", num_frames, done
        self.reserved = done > 0
        self.named = done >= num_frames and not self.file.exists() and path.exists()
        if done and not self.named and not self.file.exists():
            raise _lost(work)
        if size is not None and not self.reserved:
            self._reserve(*size)

    def _reserve(self, channels: int, height: int, width: int) -> None:
        """Make the whole file: where the disk fills up later, writing to it would end the process without a word."""
        # An existing file is of another stream.
        shape = (channels, self.num_frames, height, width)
        np.lib.format.open_memmap(self.file, "w+", dtype=np.float32, shape=shape)
        with self.file.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, self.file.stat().st_size)
        self.reserved = True

    def append(self, video: Float[Tensor, "C T H W"]) -> None:
        """Write frames into their place."""
        channels, count, height, width = video.shape
        if not self.reserved:
            self._reserve(channels, height, width)
        array = np.lib.format.open_memmap(self.file, "r+")
        array[:, self.done : self.done + count] = video.cpu().numpy()
        array.flush()
        self.done += count

    def finish(self) -> None:
        """Give the file its name, unless it has it."""
        if not self.named:
            self.file.replace(self.path)
            self.named = True


def grid(videos: Float[Tensor, "B C T H W"], border: int = 2) -> Float[Tensor, "C T h w"]:
    """Several videos side by side, in a grid as nearly square as possible; a single video is returned as it is."""
    if len(videos) == 1:
        return videos[0]
    columns = math.ceil(math.sqrt(len(videos)))
    rows = math.ceil(len(videos) / columns)
    framed = torch.nn.functional.pad(videos, (0, border, 0, border), value=-1.0)
    cells = framed.new_full((rows * columns, *framed.shape[1:]), -1.0)
    cells[: len(videos)] = framed
    whole = rearrange(cells, "(r c) d t h w -> d t (r h) (c w)", r=rows)
    return whole[..., :-border, :-border]


def enlarged(video: Float[Tensor, "C T h w"], times: int) -> Float[Tensor, "C T H W"]:
    """The video with frames `times` as high and wide, by bicubic interpolation; values stay in [-1, 1]."""
    if times == 1:
        return video
    frames = torch.nn.functional.interpolate(video.transpose(0, 1), scale_factor=times, mode="bicubic")
    return frames.transpose(0, 1).clamp(-1, 1)
