"""The files that say what is known of a video to generate, read a stretch of frames at a time."""

import hashlib
import io
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import UInt8

from vidboot.data.clock import TIMED_PACKETS, frame_rate
from vidboot.data.container import VideoError, open_video
from vidboot.data.datasets import to_tensor
from vidboot.data.manifest import FILE_NAME, Shot, load_manifest
from vidboot.data.members import member_of, read_bytes
from vidboot.data.video import iter_frames, read_frames
from vidboot.errors import UserError
from vidboot.method.conditioning import Observation

IMAGES = {".png", ".jpg", ".jpeg", ".bmp", ".webp"}


@dataclass(frozen=True)
class InputFiles:
    """First frames (an image or a video), a low-resolution video and a damaged one; each may be absent.

    The damaged video is a shot that preprocessing stored, with its mask in the manifest.
    """

    height: int
    width: int
    init: Path | None = None
    low_res: Path | None = None
    repair: Path | None = None

    def check(self) -> int | None:
        """Check the files, and return the number of frames of the longer of `low_res` and `repair` (None: neither).

        Raises `UserError` for a file that can't be read, has the wrong size or has no mask.
        """
        if self.init is not None:
            frames = _first(self.init)
            if frames.shape[:2] != (self.height, self.width):
                raise UserError(f"--init {self.init} is {_size(frames)}, but the run makes {self.height}×{self.width}")
        if (shot := self._shot) is not None:
            if shot.mask_path is None:
                raise UserError(
                    f"--repair {self.repair}: preprocessing masked nothing in it (verdict: {shot.verdict}), so there "
                    "is nothing to repair; masks of your own go into the configuration of tools/preprocess.py (masks)"
                )
            shot.mask(range(1))
            if (shot.height, shot.width) != (self.height, self.width):
                raise UserError(
                    f"--repair {self.repair} is {shot.height}×{shot.width}, but the run makes "
                    f"{self.height}×{self.width}; preprocess it at that size"
                )
        if self.low_res is not None:
            self._scale(_first(self.low_res))
        lengths = [] if self.low_res is None else [self._low_res_count]
        lengths += [] if self.repair is None else [count_frames(self.repair)]
        return max(lengths, default=None)

    def hashes(self) -> dict[str, str | None]:
        """A hash of each file's content; that of the damaged video covers its mask too."""
        shot = self._shot
        masks = [] if shot is None or shot.mask_path is None else [shot.root / shot.mask_path]
        files = {"init": [self.init], "low_res": [self.low_res], "repair": [self.repair, *masks]}
        present = {name: [path for path in paths if path is not None] for name, paths in files.items()}
        return {f"{name}_hash": _hash(paths) if paths else None for name, paths in present.items()}

    def fps(self) -> float | None:
        """Frames per second of the damaged, the low-resolution or the first video given; None if there is no video."""
        if self._shot is not None:
            return self._shot.fps
        counts = {self.low_res: self._low_res_count, self.init: self._init_count}
        # A still GIF is a video of one frame, which has no rate.
        videos = [path for path, count in counts.items() if path is not None and count > 1]
        return rate_of(videos[0]) if videos else None

    # A stream reads one stretch after another, so these are looked up only once.

    @cached_property
    def _init_count(self) -> int:
        if self.init is None:
            return 0
        return 1 if self.init.suffix.lower() in IMAGES else count_frames(self.init)

    @cached_property
    def _low_res_count(self) -> int:
        return 0 if self.low_res is None else count_frames(self.low_res)

    @cached_property
    def _shot(self) -> Shot | None:
        return None if self.repair is None else find_shot(self.repair)

    def frames(self, start: int, end: int) -> Observation | None:
        """What is known of the frames from `start` up to, not including, `end`."""
        parts = [self._first_frames(start, end), self._clean_pixels(start, end), self._low_resolution(start, end)]
        observation = None
        for part in parts:
            if part is not None:
                observation = part if observation is None else observation & part
        return observation

    def _first_frames(self, start: int, end: int) -> Observation | None:
        if self.init is None:
            return None
        numbers = range(start, min(end, self._init_count))
        if not numbers:
            return None
        frames = read_any(self.init, numbers)
        return Observation.of_first_frames(to_tensor(frames)[None], end - start)

    def _clean_pixels(self, start: int, end: int) -> Observation | None:
        if (shot := self._shot) is None:
            return None
        numbers = range(start, min(end, shot.num_frames))
        if not numbers:
            return None
        mask = torch.from_numpy(shot.mask(numbers))[None, None]
        return Observation.of_pixels(to_tensor(shot.frames(numbers))[None], mask).frames(0, end - start)

    def _low_resolution(self, start: int, end: int) -> Observation | None:
        if self.low_res is None:
            return None
        numbers = range(start, min(end, self._low_res_count))
        if not numbers:
            return None
        frames = read_frames(self.low_res, numbers)
        low = to_tensor(frames)[None]
        return Observation.of_low_resolution(low, self._scale(frames[0])).frames(0, end - start)

    def _scale(self, frame_HWC: UInt8[np.ndarray, "h w C"]) -> int:
        scale, rest = divmod(self.height, frame_HWC.shape[0])
        if rest or scale < 2 or self.width != scale * frame_HWC.shape[1]:
            raise UserError(
                f"--low-res {self.low_res} is {_size(frame_HWC)}, but the run makes {self.height}×{self.width}: both "
                "sides must be that over one whole number from 2 up"
            )
        return scale


def find_shot(path: Path) -> Shot:
    """The shot that preprocessing stored as `path`; raises `UserError` if there is none."""
    path = path.resolve()
    for folder in path.parents:
        if (folder / FILE_NAME).is_file():
            for shot in load_manifest(folder):
                if (folder / shot.path).resolve() == path:
                    return shot
    raise UserError(
        f"{path} is not a shot of a preprocessed folder, so it has no mask: run tools/preprocess.py on the video and "
        "give a shot that it stored"
    )


def read_any(path: Path, numbers: range) -> UInt8[np.ndarray, "T H W C"]:
    """An image, as one frame, or the frames of a video with these numbers; raises `UserError` if it can't be read."""
    if path.suffix.lower() not in IMAGES:
        return read_frames(path, numbers)
    image = cv2.imread(str(path))
    if image is None:
        raise UserError(f"{path} can't be read as an image")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)[None]


def rate_of(path: Path) -> float:
    """Frames per second of a video file."""
    with open_video(path) as (container, stream):
        packets = islice(container.demux(stream), TIMED_PACKETS)
        return frame_rate(stream, [p.pts for p in packets if p.pts is not None and not p.is_discard])


def count_frames(path: Path) -> int:
    """Number of frames of a video, counted by decoding it."""
    return sum(1 for _ in iter_frames(path))


def _first(path: Path) -> UInt8[np.ndarray, "H W C"]:
    if path.suffix.lower() in IMAGES:
        return read_any(path, range(1))[0]
    frame = next(iter_frames(path), None)
    if frame is None:
        raise VideoError(path, "no frames")
    return frame


def _hash(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") if member_of(path) is None else io.BytesIO(read_bytes(path)) as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _size(frame_HWC: np.ndarray) -> str:
    return "×".join(str(n) for n in frame_HWC.shape[:2])
