"""The nearest training video of each sample: copied or made? Held-out videos say how near is usual."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.stats
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from vidboot.data.datasets import to_tensor
from vidboot.data.manifest import Shot
from vidboot.errors import UserError

logger = logging.getLogger(__name__)
SIDE = 32
"""Longer side of the pictures that are compared, in pixels: at 32×32 people still recognise scenes (Torralba et al.
2008, doi 10.1109/TPAMI.2008.128), and a copy that differs in finer detail is found."""
CHUNK = 256
"""Frames of a training shot that are in memory at once."""


@dataclass
class Nearest:
    """For each of N windows of n frames, the nearest training window: at any frame of any training shot."""

    distance: Float[np.ndarray, "N"]
    """Mean squared difference of the small pictures' values, which lie in [-1, 1]."""
    shot: Int[np.ndarray, "N"]
    """Number of the training shot; −1 if none could be read."""
    start: Int[np.ndarray, "N"]
    """First frame of the window in that shot."""
    energy: Float[np.ndarray, "N"]
    """The training window's mean squared difference from the mean frame."""


def windows_of(videos: Float[Tensor, "V C T H W"], num_frames: int) -> Float[Tensor, "N C n H W"]:
    """The windows of each video, side by side: all of the first video, then all of the second one, …"""
    count = videos.shape[2] // num_frames
    return videos[:, :, : count * num_frames].unflatten(2, (count, num_frames)).movedim(2, 1).flatten(0, 1)


def nearest_windows(
    queries: Float[Tensor, "N C n H W"], shots: Sequence[Shot], mean: Float[Tensor, "C 1 H W"]
) -> Nearest:
    """Search the shots, one after the other; those that can't be read are named in the log and left out."""
    count, length = len(queries), queries.shape[2]
    small = _small(queries - mean)
    found = Nearest(np.full(count, np.inf), np.full(count, -1), np.full(count, -1), np.full(count, np.inf))
    for number, shot in enumerate(tqdm(shots, desc="nearest training videos", unit="shot")):
        try:
            for start, frames in _chunks(shot, length):
                distance, offset, energy = _search(small, _small((frames - mean)[None])[0])
                nearer = distance < found.distance
                found.distance[nearer] = distance[nearer]
                found.energy[nearer] = energy[nearer]
                found.shot[nearer], found.start[nearer] = number, start + offset[nearer]
        except UserError as error:
            logger.warning("left out: %s", error)
    return found


def _chunks(shot: Shot, length: int) -> Iterator[tuple[int, Float[Tensor, "C T H W"]]]:
    """The shot's frames, in parts that share `length` − 1 frames; with the number of each part's first frame."""
    step = max(CHUNK, 2 * length) - length + 1
    for start in range(0, shot.num_frames - length + 1, step):
        stop = min(shot.num_frames, start + step + length - 1)
        yield start, to_tensor(shot.frames(range(start, stop)))


def _small(videos: Float[Tensor, "N C T H W"]) -> Float[Tensor, "N T P"]:
    """The frames as rows, averaged over areas to at most `SIDE` pixels a side."""
    height, width = videos.shape[-2:]
    factor = min(1.0, SIDE / max(height, width))
    size = (max(1, round(height * factor)), max(1, round(width * factor)))
    frames = functional.interpolate(videos.movedim(1, 2).flatten(0, 1), size, mode="area")
    return frames.flatten(1).unflatten(0, (len(videos), -1))


def _search(
    queries: Float[Tensor, "N n P"], frames: Float[Tensor, "L P"]
) -> tuple[Float[np.ndarray, "N"], Int[np.ndarray, "N"], Float[np.ndarray, "N"]]:
    """Each query's distance to the nearest window of the frames, that window's first frame, and its energy.

    |x − y|² = |x|² + |y|² − 2 ⟨x, y⟩, where ⟨x, y⟩ sums the products of frames along a diagonal.
    """
    length, pixels = queries.shape[1:]
    starts = len(frames) - length + 1
    products = queries.double() @ frames.double().T
    cross = torch.stack([products[:, t, t : t + starts] for t in range(length)]).sum(0)
    energy = frames.double().square().sum(1).unfold(0, length, 1).sum(1)
    squared = queries.double().square().sum((1, 2))[:, None] + energy - 2 * cross
    distance, offset = (squared.clamp(min=0) / (length * pixels)).min(1)
    return distance.numpy(), offset.numpy(), (energy[offset] / (length * pixels)).numpy()


def copied_or_made(
    made: Mapping[str, Float[np.ndarray, "2 _"]], held_out: Float[np.ndarray, "2 M"]
) -> dict[str, dict[str, Any]]:
    """For each set of samples: how many are close to a training video, and a sentence.

    Of each video there are two mean squared differences: to its nearest training video, and of that one to the mean
    frame. An average of real videos has half the squared distance to one of them that two of them have. So a video is
    close if the first is less than half the held-out videos' median, and less than half the second: neither smoothness
    nor a training video of little contrast brings a sample there. Held-out videos too can be close, if a data set
    repeats itself; a set of samples is called copied if significantly more of it is (Fisher's exact test, one-sided,
    5 %).
    """
    limit = float(np.median(held_out[0])) / 2
    usual = _count_close(held_out, limit)
    found = {}
    for name, (distances, energies) in made.items():
        close = _count_close(np.stack([distances, energies]), limit)
        table = [[close, len(distances) - close], [usual, held_out.shape[1] - usual]]
        chance = float(scipy.stats.fisher_exact(table, alternative="greater").pvalue)
        verdict = "copied" if chance < 0.05 else "made" if not close else "unclear"
        found[name] = {
            "median": float(np.sqrt(np.median(distances))),
            "held_out_median": float(np.sqrt(2 * limit)),
            "limit": float(np.sqrt(limit)),
            "close": close,
            "verdict": verdict,
            "sentence": f"{_WORDS[verdict]}: {close} of {len(distances)} samples, and {usual} of {held_out.shape[1]} "
            "held-out videos, are closer to a training video than smoothness or chance explain.",
        }
    return found


def _count_close(differences: Float[np.ndarray, "2 V"], limit: float) -> int:
    distance, energy = differences
    return int((distance < np.minimum(limit, energy / 2)).sum())


_WORDS = {
    "copied": "Copied",
    "made": "Made, not copied",
    "unclear": "Can't be told; look at the nearest pairs",
}


def search_training(
    made: Mapping[str, Float[Tensor, "_ C _ H W"]],
    held_out: Float[Tensor, "M C _ H W"],
    shots: Sequence[Shot],
    mean: Float[Tensor, "C 1 H W"],
    num_frames: int,
) -> tuple[dict[str, dict[str, Any]], dict[str, Float[Tensor, "2 C n H W"]]]:
    """Of each set of samples: what `copied_or_made` says, the samples' nearest windows, and the nearest pair to see.

    A video's distance is the mean over its windows of `num_frames` frames, the training clips' length, each with its
    own nearest one: a video put together from several clips is a copy too. The pair is a sample's window and the
    training window. Nothing is found if no shot can be read, or the samples are shorter than a window.
    """
    sets = {**made, "": held_out}
    queries = {name: windows_of(videos, num_frames) for name, videos in sets.items()}
    if not shots or min(map(len, queries.values())) == 0:
        return {}, {}
    found = nearest_windows(torch.cat([*queries.values()]), shots, mean)
    if not np.isfinite(found.distance).all():
        return {}, {}
    ends = np.cumsum([len(windows) for windows in queries.values()])
    at = dict(zip(sets, np.split(np.arange(ends[-1]), ends[:-1]), strict=True))
    both = np.stack([found.distance, found.energy])
    differences = {name: both[:, at[name]].reshape(2, len(videos), -1).mean(2) for name, videos in sets.items()}
    usual, pairs = differences.pop(""), {}
    report = copied_or_made(differences, usual)
    for name, (of_videos, _) in differences.items():
        best = int(at[name][found.distance[at[name]].argmin()])
        place = _place(found, shots, best)
        theirs = shots[found.shot[best]].frames(range(place["frame"], place["frame"] + num_frames))
        pairs[name] = torch.stack([queries[name][best - at[name][0]], to_tensor(theirs)])
        report[name]["samples"] = [
            {"distance": float(np.sqrt(distance)), "windows": [_place(found, shots, int(n)) for n in windows]}
            for distance, windows in zip(of_videos, at[name].reshape(len(of_videos), -1), strict=True)
        ]
    return report, pairs


def _place(found: Nearest, shots: Sequence[Shot], window: int) -> dict[str, Any]:
    """Where a window's nearest training window is."""
    return {
        "distance": float(np.sqrt(found.distance[window])),
        "shot": shots[found.shot[window]].id,
        "frame": int(found.start[window]),
    }
