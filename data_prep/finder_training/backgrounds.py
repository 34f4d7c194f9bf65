"""Backgrounds for composites: spans of real videos, and photographs that a made camera moves over."""

from collections import defaultdict
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.random import Generator

from data_prep.video.motion import camera_motion
from vidboot.errors import UserError

_VIDEOS, _PHOTOS = {".mp4", ".avi", ".mov", ".mkv", ".webm", ".ogv", ".mpg"}, {".jpg", ".jpeg", ".png", ".webp"}
# Shares of plain colours and of photographs among the backgrounds; among photographs, those with texts in the scene,
# and those before which something passes.
_PLAIN_SHARE, _PHOTO_SHARE, _TEXT_SHARE, _PASSED_SHARE = 0.03, 0.35, 0.4, 0.4
# More files of one source than this are drawn no more often.
_ENOUGH = 25
# Longest side to which photographs are reduced when read, pixels: the camera then still sees them in full sharpness.
_PHOTO_SIDE = 1400


@dataclass(frozen=True)
class Scene:
    """Frames BGR uint8 `T H W 3`, and for each frame the matrix `2 3` that maps the first frame's points to it."""

    frames: np.ndarray
    motion: np.ndarray


class Backgrounds:
    """The folders `videos`, `photos` and `text_photos` in `folder`, each with one folder a source, and more videos.

    A source is drawn a little less often than its number of files would have it, so that large ones do not outweigh
    others.
    """

    def __init__(self, folder: Path, more_videos: tuple[Path, ...] = ()) -> None:
        self.videos = _Sources.of([folder / "videos", *more_videos], _VIDEOS)
        if not self.videos.files:
            raise UserError(f"{folder / 'videos'} holds no video to use as a background")
        self.photos = _Sources.of([folder / "photos"], _PHOTOS)
        self.text_photos = _Sources.of([folder / "text_photos"], _PHOTOS)

    def draw(self, rng: Generator, height: int, width: int, count: int) -> Scene:
        """A scene of at most `count` frames of this size, a fraction of a second apart."""
        kind = rng.random()
        if kind < _PLAIN_SHARE:
            return _plain(rng, height, width, count)
        if kind < _PLAIN_SHARE + _PHOTO_SHARE and (self.photos.files or self.text_photos.files):
            scene = fly_over(rng, self._photo(rng), height, width, count)
            return _passed_by(rng, scene, self._photo(rng)) if rng.random() < _PASSED_SHARE else scene
        for _ in range(10):
            frames = read_span(rng, self.videos.draw(rng), count)
            if frames is not None:
                return _cut_out(rng, frames, height, width)
        raise UserError("ten background videos in a row can't be read; play one of them, or take the damaged ones out")

    def _photo(self, rng: Generator) -> np.ndarray:
        texts = self.text_photos.files and (rng.random() < _TEXT_SHARE or not self.photos.files)
        return read_photo((self.text_photos if texts else self.photos).draw(rng))


@dataclass(frozen=True)
class _Sources:
    files: tuple[tuple[Path, ...], ...]
    shares: np.ndarray

    @classmethod
    def of(cls, folders: list[Path], endings: set[str]) -> "_Sources":
        """The files with these endings below the folders."""
        found: dict[Path, list[Path]] = defaultdict(list)
        for folder in folders:
            for path in sorted(folder.rglob("*")):
                if path.suffix.lower() in endings:
                    found[path.parent].append(path)
        sizes = np.array([min(len(files), _ENOUGH) for files in found.values()]) ** 0.8
        return cls(tuple(map(tuple, found.values())), sizes / max(sizes.sum(), 1))

    def draw(self, rng: Generator) -> Path:
        files = self.files[rng.choice(len(self.files), p=self.shares)]
        return files[rng.integers(len(files))]


@lru_cache(maxsize=64)
def read_photo(path: Path) -> np.ndarray:
    """A photograph, BGR uint8 `H W 3`, reduced to a longest side of 1,400 pixels."""
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise UserError(f"{path} is no picture that can be read; take it out of the backgrounds")
    scale = min(1.0, _PHOTO_SIDE / max(picture.shape))
    return cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def read_span(rng: Generator, path: Path, count: int) -> np.ndarray | None:
    """Up to `count` frames of a random place of a video, 0.08 to 0.5 s apart; None if it can't be read."""
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            fps = float(stream.average_rate or 25)
            step = max(1, round(fps * rng.uniform(0.08, 0.5)))
            seconds = float(container.duration or 0) / 1e6 - step * count / fps
            if seconds > 1:
                container.seek(int(rng.uniform(0, seconds) * 1e6))
            frames = []
            for number, frame in enumerate(container.decode(stream)):
                if number % step == 0:
                    frames.append(frame.to_ndarray(format="bgr24"))
                if len(frames) == count:
                    break
    except (av.error.FFmpegError, IndexError, OSError):
        return None
    return np.stack(frames) if len(frames) >= 3 else None


def _cut_out(rng: Generator, frames: np.ndarray, height: int, width: int) -> Scene:
    """A part of the frames at the wanted size, sometimes mirrored, shaken or panned, sometimes a still picture."""
    full = frames.shape[1:3]
    scale = max(height / full[0], width / full[1]) * (1 if rng.random() < 0.3 else rng.uniform(1, 1.6))
    if rng.random() < 0.07:
        frames = np.repeat(frames[:1], len(frames), 0)
    path = _camera(rng, len(frames), still=0.75)
    room = np.array([full[1] * scale - width, full[0] * scale - height])
    place = rng.uniform(0, 1, 2) * room
    made, mirrored = [], rng.random() < 0.5
    for frame, (x, y, zoom, turn) in zip(frames, path, strict=True):
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), turn, zoom)
        move = np.array([[scale, 0, -place[0] + x * width], [0, scale, -place[1] + y * height], [0, 0, 1]])
        mirror = np.array([[-1, 0, full[1] - 1], [0, 1, 0], [0, 0, 1]]) if mirrored else np.eye(3)
        matrix = matrix @ move @ mirror
        made.append(
            cv2.warpAffine(frame, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        )
    stacked = np.stack(made)
    return Scene(stacked, _tracked(stacked))


def _tracked(frames: np.ndarray) -> np.ndarray:
    """The camera's motion since the first frame, as far as it can be tracked."""
    greys = [cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY) for frame in frames]
    total, found = np.eye(3), [np.eye(3)[:2]]
    for before, after in pairwise(greys):
        step = camera_motion(before, after)
        if step is not None:
            total = np.vstack([step, [0, 0, 1]]) @ total
        found.append(total[:2])
    return np.stack(found)


def _camera(rng: Generator, count: int, still: float) -> np.ndarray:
    """A camera's path: shifts x, y as shares of the picture, zoom, turn in degrees, `count 4`."""
    if rng.random() < still:
        return np.tile([0.0, 0, 1, 0], (count, 1))
    t = np.linspace(0, 1, count)
    speed = rng.choice([0.02, 0.1, 0.4])
    ends = rng.normal(0, 1, 4) * [speed, speed / 2, 0, 5 * speed]
    path = t[:, None] * ends + np.array([0, 0, 1, 0])
    path[:, 2] = np.exp(np.abs(rng.normal(0, speed)) * (t if rng.random() < 0.5 else 1 - t))
    shake = rng.choice([0, 0.002, 0.008])
    walk = np.cumsum(rng.normal(0, 1, (count, 4)), 0) * [shake, shake, 0, 40 * shake]
    return path + walk - walk.mean(0)


def fly_over(rng: Generator, photo: np.ndarray, height: int, width: int, count: int) -> Scene:
    """Frames of a camera that moves over a photograph, or of one that stands still."""
    scale = max(height / photo.shape[0], width / photo.shape[1]) * rng.uniform(1.05, 2.2)
    centre = np.array([photo.shape[1], photo.shape[0]]) * rng.uniform(0.35, 0.65, 2)
    made, matrices = [], []
    for x, y, zoom, turn in _camera(rng, count, still=0.35):
        matrix = cv2.getRotationMatrix2D(tuple(centre), turn, scale * zoom)
        matrix[:, 2] += [width / 2 + x * width - centre[0], height / 2 + y * height - centre[1]]
        flags = cv2.INTER_AREA if scale * zoom < 0.7 else cv2.INTER_LINEAR
        made.append(cv2.warpAffine(photo, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT))
        matrices.append(np.vstack([matrix, [0, 0, 1]]))
    frames = np.stack(made)
    first = np.linalg.inv(matrices[0])
    motion = np.stack([(matrix @ first)[:2] for matrix in matrices])
    return Scene(frames, motion)


def _passed_by(rng: Generator, scene: Scene, other: np.ndarray) -> Scene:
    """The scene with a thing, cut out of another photograph, that moves before it as a person or a hand would."""
    count, height, width, _ = scene.frames.shape
    side = int(min(height, width) * rng.uniform(0.2, 0.9))
    piece = cv2.resize(other, (side, side), interpolation=cv2.INTER_AREA)
    blob = cv2.GaussianBlur(rng.normal(0, 1, (side, side)).astype(np.float32), (0, 0), side / 8)
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    shape = (np.hypot(x, y) + blob / max(float(blob.std()), 1e-6) * 0.15 < 0.8).astype(np.float32)
    alpha = cv2.GaussianBlur(shape, (0, 0), 1.2)[..., None]
    walk = np.cumsum(rng.normal(0, 1, (count, 2)) * rng.choice([2, 8, 30]) + rng.normal(0, 8, 2), 0)
    places = (walk + rng.uniform(0, 1, 2) * [width, height]) - side / 2
    frames = scene.frames.copy()
    for frame, (left, top) in zip(frames, places.astype(int), strict=True):
        rows, columns = slice(max(0, top), min(height, top + side)), slice(max(0, left), min(width, left + side))
        if rows.start < rows.stop and columns.start < columns.stop:
            part = np.s_[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
            under = frame[rows, columns].astype(np.float32)
            frame[rows, columns] = under + (piece[part] - under) * alpha[part]
    return Scene(frames, scene.motion)


def _plain(rng: Generator, height: int, width: int, count: int) -> Scene:
    """A ground of one colour or a ramp between two, as title cards have."""
    ends = rng.uniform(0, 255, (2, 3)) if rng.random() < 0.6 else np.zeros((2, 3))
    if rng.random() < 0.5:
        ends[1] = ends[0]
    ramp = np.linspace(0, 1, width)[None, :, None] if rng.random() < 0.5 else np.linspace(0, 1, height)[:, None, None]
    picture = np.broadcast_to(ends[0] + (ends[1] - ends[0]) * ramp, (height, width, 3)).astype(np.uint8)
    return Scene(np.repeat(picture[None], count, 0), np.tile(np.eye(3)[:2], (count, 1, 1)))


def degraded(rng: Generator, scene: Scene) -> Scene:
    """The scene as cheaper cameras and earlier copies give it: darker, blurred, noisy, in other colours."""
    frames = scene.frames
    if rng.random() < 0.5:
        gain, offset = rng.uniform(0.35, 1.25), rng.uniform(-20, 25)
        gamma = np.exp(rng.normal(0, 0.25))
        table = np.clip(255 * (np.arange(256) / 255) ** gamma * gain + offset, 0, 255).astype(np.uint8)
        frames = table[frames]
    if rng.random() < 0.4:
        sigma = rng.uniform(0.4, 2.2)
        frames = np.stack([cv2.GaussianBlur(frame, (0, 0), sigma) for frame in frames])
    if rng.random() < 0.25:
        small = rng.uniform(0.3, 0.8)
        size = frames.shape[2], frames.shape[1]
        frames = np.stack(
            [cv2.resize(cv2.resize(f, None, fx=small, fy=small, interpolation=cv2.INTER_AREA), size) for f in frames]
        )
    if rng.random() < 0.4:
        noise = rng.normal(0, rng.uniform(1, 9), (4, *frames.shape[1:3], 1)).astype(np.int16)
        picks, shifts = rng.integers(4, size=len(frames)), rng.integers(0, 64, (len(frames), 2))
        rolled = [np.roll(noise[pick], tuple(shift), (0, 1)) for pick, shift in zip(picks, shifts, strict=True)]
        frames = np.stack([np.clip(f + n, 0, 255).astype(np.uint8) for f, n in zip(frames, rolled, strict=True)])
    if rng.random() < 0.08:
        frames = np.stack([cv2.cvtColor(cv2.cvtColor(f, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR) for f in frames])
    return replace(scene, frames=frames)
