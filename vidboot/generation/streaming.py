"""Endless video in constant memory: chunk after chunk, each conditioned on the last frames of the one before.

A chunk has the training length T. It begins with final frames of the chunk before, passed on as floats, because colours
drift if they are rounded to 8 bits. The last frames of a chunk are *open*: the next chunk is conditioned on them only
while its noise is high, on the later ones for the shortest time, and then makes their details anew. Without open frames
the border between chunks is visible: generated frames fit what a network adds beside them less well than real ones do
(on moving digits the change from frame to frame was a quarter larger there).

Chunk k depends only on the seed, on k and on those frames. So a stream that was stopped continues exactly where it was,
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
from vidboot.generation.classes import labels_of
from vidboot.generation.sampling import Sampling, sample
from vidboot.method.conditioning import Observation
from vidboot.model.video_model import VideoModel

_LET_GO = (0.6, 40.0)
"""Noise levels, in units of σ_data, below which the first and the last open frame are no longer conditioned on."""


@dataclass(frozen=True)
class StreamState:
    """All that the next chunk depends on: how many chunks and final frames there are, and the last frames."""

    chunks: int
    frames: int
    tail: Float[Tensor, "B C tail H W"]
    """The last final frames, and the open ones after them."""

    def save(self, path: Path, identity: dict[str, Any]) -> None:
        """Write the state, atomically; `identity` (plain values) is what the stream is made from."""
        words = {"chunks": str(self.chunks), "frames": str(self.frames), "identity": json.dumps(identity)}
        with atomic_path(path) as partial:
            save_file({"tail": self.tail.cpu().contiguous()}, partial, metadata=words)

    @classmethod
    def load(cls, path: Path, identity: dict[str, Any]) -> "StreamState | None":
        """Read the state, or None if there is none. Raises `UserError` if it is damaged or of another stream."""
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
    """How many final frames a chunk of `length` frames begins with, and how many open frames it ends with.

    A quarter of a chunk is enough to begin with: on moving digits, half of it made borders no less visible and cost
    twice as much.
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
    """Yield new final frames and the state after them, without end; continue from `state`, if given.

    The first chunk yields T frames less the open ones; a later one also less those that it begins with.
    `observation_of(start, end)` is what is known of these frames of the video, or None. Raises `UserError` if `state`
    has other numbers of final and open frames.
    """
    length = model.config.video.num_frames
    given, left_open = shared_frames(length, model.config.video.overlap)
    final = length - left_open
    labels = labels_of(model, seeds, sampling.label, observation_of(0, length) is not None)
    if state is not None and state.tail.shape[2] != given + left_open:
        raise UserError(
            "the unfinished stream is from another version of vidboot; delete its folder (OUTPUT.unfinished) to start "
            "again"
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
            of_class = sampling.of_class(labels[item])
            videos.append(sample(model, length, [_generator(seed, number)], of_class, observed, loose=loose))
        x0 = torch.cat(videos)
        fresh = x0[:, :, (0 if state is None else given) : final]
        frames = fresh.shape[2] + (0 if state is None else state.frames)
        state = StreamState(number + 1, frames, x0[:, :, final - given :].cpu())
        yield fresh, state


def _observed(observation: Observation | None, tail: Tensor | None, given: int, length: int) -> Observation | None:
    """What is known of the next chunk of one sample: its first frames, which are final, and the user's observation."""
    if tail is None:
        return observation
    final = Observation.of_first_frames(tail[:, :, :given], length)
    return final if observation is None else final & observation.to(tail.device)


def _loose(tail: Tensor | None, given: int, length: int, sigma_data: float) -> list[tuple[float, Observation]]:
    """Observations of ever more open frames, each with the noise level above which it holds."""
    if tail is None:
        return []
    held = range(given + 1, tail.shape[2] + 1)
    levels = sigma_data * np.geomspace(*_LET_GO, len(held))
    return [(float(s), Observation.of_first_frames(tail[:, :, :n], length)) for s, n in zip(levels, held, strict=True)]


def _generator(seed: int, chunk: int) -> torch.Generator:
    """The random generator of one chunk of one sample."""
    return torch.Generator().manual_seed(
        int(np.random.SeedSequence([seed, chunk]).generate_state(1, np.uint64)[0] >> 1)
    )
