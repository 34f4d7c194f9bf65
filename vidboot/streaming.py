"""Endless video in constant memory: chunk after chunk, each conditioned on the last frames of the one before.

A chunk has the training length T; its first `overlap` frames are those that came before, in floating point (8-bit
frames between chunks drift in colour). Chunk k depends on the seed, on k and on those frames only, so a stream that was
stopped goes on exactly where it was, and its first frames are the same however long it gets.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from vidboot.conditioning import Known
from vidboot.data.files import atomic_path
from vidboot.errors import UserError
from vidboot.generation import Sampling, sample
from vidboot.model import VideoModel


@dataclass(frozen=True)
class StreamState:
    """All that the next chunk depends on: how many there were, how many frames they gave, the last of these frames."""

    chunks: int
    frames: int
    tail: Float[Tensor, "B C overlap H W"]

    def save(self, path: Path, identity: dict[str, Any]) -> None:
        """Write the state, atomically; `identity` (plain values) says which stream it belongs to."""
        words = {"chunks": str(self.chunks), "frames": str(self.frames), "identity": json.dumps(identity)}
        with atomic_path(path) as partial:
            save_file({"tail": self.tail.cpu().contiguous()}, partial, metadata=words)

    @classmethod
    def load(cls, path: Path, identity: dict[str, Any]) -> "StreamState | None":
        """Read the state, or None if there is none. Raises `UserError` if it's damaged or another stream's."""
        if not path.exists():
            return None
        try:
            with safe_open(path, framework="pt") as stored:
                words, tail = stored.metadata(), stored.get_tensor("tail")
            state, before = cls(int(words["chunks"]), int(words["frames"]), tail), json.loads(words["identity"])
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise UserError(f"{path} can't be read ({error}); delete {path.parent} to start again") from None
        if changed := sorted(key for key in before.keys() | identity.keys() if before.get(key) != identity.get(key)):
            raise UserError(
                f"{path.parent} holds an unfinished stream with another {', '.join(changed)}; give the same arguments "
                "to go on with it, or delete that folder to start again"
            )
        return state


def stream(
    model: VideoModel,
    seeds: Sequence[int],
    sampling: Sampling,
    state: StreamState | None = None,
    known_of: Callable[[int, int], Known | None] = lambda start, end: None,
    on_step: Callable[[int], None] = lambda step: None,
) -> Iterator[tuple[Float[Tensor, "B C t H W"], StreamState]]:
    """Yield new final frames and the state after them, without end; start from `state`, if given.

    The first chunk gives T frames, each later one T − overlap. `known_of(start, end)` tells what is known of those
    frames, or None.
    """
    length, overlap = model.config.video.num_frames, model.config.video.overlap
    while True:
        number = 0 if state is None else state.chunks
        start = number * (length - overlap)
        known = known_of(start, start + length)
        if state is not None:
            tail = Known.of_first_frames(state.tail.to(model.device), length)
            known = tail if known is None else tail & known.to(model.device)
        generators = [_generator(seed, number) for seed in seeds]
        x0 = sample(model, length, generators, sampling, known, on_step)
        fresh = x0 if state is None else x0[:, :, overlap:]
        frames = fresh.shape[2] + (0 if state is None else state.frames)
        state = StreamState(number + 1, frames, x0[:, :, length - overlap :].clone())
        yield fresh, state


def _generator(seed: int, chunk: int) -> torch.Generator:
    """Randomness of one chunk of one sample."""
    return torch.Generator().manual_seed(
        int(np.random.SeedSequence([seed, chunk]).generate_state(1, np.uint64)[0] >> 1)
    )
