"""Moving digits behind a curtain: videos with structure that is longer than a clip, made from a seed.

A handwritten digit (scikit-learn's bundled 8×8 images, drawn at twice their size) moves in a straight line and bounces
off the borders. Again and again a curtain closes over the whole picture, stays closed for longer than a clip, and
opens: the same digit has moved on. The light changes slowly. The process is stationary in time, so it does not matter
where a video begins. `write_digits` stores videos in a folder with a manifest, as preprocessing does: few full videos,
many clips and low-res videos, and on request burnt-in subtitles with their masks.
"""

import hashlib
import string
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from tqdm import tqdm

from vidboot.data.manifest import ManifestRow, write_manifest
from vidboot.data.masks import Event, MaskTrack
from vidboot.data.video import write_video
from vidboot.errors import UserError

Split = Literal["train", "test"]

DIGIT_SIZE = 16
OPEN_FRAMES, CLOSED_FRAMES = (10, 18), (11, 13)
"""Least and largest number of frames for which the curtain is fully open, and fully closed."""
MOVING_FRAMES = 3
"""Frames in which the curtain closes, or opens."""
CURTAIN, BACKGROUND, INK = 0.45, 0.08, 0.75
"""Grey levels in [0, 1] before the light: the digit's brightest stroke is at `BACKGROUND + INK`."""
_KINDS = ("full", "clip", "low_res")


@dataclass(frozen=True)
class Motion:
    """How the digit and the curtain move."""

    pace: float = 1.0
    """How fast the digit moves: 1 is 0.6 to 1.4 pixels a frame."""
    closed: tuple[int, int] = CLOSED_FRAMES
    """Least and largest number of frames for which the curtain is fully closed."""


@lru_cache(maxsize=1)
def _digits() -> Any:
    """Scikit-learn's digits, with `images` and `target`."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise UserError("moving digits need scikit-learn: pip install -e '.[dev]'") from None
    return load_digits()


@lru_cache(maxsize=2)
def digit_images(size: int = DIGIT_SIZE) -> dict[str, Float[np.ndarray, "n {size} {size}"]]:
    """Digits of `size` pixels, ink in [0, 1]. The last fifth is for tests; other people wrote it."""
    small = _digits().images.astype(np.float32) / 16
    images = np.stack([cv2.resize(i, (size, size), interpolation=cv2.INTER_LINEAR) for i in small])
    cut = len(images) * 4 // 5
    return {"train": images[:cut], "test": images[cut:]}


def digit_video(
    seed: int | tuple[int, ...],
    num_frames: int = 32,
    split: Split = "train",
    size: int = 24,
    digit_size: int = DIGIT_SIZE,
    digits: int | None = None,
    motion: Motion = Motion(),
) -> UInt8[np.ndarray, "T H W C"]:
    """One video of `num_frames` frames of size × size pixels, RGB; the same seed always gives the same video.

    `split` chooses between two disjoint sets of handwritten digits, of which only the first `digits` are used (None:
    all). Raises `ValueError` for a picture smaller than a digit, or no frame.
    """
    if size < digit_size or num_frames < 1:
        raise ValueError(f"digits of {digit_size} pixels need at least as many, and 1 frame; got {size}, {num_frames}")
    rng = np.random.default_rng(seed)
    images = digit_images(digit_size)[split][:digits]
    digit = images[rng.integers(len(images))]
    places = _path(rng, num_frames, size - digit_size, motion.pace)
    light, shares = _light(rng, num_frames), _curtain(rng, num_frames, motion.closed)
    frames = np.stack([_frame(digit, place, size, shut) for place, shut in zip(places, shares, strict=True)])
    levels = (255 * frames * light[:, None, None]).round().clip(0, 255).astype(np.uint8)
    return np.repeat(levels[..., None], 3, axis=-1)


def digit_class(seed: int | tuple[int, ...], split: Split = "train", digits: int | None = None) -> int:
    """Which digit, 0 to 9, is in the video of this seed."""
    number = np.random.default_rng(seed).integers(len(digit_images()[split][:digits]))
    first = 0 if split == "train" else len(digit_images()["train"])
    return int(_digits().target[first + number])


def _path(rng: np.random.Generator, num_frames: int, room: int, pace: float) -> Float[np.ndarray, "T 2"]:
    """Positions of the digit's corner: uniform motion at 0.6 to 1.4 times `pace`, reflected at 0 and `room`."""
    angle, speed = rng.uniform(0, 2 * np.pi), pace * rng.uniform(0.6, 1.4)
    velocity = speed * np.array([np.cos(angle), np.sin(angle)])
    straight = rng.uniform(0, max(room, 1), 2) + np.arange(num_frames)[:, None] * velocity
    return room - np.abs(straight % (2 * room) - room) if room else np.zeros((num_frames, 2))


def _light(rng: np.random.Generator, num_frames: int) -> Float[np.ndarray, "T"]:
    """The brightness: a slow wave around 1 with a period of 60 to 120 frames."""
    phase, period = rng.uniform(0, 2 * np.pi), rng.uniform(60, 120)
    return 1 + 0.2 * np.sin(phase + 2 * np.pi * np.arange(num_frames) / period)


def _curtain(rng: np.random.Generator, num_frames: int, closed: tuple[int, int]) -> Float[np.ndarray, "T"]:
    """How far the curtain is closed in each frame, 0 to 1, at a random point of its endless cycle."""
    moving = np.arange(1, MOVING_FRAMES + 1) / (MOVING_FRAMES + 1)
    cycles: list[np.ndarray] = []
    # So long before the video's first frame that the start of the first cycle has no influence.
    warm_up = int(rng.integers(64, 64 + 32))
    while sum(map(len, cycles)) < warm_up + num_frames:
        still, shut = (rng.integers(low, high + 1) for low, high in (OPEN_FRAMES, closed))
        cycles.append(np.concatenate([np.zeros(still), moving, np.ones(shut), moving[::-1]]))
    return np.concatenate(cycles)[warm_up : warm_up + num_frames]


def _frame(
    digit: Float[np.ndarray, "d d"], place: Float[np.ndarray, "2"], size: int, closed: float
) -> Float[np.ndarray, "H W"]:
    """The digit at `place`, between pixels by linear interpolation, behind a curtain drawn from the left."""
    shift = np.array([[1, 0, place[1]], [0, 1, place[0]]], np.float32)
    picture = BACKGROUND + INK * np.asarray(cv2.warpAffine(digit, shift, (size, size), flags=cv2.INTER_LINEAR))
    covered = np.clip(closed * size - np.arange(size), 0, 1)
    return covered * CURTAIN + (1 - covered) * picture


def subtitle(size: int, rng: np.random.Generator) -> tuple[Bool[np.ndarray, "H W"], Bool[np.ndarray, "H W"]]:
    """Six letters at the top or bottom of a picture: a mask of the letters, and one with a pixel around them too."""
    letters = np.zeros((size, size), np.uint8)
    text = "".join(rng.choice(list(string.ascii_letters), 6))
    baseline = (9, size - 3)[rng.integers(2)]
    cv2.putText(letters, text, (int(rng.integers(3)), baseline), cv2.FONT_HERSHEY_PLAIN, 0.35, 255)
    return letters > 0, cv2.dilate(letters, np.ones((3, 3), np.uint8)) > 0


@dataclass(frozen=True, kw_only=True)
class DigitsFolder:
    """What `write_digits` writes: numbers of videos, and their properties."""

    full: int
    """Full videos."""
    clips: int
    low_res: int
    """Low-res videos: stored at full size, but each block of scale × scale pixels has its mean value."""
    seed: int = 0
    """A larger number of videos with the same seed has those of a smaller one, and more. All of them differ."""
    split: Split = "train"
    num_frames: int = 32
    """Frames of the full and low-res videos."""
    clip_frames: int = 8
    scale: int = 2
    size: int = 24
    """Height and width in pixels."""
    digit_size: int = DIGIT_SIZE
    """Height and width of the digit in pixels."""
    digits: int | None = None
    """How many different digits the videos show (None: all of the split)."""
    motion: Motion = Motion()
    subtitled: float = 0.0
    """Share of the clips and low-res videos with burnt-in white letters, and a mask for them."""

    def write(self, folder: Path) -> None:
        """Write the videos, without loss at 24 frames per second, and their manifest; the digit is the label."""
        counts = dict(zip(_KINDS, (self.full, self.clips, self.low_res), strict=True))
        rows = []
        with tqdm(total=sum(counts.values()), desc="moving digits", unit="video") as bar:
            for kind, count in counts.items():
                for index in range(count):
                    row = _store(folder, f"{kind}/{index:06d}", kind, *self._video(kind, index))
                    rows.append(replace(row, label=str(digit_class(self._seed(kind, index), self.split, self.digits))))
                    bar.update()
        write_manifest(folder, rows)

    def _seed(self, kind: str, index: int) -> tuple[int, int, int]:
        return self.seed, _KINDS.index(kind), index

    def _video(self, kind: str, index: int) -> tuple[UInt8[np.ndarray, "T H W C"], Bool[np.ndarray, "H W"] | None]:
        """The frames of one video, and where letters cover them (None: nowhere)."""
        seed = self._seed(kind, index)
        length = self.clip_frames if kind == "clip" else self.num_frames
        frames = digit_video(seed, length, self.split, self.size, self.digit_size, self.digits, self.motion)
        share, covered = 0.0 if kind == "full" else self.subtitled, None
        if int((index + 1) * share) > int(index * share):
            letters, covered = subtitle(self.size, np.random.default_rng([*seed, 1]))
            frames = np.where(letters[..., None], np.uint8(255), frames)
        if kind == "low_res":
            frames, covered = _lowered(frames, self.scale), _all_of_block(covered, self.scale)
        return frames, covered


def write_digits(folder: str | Path, **settings: Any) -> None:
    """Write videos of moving digits and their manifest into a folder; `settings` are those of `DigitsFolder`.

    Raises `ValueError` as `digit_video`.
    """
    DigitsFolder(**settings).write(Path(folder))


def _lowered(frames: UInt8[np.ndarray, "T H W C"], scale: int) -> UInt8[np.ndarray, "T H W C"]:
    """The frames with the mean in each block of scale × scale pixels."""
    num_frames, height, width, channels = frames.shape
    blocks = frames.reshape(num_frames, height // scale, scale, width // scale, scale, channels)
    return blocks.mean((2, 4)).round().astype(np.uint8).repeat(scale, 1).repeat(scale, 2)


def _all_of_block(covered: Bool[np.ndarray, "H W"] | None, scale: int) -> Bool[np.ndarray, "H W"] | None:
    """All pixels of the blocks in which one is covered, because it has changed the block's mean."""
    if covered is None:
        return None
    blocks = covered.reshape(len(covered) // scale, scale, -1, scale).any((1, 3))
    return blocks.repeat(scale, 0).repeat(scale, 1)


def _store(
    folder: Path,
    name: str,
    kind: str,
    frames: UInt8[np.ndarray, "T H W C"],
    covered: Bool[np.ndarray, "H W"] | None,
) -> ManifestRow:
    """Write a video, and its mask if something is covered; return its row of the manifest."""
    length, height, width, _ = frames.shape
    path, mask = f"{name}.mp4", None
    write_video(folder / path, frames, 24, lossless=True)
    if covered is not None:
        mask = f"{name}.npz"
        MaskTrack(length, height, width, [Event(0, length, covered)]).save(folder / mask)
    return ManifestRow(
        id=hashlib.sha256(frames.tobytes()).hexdigest()[:16],
        source=f"digits/{path}",
        start=0,
        end=length,
        path=path,
        num_frames=length,
        fps=24.0,
        height=height,
        width=width,
        crop=(0, 0, height, width),
        views=_KINDS if kind == "full" else (kind,),
        verdict="clean" if mask is None else "masked",
        mask=mask,
    )
