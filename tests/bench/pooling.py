"""Measure how much of a logo is masked that six videos of one source share, each of a static camera. Run by hand:

python tests/bench/pooling.py FOOTAGE_DIR

The pictures are listed in `SOURCES`; sources with missing files are skipped.
"""

import argparse
import tempfile
from pathlib import Path

import cv2
import numpy as np
from burn import burn, encode, find, load, picture, union
from overlays import logo

from data_prep.analysis import analyse, mean_maps
from data_prep.config import Preprocess
from data_prep.masking import covered_spans, verdict
from data_prep.overlays.pooling import packed_maps, pooled_overlay
from data_prep.video.decode import probe

SIZE = (360, 640)
NOISE = 3
# Six pictures each, every one the view of a static camera. The held-out sources were not used for tuning.
SOURCES = {
    "tuned": ["china.jpg", "flower.jpg", "fruits.jpg", "messi5.jpg", "home.jpg", "building.jpg"],
    "held out": ["astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png", "ihc.png"],
    "held out, grey": ["camera.png", "gravel.png", "brick.png", "coins.png", "aloeL.jpg", "leuvenA.jpg"],
}


def still(image, seed, count=100):
    """Frames of a static camera: one part of a picture, with sensor noise."""
    height, width = image.shape[:2]
    tall = min(height, width * SIZE[0] // SIZE[1])
    wide = tall * SIZE[1] // SIZE[0]
    view = cv2.resize(image[(height - tall) // 2 :][:tall, (width - wide) // 2 :][:, :wide], SIZE[::-1])
    noise = np.random.default_rng(seed).normal(0, NOISE, (count, *view.shape)).astype(np.float32)
    return np.clip(view + noise, 0, 255).astype(np.uint8)


def footage(folder):
    """Name of each source and its videos, which are made once: the noise takes longer than the analysis."""
    for source, pictures in SOURCES.items():
        paths = [find(folder, name) for name in pictures]
        if all(paths):
            yield source, [still(picture(path), number) for number, path in enumerate(paths)]
    street = find(folder, "vtest.avi")
    if street is not None:
        # The same scene six times: nothing can be decided.
        yield "one scene", [load(street, start, 100) for start in range(0, 700, 120)]


def masked(found, pooled):
    """The pixels that preprocessing masks, bool `T H W`."""
    return union(covered_spans(found, pooled), (found.frames, *found.size))


def measure(videos, alpha, kind, work, settings):
    """Unmasked share of the logo, share masked beside it, number of uncertain videos if alone and if pooled."""
    found, packs, truths = [], [], []
    for clean in videos:
        frames = clean.copy()
        size, truth = frames.shape[1:3], np.zeros(frames.shape[:3], bool)
        if alpha:
            burn(frames, logo(size, kind, (size[1] - 140, 20)), 0, len(frames), 0, truth, alpha)
        encode(work / "clip.mp4", frames, 26)
        analysis, sums = analyse(work / "clip.mp4", probe(work / "clip.mp4"), settings)
        packs.append(packed_maps(mean_maps(sums)))
        found.append(analysis)
        truths.append(truth)
    pooled = pooled_overlay(packs)
    missed = over = 0.0
    unsure = {False: 0, True: 0}
    for analysis, truth in zip(found, truths, strict=True):
        covered = masked(analysis, pooled)
        missed += (truth & ~covered).sum() / max(1, sum(t.sum() for t in truths))
        over += (covered & ~truth).mean() / len(videos)
        span = (0, analysis.frames)
        for is_pooled, area in ((False, masked(analysis, None)), (pooled is not None, covered)):
            unsure[area is covered] += verdict(analysis, is_pooled, span, bool(area.any()))[0] == "uncertain"
    return missed, over, unsure[False], unsure[True]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    cv2.setNumThreads(1)
    settings = Preprocess(text={"detector": "opencv"})
    work = Path(tempfile.mkdtemp())
    for source, videos in footage(folder):
        for alpha, kind in [(0.0, "text"), *[(a, k) for a in (0.45, 0.7, 1.0) for k in ("text", "disc", "word")]]:
            missed, over, alone, pooled = measure(videos, alpha, kind, work, settings)
            print(
                f"{source:15} {kind:5} alpha {alpha:.2f} unmasked {missed:7.2%} over {over:.3%} "
                f"uncertain of {len(videos)}: alone {alone}, pooled {pooled}",
                flush=True,
            )


if __name__ == "__main__":
    main()
