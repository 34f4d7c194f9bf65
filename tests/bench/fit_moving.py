"""Fit the probability of things that move (`_MOVING` in data_prep/evidence.py), and say how good it is. Run by hand:

python tests/bench/fit_moving.py FOOTAGE tests/bench/real_overlays.json [--clean DROID --every 40]

Into each clip without overlays a mark is burnt that bounces, or drifts on a curve: words and shapes of random fonts,
colours, sizes, opacities (40 to 100 %) and speeds (12 to 200 pixels a second). What the finder follows counts as burnt
in if it lies on the mark and went its way; what it follows in the clips as they are does not. Printed: weights; and by
five folds over clips, in how many of them something reaches some probabilities.
"""

import tempfile
from multiprocessing import get_context
from pathlib import Path

import av
import cv2
import numpy as np
from burn import encode
from fit_evidence import fitted
from judging import fold_of
from moving import lay
from PIL import Image, ImageDraw, ImageFont
from reliability import jobs_of, parser_of

from data_prep.config import Preprocess
from data_prep.evidence import logistic
from data_prep.finder.maps import Sample, network_size
from data_prep.finder.moments import RATE, shipped
from data_prep.finder.moving import Moving, MovingFinder
from data_prep.measure.shots import SHOT_WIDTH, ShotFinder
from data_prep.video.decode import Converter, probe, raw_frames

_FOLDS, _FRAMES = 5, 150
_FONTS = sorted(Path("/usr/share/fonts/truetype").rglob("*.ttf"))
# Of what is followed, so much must lie where the mark passes; of where the mark passes, so much must be followed.
_INSIDE, _REACHED = 0.9, 0.5


def longest_shot(path: Path) -> tuple[np.ndarray, float]:
    """At most `_FRAMES` frames of a clip's longest shot, uint8 `T H W C`, and frames per second."""
    about, finder, to_small = probe(path), None, Converter("bgr24", SHOT_WIDTH)
    finder, small = ShotFinder(Preprocess().shots, about.fps), []
    height, width = network_size(about.height, about.width)
    for number, _, frame in raw_frames(path, about, []):
        finder.feed(number, to_small(frame))
        small.append(frame.reformat(width=width, height=height, format="rgb24").to_ndarray())
    start, end = max(finder.spans(), key=lambda span: span[1] - span[0])
    return np.stack(small[start : min(end, start + _FRAMES)]), about.fps


def look_of(rng: np.random.Generator) -> np.ndarray:
    """A word or a shape, RGBA."""
    size, fill = int(rng.integers(16, 48)), tuple(int(v) for v in rng.choice([0, 60, 128, 200, 255], 3))
    picture = Image.new("RGBA", (12 * size, 4 * size))
    draw, kind = ImageDraw.Draw(picture), rng.choice(["word", "disc", "ring"], p=[0.6, 0.25, 0.15])
    if kind == "word":
        word = "".join(rng.choice(list("abcdefghijklmnoprstuvwxyzABCDEGHKLMNRST"), rng.integers(3, 9)))
        font = ImageFont.truetype(str(rng.choice(_FONTS)), size)
        draw.text((20, size), word, (*fill, 255), font, stroke_width=int(rng.integers(0, 3)), stroke_fill="black")
    elif kind == "disc":
        draw.ellipse((4, 4, 2 * size, 2 * size), (*fill, 255))
        draw.polygon(
            [(0.7 * size, 0.5 * size), (0.7 * size, 1.5 * size), (1.6 * size, size)], (*(255 - v for v in fill), 255)
        )
    else:
        draw.ellipse((4, 4, 2 * size, 2 * size), outline=(*fill, 255), width=max(3, size // 6))
    box = picture.getbbox()
    return np.asarray(picture.crop(box)) if box else look_of(rng)


def burn(frames: np.ndarray, fps: float, rng: np.random.Generator) -> np.ndarray:
    """Burn a moving mark into frames, in place; returns what it covers, bool `T H W`."""
    look, truth = look_of(rng), np.zeros(frames.shape[:3], bool)
    room = np.maximum(1.0, [frames.shape[2] - look.shape[1], frames.shape[1] - look.shape[0]])
    speed, angle = np.exp(rng.uniform(np.log(12), np.log(200))) / fps, rng.uniform(0, 2 * np.pi)
    start, opacity, curved = rng.uniform(0, 1, 2), rng.choice([1.0, 1.0, 0.8, 0.6, 0.4]), rng.random() < 0.25
    way = speed * np.array([np.cos(angle), np.sin(angle)])
    for number, frame in enumerate(frames):
        if curved:
            at = room / 2 + 0.4 * room * np.sin(number * speed / (room * [0.4, 0.6]) + 6 * start)
        else:
            at = room - np.abs(room - (start * room + number * way) % (2 * room))
        lay(frame, truth[number], look, at, opacity)
    return truth


def followed(path: Path) -> list[Moving]:
    """What the finder follows in a clip of one shot."""
    finder, tick = MovingFinder(shipped()), 1
    with av.open(str(path)) as container:
        tick = max(1, round(float(container.streams.video[0].average_rate) / RATE))
        for number, frame in enumerate(container.decode(video=0)):
            if number % tick == 0:
                height, width = network_size(frame.height, frame.width)
                grey = frame.reformat(width=width, height=height, format="gray").to_ndarray()
                colours = frame.reformat(width=width // 2, height=height // 2, format="yuv444p").to_ndarray()[1:]
                finder.take(number, Sample(grey, colours))
    return finder.close()


def looks(job: tuple[Path, int]) -> tuple[str, list, list]:
    """The clip's name; looks of what is followed in it as it is, and on a mark that is burnt into it."""
    cv2.setNumThreads(1)
    path, seed = job
    frames, fps = longest_shot(path)
    with tempfile.TemporaryDirectory() as folder:
        clip, rng = Path(folder) / "clip.mp4", np.random.default_rng(seed)
        encode(clip, frames, 23, round(fps))
        without = [one.look for one in followed(clip)]
        truth = burn(frames, fps, rng)
        encode(clip, frames, int(rng.integers(18, 29)), round(fps))
        marks = [one.look for one in followed(clip) if _on(one, truth)]
    return path.name, without, marks


def _on(one: Moving, truth: np.ndarray) -> bool:
    """Whether most of what is followed lies where the mark passes, and both reach as far."""
    passed = truth[one.start : one.end].any(0).astype(np.uint8)
    passed = cv2.resize(passed, one.shape[::-1], interpolation=cv2.INTER_AREA) > 0
    near = cv2.dilate(passed.astype(np.uint8), np.ones((13, 13), np.uint8)) > 0
    covered = one.covered()
    inside = (covered & near).sum() >= _INSIDE * covered.sum()
    return bool(inside and (covered & passed).sum() >= _REACHED * passed.sum())


def main() -> None:
    """Fit and print."""
    args = parser_of(__doc__).parse_args()
    jobs = [(path, seed) for seed, (path, boxes) in enumerate(jobs_of(args)) if not boxes]
    with get_context("spawn").Pool(args.workers) as pool:
        clips = list(pool.imap(looks, jobs))
    features = np.array([look for _, without, marks in clips for look in (*without, *marks)])
    truth = np.array([true for _, *each in clips for true, some in enumerate(each) for _ in some], float)
    folds = np.array([fold_of(name, _FOLDS) for name, *each in clips for some in each for _ in some])
    print(f"{len(truth)} followed, {truth.sum():.0f} marks; {np.round(fitted(features, truth), 2).tolist()}")
    best: list[list[float]] = [[], []]
    for name, *each in clips:
        weights = list(fitted(features[folds != fold_of(name, _FOLDS)], truth[folds != fold_of(name, _FOLDS)]))
        for most, some in zip(best, each, strict=True):
            most.append(max((logistic(look, weights) for look in some), default=0.0))
    for least in (0.1, 0.2, 1 / 3, 0.5, 0.7):
        without, marks = (float(np.mean(np.array(most) >= least)) for most in best)
        print(f"from {least:.2f} on: {marks:.0%} of the clips with a mark, {without:.0%} of those without")


if __name__ == "__main__":
    main()
