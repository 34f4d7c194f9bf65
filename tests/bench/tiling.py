"""In which films something is taken for a watermark that is repeated all over the picture. Run by hand:

python tests/bench/tiling.py FOOTAGE tests/bench/real_overlays.json --clean FOLDER [--sample 7]

Into the clips without overlays (boxes say so) of FOOTAGE, and some videos of FOLDER, words are tiled: 5 to 13 % of the
height, 15 to 40 % opaque, white, grey or black, straight or aslant, with gaps of 15 to 200 %, each second row shifted
or not; coded by H.264 at CRF 26. Printed: how many are found, and the highest that films without tiles have. A tiling
of which no row or column fits into half of the picture is beyond what is looked for; such are told apart.
"""

import argparse
import tempfile
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from burn import encode, load
from PIL import Image, ImageDraw, ImageFont
from real_overlays import clips

from data_prep.overlays.static_edges import OverlayFinder
from data_prep.overlays.tiling import Lattice, lattice
from vidboot.data.video import iter_frames

_FRAMES, _EVERY = 180, 5
_FONTS = Path(matplotlib.get_data_path()) / "fonts/ttf"
_WORDS = ["stockphoto", "SAMPLE", "preview", "© shutter", "DRAFT", "123stock", "watermark"]


def tiles(shape: tuple[int, int], rng: np.random.Generator) -> tuple[np.ndarray, float, bool]:
    """The opacity of a tiling (`H W`), its grey level, and whether a row and a column fit into half of the picture."""
    size, word = int(rng.uniform(0.05, 0.13) * shape[0]), str(rng.choice(_WORDS))
    font = ImageFont.truetype(str(_FONTS / rng.choice(["DejaVuSans.ttf", "DejaVuSans-Bold.ttf"])), size)
    made = Image.new("L", (size * len(word) + 20, 2 * size + 16))
    ImageDraw.Draw(made).text((8, 8), word, 255, font=font)
    turned = made.crop(made.getbbox()).rotate(float(rng.choice([0, 0, 30, 45, -30])), Image.Resampling.BICUBIC, True)
    look = np.asarray(turned) / 255
    down, across = int(look.shape[0] * rng.uniform(1.2, 3)), int(look.shape[1] * rng.uniform(1.15, 1.8))
    shift = across // 2 if rng.random() < 0.5 else 0
    whole = np.zeros((shape[0] + 3 * down + look.shape[0], shape[1] + 4 * across))
    for row, y in enumerate(range(0, shape[0] + 2 * down, down)):
        for x in range(shift * (row % 2), shape[1] + 2 * across, across):
            whole[y : y + look.shape[0], x : x + look.shape[1]] = look
    y, x = rng.integers(down), rng.integers(across)
    fits = max(down, look.shape[0]) <= shape[0] / 2 and across <= shape[1] / 2
    alpha = whole[y : y + shape[0], x : x + shape[1]] * rng.choice([0.15, 0.2, 0.3, 0.4])
    return alpha, float(rng.choice([255, 255, 200, 0])), fits


def found(frames: np.ndarray) -> Lattice | None:
    """The lattice of a film's mean gradients, after it was coded."""
    with tempfile.TemporaryDirectory() as folder:
        encode(Path(folder) / "a.mp4", frames, 26)
        finder = OverlayFinder(*frames.shape[1:3])
        for image in iter_frames(Path(folder) / "a.mp4"):
            finder.feed(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
    return lattice(finder.sums.every.mean())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("footage", type=Path)
    parser.add_argument("boxes", type=Path)
    parser.add_argument("--clean", type=Path, required=True)
    parser.add_argument("--sample", type=int, default=7)
    args = parser.parse_args()
    paths = [path for path, boxes in clips(args.footage, args.boxes, args.clean, args.sample).items() if not boxes]
    shares: dict[str, list[float]] = {"none": [], "tiles": [], "wide tiles": []}
    for number, path in enumerate(paths):
        frames, rng = load(path, 0, _FRAMES)[::_EVERY], np.random.default_rng(number)
        for kind in ("none", "tiles", "tiles"):
            film = frames
            if kind == "tiles":
                alpha, level, fits = tiles(frames.shape[1:3], rng)
                kind = "tiles" if fits else "wide tiles"
                film = np.round(frames * (1 - alpha[..., None]) + level * alpha[..., None]).astype(np.uint8)
            one = found(film)
            shares[kind].append(0.0 if one is None else one.height / one.limit)
    for kind, some in shares.items():
        print(f"{kind}: {sum(share >= 1 for share in some)} of {len(some)} found; highest {max(some):.2f} of the limit")


if __name__ == "__main__":
    main()
