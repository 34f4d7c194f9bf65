"""What is said of clips with things burnt in that move, change or are all over the picture. Run by hand:

python tests/bench/moving.py FOOTAGE tests/bench/real_overlays.json [--clips 8] [--finder both]

Into real clips without overlays (boxes say so) marks that bounce and drift, comments that fly, credits that roll,
captions that change word by word, and tiles are burnt. Printed: how many clips are called masked, uncertain, clean, and
how much of what is burnt in is masked. None should be called clean. Nothing was tuned on what is burnt
in; the clips as they are took part in fitting the evidence.
"""

import argparse
import tempfile
from collections import Counter
from multiprocessing import get_context
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from burn import LATIN, encode, load
from PIL import Image, ImageDraw, ImageFont
from real_overlays import clips

from data_prep.analysis import analyse
from data_prep.config import Preprocess
from data_prep.masking import Coverage, mostly_left, verdict
from data_prep.video.decode import probe

_FRAMES, _RATE = 150, 25
_FONTS = Path(matplotlib.get_data_path()) / "fonts/ttf"
_BOLD, _THIN = (str(_FONTS / name) for name in ("DejaVuSans-Bold.ttf", "DejaVuSans.ttf"))


def letters(text: str, size: int, font: str = _BOLD, outline: int = 0) -> np.ndarray:
    """A text as RGBA, white, uint8 `h w 4`, no larger than its ink."""
    made = Image.new("RGBA", (size * len(text) + 20, 3 * size * (text.count("\n") + 1)))
    style = {"font": ImageFont.truetype(font, size), "stroke_width": outline, "stroke_fill": "black"}
    ImageDraw.Draw(made).text((8, 8), text, (255, 255, 255, 255), **style)
    return np.asarray(made.crop(made.getbbox()))


def lay(frame: np.ndarray, truth: np.ndarray, look: np.ndarray, at: tuple[float, float], opacity: float = 1.0) -> None:
    """Draw a look on a frame at (x, y), in place, and mark what it covers."""
    x, y = int(at[0]), int(at[1])
    height, width = frame.shape[:2]
    top, left, bottom, right = max(0, y), max(0, x), min(height, y + look.shape[0]), min(width, x + look.shape[1])
    if top < bottom and left < right:
        part = look[top - y : bottom - y, left - x : right - x]
        alpha = part[..., 3:] / 255 * opacity
        frame[top:bottom, left:right] = np.round(frame[top:bottom, left:right] * (1 - alpha) + part[..., :3] * alpha)
        truth[top:bottom, left:right] |= part[..., 3] > 100


def bouncing(speed: float):
    """A mark that turns back at the edges, `speed` pixels a frame."""

    def burn(frames, truth, rng):
        look = letters("DVD", 40) * np.array([*rng.choice([1.0, 0.6, 0.2], 3), 1.0])
        room = np.array([frames.shape[2] - look.shape[1], frames.shape[1] - look.shape[0]])
        start, way = rng.uniform(0, 1, 2) * room, rng.choice([-1, 1], 2) * [speed, 0.7 * speed]
        for number, frame in enumerate(frames):
            at = room - np.abs(room - (start + number * way) % (2 * room))
            lay(frame, truth[number], look, at)

    return burn


def comments(frames, truth, rng):
    """Comments that fly from right to left."""
    lines = [letters(rng.choice(LATIN).replace("\n", " "), 20, _BOLD, 1) for _ in range(8)]
    flying = [(look, rng.uniform(0, 4) * _RATE, rng.uniform(3, 6), line) for line, look in enumerate(lines)]
    for number, frame in enumerate(frames):
        for look, first, speed, line in flying:
            lay(frame, truth[number], look, (frames.shape[2] - speed * (number - first), 10 + 26 * line))


def credits_roll(frames, truth, rng):
    """Credits that roll up the middle."""
    look = letters("\n".join(rng.permutation(LATIN)).replace(". ", "\n"), 22, _THIN)
    for number, frame in enumerate(frames):
        lay(frame, truth[number], look, (0.2 * frames.shape[2], frames.shape[1] - 2.5 * number))


def by_word(milliseconds: int):
    """Captions that change word by word."""

    def burn(frames, truth, rng):
        words = " ".join(rng.permutation(LATIN)).split()
        every = milliseconds / 1000 * _RATE
        for number, frame in enumerate(frames):
            look = letters(words[int(number / every) % len(words)], 34, _BOLD, 3)
            lay(frame, truth[number], look, ((frames.shape[2] - look.shape[1]) / 2, 0.75 * frames.shape[1]))

    return burn


def tiles(frames, truth, rng):
    """A faint word all over the picture, aslant."""
    look = Image.fromarray(letters("stockphoto", 26)).rotate(30, expand=True)
    for number, frame in enumerate(frames):
        for x in range(-40, frames.shape[2], 190):
            for y in range(-40, frames.shape[1], 130):
                lay(frame, truth[number], np.asarray(look), (x, y), 0.3)


KINDS = {
    "bouncing, slow": bouncing(2), "bouncing, fast": bouncing(7), "comments": comments, "credits": credits_roll,
    "words, 150 ms": by_word(150), "words, 300 ms": by_word(300), "words, 600 ms": by_word(600), "tiles": tiles,
}  # fmt: skip


def measured(job: tuple[Path, str, int, str]) -> tuple[str, str, float]:
    """Kind, verdict (the most serious of the shots), and the masked share of what is burnt in."""
    cv2.setNumThreads(1)
    source, kind, number, finder = job
    frames = load(source, 0, _FRAMES)
    truth = np.zeros(frames.shape[:3], bool)
    KINDS[kind](frames, truth, np.random.default_rng(number))
    settings = Preprocess(finder=finder, text={"detector": "opencv"})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        encode(path, frames, 24)
        analysis, _ = analyse(path, probe(path), settings)
    coverage = Coverage(analysis, None, path, settings)
    spans = coverage.of(range(len(frames)))
    covered = np.zeros_like(truth)
    for start, end, area in spans:
        covered[start:end] |= area
    edges = [(one.start, one.end) for one in analysis.spans]
    said = set()
    for start, end in edges:
        masked = bool(covered[start:end].any())
        left = masked and mostly_left(coverage, (start, end))
        said.add(verdict(analysis, False, (start, end), masked, left)[0])
    worst = next((each for each in ("masked", "uncertain", "clean") if each in said), "no shot")
    return kind, worst, float((truth & covered).sum() / max(1, truth.sum()))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("footage", type=Path)
    parser.add_argument("boxes", type=Path)
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--finder", choices=["both", "learned", "rules"], default="both")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    free = [path for path, boxes in clips(args.footage, args.boxes, None, None).items() if not boxes][: args.clips]
    jobs = [(path, kind, number, args.finder) for kind in KINDS for number, path in enumerate(free)]
    with get_context("spawn").Pool(args.workers) as pool:
        found = pool.map(measured, jobs, chunksize=1)
    for kind in KINDS:
        said = Counter(one[1] for one in found if one[0] == kind)
        share = np.mean([one[2] for one in found if one[0] == kind])
        counts = ", ".join(f"{name} {said[name]}" for name in ("masked", "uncertain", "clean", "no shot"))
        print(f"{kind:16} {counts}; {share:.0%} of it masked")


if __name__ == "__main__":
    main()
