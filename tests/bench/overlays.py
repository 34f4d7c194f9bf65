"""Measure what of burnt-in logos is found and what is masked without need. Run by hand:

python tests/bench/overlays.py FOOTAGE_DIR — footage as listed in `MOVING` and `STILL`, missing files are skipped.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
from burn import burn, encode, glide, load
from PIL import Image, ImageDraw, ImageFont

from data_prep.analysis import analyse
from data_prep.config import Preprocess
from data_prep.decode import probe
from data_prep.masking import covered_spans

# The trailer has titles of its own elsewhere.
MOVING = [("trailer_bbb.mp4", 855, 235), ("bikes.mp4", 0, 240), ("Megamind.avi", 0, 260)]
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
STILL = [("vtest.avi", 0, 150), ("bigbuckbunny.mp4", 0, 130), ("vtest.avi", 400, 150)]


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


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--work", type=Path, default=Path("/tmp/overlay_bench"))
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    clips = [(f"{n}@{s}", lambda n=n, s=s, c=c: load(find(arguments.folder, n), s, c), True) for n, s, c in MOVING]
    for number, name in enumerate(PICTURES):
        path = find(arguments.folder, name)
        if path is not None:
            image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
            clips.append((name, lambda i=image, k=number: glide(i, 200, (360, 640), k), True))
    clips += [(f"{n}@{s}", lambda n=n, s=s, c=c: load(find(arguments.folder, n), s, c), False) for n, s, c in STILL]
    settings = Preprocess(text={"detector": "opencv"})
    for number, (name, make, moving) in enumerate(clips):
        frames = make()
        height, width = frames.shape[1:3]
        for alpha in (0.0, 0.25, 0.45, 0.7):
            burnt, truth = frames.copy(), np.zeros(frames.shape[:3], bool)
            kind = ["text", "disc", "word"][number % 3]
            at = [(20, 16), (width - 130, 20), (width - 140, height - 60)][number // 3 % 3]
            if alpha:
                burn(burnt, logo((height, width), kind, at), 0, len(burnt), 0, truth, alpha)
            path = arguments.work / "clip.mp4"
            encode(path, burnt, 26)
            found, _ = analyse(path, probe(path), settings)
            covered = np.zeros(truth.shape, bool)
            for start, end, area in covered_spans(found, None):
                covered[start:end] |= area
            unmasked = (truth & ~covered).sum() / max(truth.sum(), 1)
            kinds = f"texts {sum(t['sure'] for t in found['texts'])} overlays {len(found['overlays'])}"
            print(
                f"{name:22} {'moving' if moving else 'still':6} {kind:5} alpha {alpha:.2f} unmasked {unmasked:7.2%} "
                f"over {(covered & ~truth).mean():.3%} can tell {found['moving']} {kinds}",
                flush=True,
            )


if __name__ == "__main__":
    main()
