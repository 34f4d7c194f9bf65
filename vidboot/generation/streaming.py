"""Endless video in constant memory: chunk after chunk, each conditioned on the last frames of the one before.

A chunk has the training length T; its first frames are those that came before, in floating point (8-bit frames between
chunks drift in colour). Its last frames are not final: the next chunk holds to them only as long as its noise is high,
the later ones the less, and makes their detail anew. Frames that are final do not fit what a network makes beside them
as well as real ones do (a sharp border shows: on moving digits the step there was a quarter larger).

Chunk k depends on the seed, on k and on those frames only, so a stream that was stopped goes on exactly where it was,
and its first frames are the same however long it gets.
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

from vidboot.data.files import atomic_path
from vidboot.errors import UserError
from vidboot.generation.sampling import Sampling, sample
from vidboot.method.conditioning import Observation
from vidboot.model.video_model import VideoModel

_LET_GO = (0.6, 40.0)
"""Noise levels, in units of σ_data, at which the first and the last of the open frames are let go."""


@dataclass(frozen=True)
class StreamState:
    """All that the next chunk depends on: how many there were, how many frames they gave, and the last ones."""

    chunks: int
    frames: int
    tail: Float[Tensor, "B C given+open H W"]
    """The last final frames, and those after them that the next chunk makes anew."""

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


def shared_frames(length: int, overlap: int) -> tuple[int, int]:
    """How many frames a chunk of `length` is given at its start, and how many at its end it leaves to the next one.

    A quarter of a chunk is enough to go on from: on moving digits borders show no less with half, at twice the cost.
    """
    given = min(overlap, max(1, length // 4))
    return given, min(3 * given // 4, (length - given) // 2)


def stream(
    model: VideoModel,
    seeds: Sequence[int],
    sampling: Sampling,
    state: StreamState | None = None,
    observation_of: Callable[[int, int], Observation | None] = lambda start, end: None,
) -> Iterator[tuple[Float[Tensor, "B C t H W"], StreamState]]:
    """Yield new final frames and the state after them, without end; start from `state`, if given.

    The first chunk makes T frames less those left open, a later one less those that it is given, too.
    `observation_of(start, end)` is what is observed of those frames, or None. Raises `UserError` if `state` has other
    numbers of frames.
    """
    length = model.config.video.num_frames
    given, left_open = shared_frames(length, model.config.video.overlap)
    final = length - left_open
    if state is not None and state.tail.shape[2] != given + left_open:
        raise UserError(
            "the unfinished stream is another version's; delete its folder (OUTPUT.unfinished) to start again"
        )
    while True:
        number = 0 if state is None else state.chunks
        start = number * (final - given)
        observation = observation_of(start, start + length)
        videos = []
        for item, seed in enumerate(seeds):
            tail = None if state is None else state.tail[item : item + 1]
            loose = _loose(tail, given, length, model.config.noise.sigma_data)
            observed = _observed(observation, tail, given, length)
            videos.append(sample(model, length, [_generator(seed, number)], sampling, observed, loose=loose))
        x0 = torch.cat(videos)
        fresh = x0[:, :, (0 if state is None else given) : final]
        frames = fresh.shape[2] + (0 if state is None else state.frames)
        state = StreamState(number + 1, frames, x0[:, :, final - given :].cpu())
        yield fresh, state


def _observed(observation: Observation | None, tail: Tensor | None, given: int, length: int) -> Observation | None:
    """What is observed of an item's next chunk: its first frames, which are final, and what the user knows."""
    if tail is None:
        return observation
    final = Observation.of_first_frames(tail[:, :, :given], length)
    return final if observation is None else final & observation.to(tail.device)


def _loose(tail: Tensor | None, given: int, length: int, sigma_data: float) -> list[tuple[float, Observation]]:
    """The frames left open, each with the noise level at which it is let go: the later ones at higher levels."""
    if tail is None:
        return []
    held = range(given + 1, tail.shape[2] + 1)
    levels = sigma_data * np.geomspace(*_LET_GO, len(held))
    return [(float(s), Observation.of_first_frames(tail[:, :, :n], length)) for s, n in zip(levels, held, strict=True)]


def _generator(seed: int, chunk: int) -> torch.Generator:
    """Randomness of one chunk of one sample."""
    return torch.Generator().manual_seed(
        int(np.random.SeedSequence([seed, chunk]).generate_state(1, np.uint64)[0] >> 1)
    )
