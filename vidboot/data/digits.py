"""Moving digits behind a curtain: videos with structure that short clips can't see, exact from a seed.

A handwritten digit (scikit-learn's bundled 8×8 images, drawn at twice their size) moves straight on and bounces off the
borders. Again and again a curtain closes over the whole picture, for longer than a clip, and opens: the same digit goes
on moving. The light changes slowly. The law is stationary in time, so videos of any length are alike. `write_digits`
stores them as a folder with a manifest, as preprocessing would: few full videos, many clips, many low-res videos.
"""

import hashlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from tqdm import tqdm

from vidboot.data.manifest import write_manifest
from vidboot.data.video import write_video
from vidboot.errors import UserError

Split = Literal["train", "test"]

DIGIT_SIZE = 16
OPEN_FRAMES, CLOSED_FRAMES = (10, 18), (11, 13)
"""Fewest and most frames that the curtain is wholly open, and wholly closed."""
MOVING_FRAMES = 3
"""Frames that the curtain takes to close, and to open."""
CURTAIN, BACKGROUND, INK = 0.45, 0.08, 0.75
"""Grey levels in [0, 1] before the light: the digit's brightest stroke is at `BACKGROUND + INK`."""
_KINDS = ("full", "clip", "low_res")


@lru_cache(maxsize=1)
def _digit_images() -> dict[str, Float[np.ndarray, "n 16 16"]]:
    """Digits at twice their size, ink in [0, 1]. The last fifth, by other writers than the first, is for tests."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise UserError("moving digits need scikit-learn: pip install 'vidboot[dev]'") from None
    small = load_digits().images.astype(np.float32) / 16
    images = np.stack([cv2.resize(i, (DIGIT_SIZE, DIGIT_SIZE), interpolation=cv2.INTER_LINEAR) for i in small])
    cut = len(images) * 4 // 5
    return {"train": images[:cut], "test": images[cut:]}


def digit_video(
    seed: int | tuple[int, ...], num_frames: int = 32, split: Split = "train", size: int = 24
) -> UInt8[np.ndarray, "T H W C"]:
    """One video of `num_frames` frames of size × size pixels, RGB; the same seed always gives the same video.

    `split` chooses among two disjoint sets of handwritten digits. Raises `ValueError` for a size below a digit's.
    """
    if size < DIGIT_SIZE or num_frames < 1:
        raise ValueError(f"digits of {DIGIT_SIZE} pixels need at least as many, and 1 frame; got {size}, {num_frames}")
    rng = np.random.default_rng(seed)
    images = _digit_images()[split]
    digit = images[rng.integers(len(images))]
    places = _path(rng, num_frames, size - DIGIT_SIZE)
    light, closed = _light(rng, num_frames), _curtain(rng, num_frames)
    frames = np.stack([_frame(digit, place, size, shut) for place, shut in zip(places, closed, strict=True)])
    levels = (255 * frames * light[:, None, None]).round().clip(0, 255).astype(np.uint8)
    return np.repeat(levels[..., None], 3, axis=-1)


def _path(rng: np.random.Generator, num_frames: int, room: int) -> Float[np.ndarray, "T 2"]:
    """Places of the digit's corner: uniform motion, reflected at 0 and `room`."""
    angle, speed = rng.uniform(0, 2 * np.pi), rng.uniform(0.6, 1.4)
    velocity = speed * np.array([np.cos(angle), np.sin(angle)])
    straight = rng.uniform(0, max(room, 1), 2) + np.arange(num_frames)[:, None] * velocity
    return room - np.abs(straight % (2 * room) - room) if room else np.zeros((num_frames, 2))


def _light(rng: np.random.Generator, num_frames: int) -> Float[np.ndarray, "T"]:
    """A slow wave around 1, of a period of 60 to 120 frames."""
    phase, period = rng.uniform(0, 2 * np.pi), rng.uniform(60, 120)
    return 1 + 0.2 * np.sin(phase + 2 * np.pi * np.arange(num_frames) / period)


def _curtain(rng: np.random.Generator, num_frames: int) -> Float[np.ndarray, "T"]:
    """How far the curtain is closed in each frame, 0 to 1, at a random point of its endless cycle."""
    moving = np.arange(1, MOVING_FRAMES + 1) / (MOVING_FRAMES + 1)
    cycles: list[np.ndarray] = []
    # Enough before the video's first frame that the starting point is forgotten.
    warm_up = int(rng.integers(64, 64 + 32))
    while sum(map(len, cycles)) < warm_up + num_frames:
        still, shut = (rng.integers(low, high + 1) for low, high in (OPEN_FRAMES, CLOSED_FRAMES))
        cycles.append(np.concatenate([np.zeros(still), moving, np.ones(shut), moving[::-1]]))
    return np.concatenate(cycles)[warm_up : warm_up + num_frames]


def _frame(
    digit: Float[np.ndarray, "16 16"], place: Float[np.ndarray, "2"], size: int, closed: float
) -> Float[np.ndarray, "H W"]:
    """The digit at `place`, between pixels by linear interpolation, behind a curtain drawn from the left."""
    shift = np.float32([[1, 0, place[1]], [0, 1, place[0]]])
    picture = BACKGROUND + INK * cv2.warpAffine(digit, shift, (size, size), flags=cv2.INTER_LINEAR)
    covered = np.clip(closed * size - np.arange(size), 0, 1)
    return covered * CURTAIN + (1 - covered) * picture


def write_digits(
    folder: str | Path,
    *,
    full: int,
    clips: int,
    low_res: int,
    seed: int = 0,
    split: Split = "train",
    num_frames: int = 32,
    clip_frames: int = 8,
    scale: int = 2,
    size: int = 24,
) -> None:
    """Write videos and their manifest: `full` videos of `num_frames`, `clips` of `clip_frames`, `low_res` long ones.

    A low-res video is stored at full size, but each block of scale × scale pixels holds its mean: the detail is gone.
    All are losslessly stored at 24 frames per second and differ from each other; a larger count keeps the earlier ones.
    """
    folder = Path(folder)
    counts = dict(zip(_KINDS, (full, clips, low_res), strict=True))
    rows = []
    with tqdm(total=sum(counts.values()), desc="moving digits", unit="video") as bar:
        for kind, frames in _videos(counts, seed, split, num_frames, clip_frames, scale, size):
            path = f"{kind}/{len([row for row in rows if row['path'].startswith(kind)]):06d}.mp4"
            write_video(folder / path, frames, 24, lossless=True)
            rows.append(_row(path, kind, frames))
            bar.update()
    write_manifest(folder, rows)


def _videos(
    counts: dict[str, int], seed: int, split: Split, num_frames: int, clip_frames: int, scale: int, size: int
) -> Iterator[tuple[str, UInt8[np.ndarray, "T H W C"]]]:
    for number, (kind, count) in enumerate(counts.items()):
        for index in range(count):
            length = clip_frames if kind == "clip" else num_frames
            frames = digit_video((seed, number, index), length, split, size)
            if kind == "low_res":
                small = frames.reshape(length, size // scale, scale, size // scale, scale, 3).mean((2, 4))
                frames = small.round().astype(np.uint8).repeat(scale, 1).repeat(scale, 2)
            yield kind, frames


def _row(path: str, kind: str, frames: UInt8[np.ndarray, "T H W C"]) -> dict[str, Any]:
    length, height, width, _ = frames.shape
    return {
        "id": hashlib.sha256(frames.tobytes()).hexdigest()[:16],
        "source": f"digits/{path}",
        "start": 0,
        "end": length,
        "path": path,
        "num_frames": length,
        "fps": 24.0,
        "height": height,
        "width": width,
        "crop": [0, 0, height, width],
        "views": list(_KINDS) if kind == "full" else [kind],
        "verdict": "clean",
        "mask": None,
        "label": None,
    }
