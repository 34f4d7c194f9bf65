"""Measure what of burnt-in logos is found and what is masked without need. Run by hand:

python tests/bench/overlays.py FOOTAGE_DIR — footage as listed below, missing files are skipped.
"""

import argparse
import tempfile
from pathlib import Path

import cv2
import numpy as np
from burn import burn, encode, glide, load
from PIL import Image, ImageDraw, ImageFont

from data_prep.analysis import analyse
from data_prep.config import Preprocess
from data_prep.decode import probe
from data_prep.masking import covered_spans, verdict

# First frames and lengths of stretches; of the trailer those without its own titles.
TRAILER = ((553, 257), (866, 266))
# Films that are cut from shot to shot, long enough to tell.
MOVING = [("bikes.mp4", ((0, 240),)), ("trailer_bbb.mp4", ((0, 1323),))]
# Cameras that move little, for a few shots.
SLOW = [("trailer_bbb.mp4", stretches) for stretches in (TRAILER, TRAILER[:1], TRAILER[1:])]
SLOW += [("Megamind.avi", ((0, 260),)), ("carphone_pristine.mp4", ((0, 250),))]
STILL = [("vtest.avi", ((0, 150),)), ("bigbuckbunny.mp4", ((0, 130),)), ("vtest.avi", ((400, 150),))]
PICTURES = [
    "china.jpg",
    "flower.jpg",
    "fruits.jpg",
    "baboon.jpg",
    "messi5.jpg",
    "home.jpg",
    "butterfly.jpg",
    "building.jpg",
]
# Added later. The shares of edges that may stay and an edge's consistency were set with these in view too.
MORE_PICTURES = [
    "astronaut.png",
    "chelsea.png",
    "coffee.png",
    "rocket.jpg",
    "ihc.png",
    "motorcycle_left.png",
    "graf1.png",
    "leuvenA.jpg",
    "basketball1.png",
    "hubble_deep_field.jpg",
    "gravel.png",
    "camera.png",
    "aloeL.jpg",
    "retina.jpg",
    "brick.png",
    "coins.png",
]
KINDS = ["text", "disc", "word"]


def find(folder, name):
    return next(iter(sorted(folder.rglob(name))), None)


def logo(size, kind, at):
    """A logo as RGBA: 'text' in a frame, 'disc' with letters, 'word' alone."""
    height, width = size
    layer = Image.new("RGBA", (width, height))
    draw = ImageDraw.Draw(layer)
    x, y = at
    font = ImageFont.truetype("/usr/share/fonts/truetype/liberation/LiberationSans-Bold.ttf", 22)
    if kind == "disc":
        draw.ellipse((x, y, x + 44, y + 44), fill=(255, 255, 255, 255))
        draw.text((x + 8, y + 8), "TV", fill=(20, 40, 160, 255), font=font)
    elif kind == "text":
        draw.rectangle((x, y, x + 80, y + 30), outline=(255, 255, 255, 255), width=3)
        draw.text((x + 8, y + 3), "NEWS", fill=(255, 255, 255, 255), font=font)
    else:
        draw.text((x, y), "example.org", fill=(255, 255, 255, 255), font=font)
    return np.asarray(layer)


def footage(folder):
    """Name of each clip, kind of camera, and what makes its frames."""
    for kind, clips in (("moving", MOVING), ("slow", SLOW), ("still", STILL)):
        for name, stretches in clips:
            path = find(folder, name)
            if path is not None:
                label = "+".join(str(start) for start, _ in stretches)
                yield f"{name}@{label}", kind, lambda p=path, s=stretches: np.concatenate([load(p, *one) for one in s])
    for number, name in enumerate(PICTURES + MORE_PICTURES):
        path = find(folder, name)
        if path is not None:
            image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
            yield name, "moving", lambda i=image, k=number: glide(i, 200, (360, 640), k)


def measure(frames, number, alpha, path, settings):
    """Unmasked share of a logo, share that overlays (not texts) mask beside it, and the verdict on the clip."""
    height, width = frames.shape[1:3]
    burnt, truth = frames.copy(), np.zeros(frames.shape[:3], bool)
    at = [(20, 16), (width - 130, 20), (width - 140, height - 60)][number // 3 % 3]
    if alpha:
        burn(burnt, logo((height, width), KINDS[number % 3], at), 0, len(burnt), 0, truth, alpha)
    encode(path, burnt, 26)
    found, _ = analyse(path, probe(path), settings)
    covered, overlays = np.zeros(truth.shape, bool), np.zeros(truth.shape, bool)
    for start, end, area in covered_spans(found, None):
        covered[start:end] |= area
    for start, end, area in covered_spans({**found, "texts": []}, None):
        overlays[start:end] |= area
    said, _ = verdict(found, False, (0, len(burnt)), bool(covered.any()))
    return (truth & ~covered).sum() / max(truth.sum(), 1), (overlays & ~truth).mean(), said


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "overlay_bench")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    settings = Preprocess(text={"detector": "opencv"})
    results = []
    for number, (name, camera, make) in enumerate(footage(arguments.folder)):
        frames = make()
        for alpha in (0.0, 0.25, 0.45, 0.7):
            missed, over, said = measure(frames, number, alpha, arguments.work / "clip.mp4", settings)
            results.append((camera, alpha, missed, over, said))
            rates = f"unmasked {missed:7.2%} over {over:.3%} {said}"
            print(f"{name:24} {camera:6} {KINDS[number % 3]:5} alpha {alpha:.2f} {rates}", flush=True)
    for camera in ("moving", "slow", "still"):
        burnt = [(missed, said) for one, alpha, missed, _, said in results if one == camera and alpha]
        clean = [over for one, alpha, _, over, _ in results if one == camera and not alpha]
        told = [missed for missed, said in burnt if said == "masked"]
        print(
            f"{camera}: {len(told)} of {len(burnt)} masked, unmasked mean {np.mean(told or [0]):.2%} "
            f"worst {max(told, default=0):.2%}; {sum(said == 'clean' for _, said in burnt)} wrongly clean; "
            f"clean clips: at most {max(clean, default=0):.3%} masked"
        )


if __name__ == "__main__":
    main()
