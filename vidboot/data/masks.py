"""Per-frame masks of a shot, stored as events: a shape that covers part of the picture, and the frames it is there.

True means a clean pixel: one that no event covers. Each distinct shape is stored once, bit-packed, so a logo costs one
shape and a subtitle one event, whatever the length of the shot.
"""

import io
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from vidboot.data.files import write_atomic
from vidboot.data.members import read_bytes
from vidboot.errors import UserError


def box_mask(height: int, width: int, rng: np.random.Generator) -> Bool[np.ndarray, "H W"]:
    """A mask with a random rectangle hidden, an eighth to a half of each side long; true = clean."""
    mask = np.ones((height, width), bool)
    (top, tall), (left, wide) = (
        (int(rng.integers(side - size + 1)), size)
        for side in (height, width)
        for size in [int(rng.integers(max(1, side // 8), max(1, side // 2) + 1))]
    )
    mask[top : top + tall, left : left + wide] = False
    return mask


@dataclass(frozen=True)
class Event:
    """A shape that covers part of the picture (true = covered) in frames from `start` up to, not including, `end`."""

    start: int
    end: int
    covered: Bool[np.ndarray, "H W"]


class MaskTrack:
    """Masks of `num_frames` frames of size `height` × `width`."""

    def __init__(self, num_frames: int, height: int, width: int, events: Iterable[Event] = ()) -> None:
        self.num_frames, self.height, self.width = num_frames, height, width
        self.events = tuple(events)
        for event in self.events:
            if not 0 <= event.start < event.end <= num_frames or event.covered.shape != (height, width):
                span = f"frames {event.start} to {event.end}, shape {event.covered.shape}"
                raise ValueError(f"{span} does not fit into {num_frames} frames of {height}×{width}")

    def frames(self, indices: Sequence[int] | None = None) -> Bool[np.ndarray, "T H W"]:
        """Masks of the frames with these numbers (None: all); true = clean."""
        numbers = np.arange(self.num_frames) if indices is None else np.asarray(indices, dtype=int)
        if numbers.size and not 0 <= numbers.min() <= numbers.max() < self.num_frames:
            raise IndexError(f"frames go from 0 to {self.num_frames - 1}")
        mask_THW = np.ones((len(numbers), self.height, self.width), bool)
        for event in self.events:
            mask_THW[(numbers >= event.start) & (numbers < event.end)] &= ~event.covered
        return mask_THW

    def of_frames(self, numbers: Sequence[int]) -> "MaskTrack":
        """The track of those frames alone, whose numbers ascend."""
        places = ((e, *np.searchsorted(numbers, (e.start, e.end)).tolist()) for e in self.events)
        events = [Event(start, end, event.covered) for event, start, end in places if start < end]
        return MaskTrack(len(numbers), self.height, self.width, events)

    def packed(self) -> bytes:
        """The content of a mask file; the same events give the same bytes."""
        shapes: dict[bytes, int] = {}
        rows = [(e.start, e.end, shapes.setdefault(np.packbits(e.covered).tobytes(), len(shapes))) for e in self.events]
        packed = np.frombuffer(b"".join(shapes), np.uint8).reshape(len(shapes), -1 if shapes else 0)
        size = np.array([self.num_frames, self.height, self.width], np.int64)
        file = io.BytesIO()
        np.savez_compressed(file, size=size, events=np.array(rows, np.int64).reshape(-1, 3), shapes=packed)
        return file.getvalue()

    def save(self, path: str | Path) -> None:
        """Write the masks, atomically."""
        write_atomic(path, self.packed())

    @classmethod
    def load(cls, path: str | Path) -> "MaskTrack":
        """Read masks; raises `UserError` if the file is missing or damaged."""
        try:
            with np.load(io.BytesIO(read_bytes(path))) as data:
                num_frames, height, width = (int(n) for n in data["size"])
                shapes = [np.unpackbits(row, count=height * width).reshape(height, width) > 0 for row in data["shapes"]]
                return cls(num_frames, height, width, [Event(int(s), int(e), shapes[k]) for s, e, k in data["events"]])
        except (OSError, EOFError, ValueError, KeyError, IndexError, zipfile.BadZipFile, zlib.error) as error:
            raise UserError(f"the mask file {path} can't be read ({error}); run preprocess again") from None
