"""Is the digit that comes back from behind the curtain the one that vanished? Of generated videos, and of real ones.

python tests/bench/returning_digit.py [--videos 64 --frames 256 --steps 18 --guidance 2 --keep FOLDER]

Videos are streamed, as by `tools/generate.py --stream`. Each seed draws a class, towards which they are guided. With
`--guidance 0` the network is not told the class, and has to carry the digit through the closed curtain itself.

A *return* is a curtain that was fully closed for `CLOSED` frames or more, with a digit on both sides of it. Frames that
are fully open are aligned and averaged to one picture of the digit for each side. Two judges look at the pictures: a
classifier, trained on videos of the real digits' training split that went through the same steps (its accuracy is that
on videos of the test split), and the correlation of the two pictures, beside that of pictures from different videos.
"""

import argparse
import itertools
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from digits_run import GUIDANCE, RUN, streamed, video
from jaxtyping import Float, UInt8
from scipy.stats import binomtest
from sklearn.svm import SVC
from tqdm import tqdm

import vidboot
from vidboot.data.datasets import to_frames
from vidboot.data.files import atomic_path
from vidboot.experiments.digits import BACKGROUND, CURTAIN, INK, digit_class
from vidboot.generation.sampling import Sampling

OPEN, CLOSED = 4, 4
"""Least number of frames for which the picture is fully open on each side, and fully closed in between."""
SIDE = 24
"""Height and width of a digit's picture, in which it is centred."""
Video = UInt8[np.ndarray, "T H W C"]
Picture = Float[np.ndarray, "s s"]


def covered(frames: Video) -> Float[np.ndarray, "T"]:
    """The share of each frame's columns that the curtain covers: those of one grey, which is about the curtain's."""
    grey = frames.mean(-1) / 255
    between = (BACKGROUND + CURTAIN) / 2
    even = np.ptp(grey, axis=1) < INK / 4
    return (even & (grey.mean(1) > between)).mean(1)


def pictures(frames: Video) -> list[Picture | None]:
    """A picture of the digit for each time that the picture is open, between closed times; None where there is none.

    Times at the video's ends count if they are long enough.
    """
    share, found, opened, shut = covered(frames), [], [], CLOSED
    for t in [*range(len(frames)), None]:
        if t is not None and share[t] == 0:
            opened.append(t)
        elif t is None or share[t] == 1:
            if len(opened) >= OPEN and shut >= CLOSED:
                found.append(picture(frames[opened]))
                shut = 0
            shut, opened = shut + 1, []
    return found


def picture(frames: Video) -> Picture | None:
    """The mean of frames whose ink is centred, of norm 1; None if there is next to no ink."""
    grey = frames.mean(-1) / 255
    light = np.median(grey, axis=(1, 2), keepdims=True)
    ink = (grey - light - INK / 8).clip(0)
    if ink.sum((1, 2)).mean() < 5 * INK:  # the least ink of a real digit of 12 pixels is 3 times that
        return None
    mean = np.mean([_centred(one) for one in ink], axis=0)
    return mean / np.linalg.norm(mean)


def _centred(ink: Float[np.ndarray, "H W"]) -> Picture:
    rows, columns = np.indices(ink.shape)
    total = max(float(ink.sum()), 1e-6)
    middle = (SIDE - 1) / 2
    shift = np.array(
        [[1, 0, middle - (columns * ink).sum() / total], [0, 1, middle - (rows * ink).sum() / total]], np.float32
    )
    return np.asarray(cv2.warpAffine(ink.astype(np.float32), shift, (SIDE, SIDE), flags=cv2.INTER_LINEAR))


@lru_cache(maxsize=1)
def classifier(videos: int = 3000) -> SVC:
    """A support-vector machine, trained on videos of the training split; `predict` takes flattened pictures."""
    x, y = [], []
    for n in range(videos):
        for one in pictures(video((5, 0, n), 40, digits=None)):
            if one is not None:
                x.append(one.ravel())
                y.append(digit_class((5, 0, n), "train"))
    return SVC(C=100, gamma=2.0).fit(np.stack(x), y)


@dataclass
class Returns:
    """The digits of many videos: class of each picture, and the pairs on the two sides of a curtain."""

    shown: list[list[Picture]]
    """Pictures with a digit, of each video, in order."""
    pairs: list[tuple[int, Picture, Picture]]
    """Number of the video, picture before, picture after."""
    empty: int
    """Times that the picture was open without a digit."""

    @classmethod
    def of(cls, videos: list[Video]) -> "Returns":
        """Those of some videos."""
        found = [pictures(video) for video in videos]
        pairs = [
            (n, a, b)
            for n, some in enumerate(found)
            for a, b in itertools.pairwise(some)
            if a is not None and b is not None
        ]
        shown = [[p for p in some if p is not None] for some in found]
        return cls(shown, pairs, sum(p is None for some in found for p in some))

    def report(self, name: str, judge: SVC) -> dict[str, float]:
        """Print and return what both judges say."""
        before, after = (judge.predict(np.stack([p[k].ravel() for p in self.pairs])) for k in (1, 2))
        same = int((before == after).sum())
        low, high = binomtest(same, len(self.pairs)).proportion_ci(method="wilson")
        kept = [len(set(judge.predict(np.stack([p.ravel() for p in some])))) == 1 for some in self.shown if some]
        own, other = self.correlations()
        values = {
            "same": same / len(self.pairs),
            "own": float(own.mean()),
            "other": float(other.mean()),
            "nearer": float(np.mean([(o > other).mean() for o in own])),
        }
        print(
            f"{name}: {len(self.pairs)} returns in {len(self.shown)} videos ({self.empty} times nothing was there)\n"
            f"  the same digit in {values['same']:.1%} ({low:.1%} to {high:.1%}), throughout in {np.mean(kept):.0%} of "
            f"the videos\n  correlation of before and after {values['own']:.3f}, with other videos' "
            f"{values['other']:.3f} (nearer than {values['nearer']:.1%} of these)",
            flush=True,
        )
        classes, counts = np.unique(before, return_counts=True)
        print("  digits seen:", ", ".join(f"{c}: {n}" for c, n in zip(classes, counts, strict=True)))
        return values

    def correlations(self) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "m"]]:
        """Correlation of each picture before with its own after, and with the afters of other videos."""
        number = np.array([n for n, _, _ in self.pairs])
        before, after = (np.stack([p[k].ravel() for p in self.pairs]) for k in (1, 2))
        before, after = (one - one.mean(1, keepdims=True) for one in (before, after))
        before, after = (one / np.linalg.norm(one, axis=1, keepdims=True) for one in (before, after))
        table = before @ after.T
        return np.diag(table), table[number[:, None] != number]


def made(run: Path, seeds: range, frames: int, sampling: Sampling, keep: Path | None) -> list[Video]:
    """Generated videos, one for each seed; those in the folder `keep` are read, others written there."""
    model, videos = vidboot.load(run), []
    for seed in tqdm(seeds, desc="videos"):
        path = None if keep is None else keep / f"{seed}.npy"
        if path is not None and path.exists():
            videos.append(np.load(path))
            continue
        videos.append(to_frames(streamed(model, frames, seed, sampling)))
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(path) as partial, partial.open("wb") as file:
                np.save(file, videos[-1])
    return videos


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=RUN)
    parser.add_argument("--seed", type=int, default=0, help="of the first video")
    parser.add_argument("--videos", type=int, default=64)
    parser.add_argument("--frames", type=int, default=256)
    parser.add_argument("--steps", type=int, default=18)
    parser.add_argument("--sampler", default="heun")
    parser.add_argument("--guidance", type=float, default=GUIDANCE)
    parser.add_argument("--churn", type=float, default=0.0)
    parser.add_argument("--keep", type=Path, help="folder for the videos, from which a later call reads them")
    a = parser.parse_args()
    sampling = Sampling(steps=a.steps, sampler=a.sampler, churn=a.churn, guidance=a.guidance)
    videos = made(a.run, range(a.seed, a.seed + a.videos), a.frames, sampling, a.keep)
    judge, count = classifier(), 4 * a.videos
    others = Returns.of([video((6, 0, n), a.frames, "test", None) for n in range(count)])
    truth = [[digit_class((6, 0, n), "test")] * len(some) for n, some in enumerate(others.shown)]
    shown = np.stack([picture.ravel() for some in others.shown for picture in some])
    print(f"the classifier is right about {judge.score(shown, np.concatenate(truth)):.1%} of held-out digits")
    others.report("real videos of held-out digits", judge)
    own = [video((6, 0, n), a.frames) for n in range(count)]
    Returns.of(own).report("real videos of the run's digits", judge)
    Returns.of(videos).report(f"generated, {a.steps} steps of {a.sampler}, guidance {a.guidance:g}", judge)


if __name__ == "__main__":
    main()
