"""Make partial and full videos from robot episodes, for a learning curve on real videos of one kind. Run by hand:

python tests/bench/droid.py FOOTAGE runs/droid/data [--height 24 --width 40 --frames 32]
python tools/evaluate.py learning-curve --config tests/bench/droid.yaml

FOOTAGE holds a folder of mp4 files for each lab: the example episodes of the DROID data set (Khazatsky et al. 2024,
arXiv 2403.12945), which its web pages show (github.com/droid-dataset/droid-dataset.github.io): 829 episodes of seven
labs, 320×180 pixels, 30 frames/s. The cameras stand still, and an arm hides parts of the scene and gives them back.

Every third frame is taken (10 frames/s), cropped to the aspect of the videos, and scaled down. Episodes are spread over
three kinds: full videos, clips (8 to 16 frames) and low-resolution videos (each 2×2 block replaced by its mean); one
gives at most two videos. So no clip and no low-res video shows the content of a full one. Half of the clips are
subtitled by the burner of the other benches before they are scaled, and masked with what it covered: preprocessing all
of them takes longer than the rest, and is measured elsewhere.

A lab is one source, so the learning curve holds out whole labs: one to choose by, one to report on. No scene is on both
sides.
"""

import argparse
import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
from burn import LATIN, STYLES, burn, text_layer
from jaxtyping import Bool, UInt8
from tqdm import tqdm

from vidboot.data.manifest import ManifestRow, write_manifest
from vidboot.data.masks import Event, MaskTrack
from vidboot.data.video import write_video

EVERY, FPS = 3, 10.0
SHARES = {"full": 0.4, "clip": 0.4, "low_res": 0.2}
CLIP_FRAMES, SCALE, MAX_SPANS = (8, 16), 2, 2
FONT = "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf"
Video = UInt8[np.ndarray, "T H W C"]


def episode(path: Path, aspect: float) -> Video:
    """Every third frame, cropped around the middle to an aspect (width over height)."""
    with av.open(str(path)) as container:
        frames = [f.to_ndarray(format="rgb24") for n, f in enumerate(container.decode(video=0)) if n % EVERY == 0]
    height, width = frames[0].shape[:2]
    high, wide = min(height, round(width / aspect)), min(width, round(height * aspect))
    top, left = (height - high) // 2, (width - wide) // 2
    return np.stack(frames)[:, top : top + high, left : left + wide]


def subtitled(video: Video, rng: np.random.Generator, font: str) -> tuple[Video, Bool[np.ndarray, "T H W"]]:
    """The video with a subtitle, and the pixels that it changes."""
    video, covered = video.copy(), np.zeros(video.shape[:3], bool)
    style = [s for s in STYLES if not s.cjk][rng.integers(5)]
    layer = text_layer(video.shape[1:3], LATIN[rng.integers(len(LATIN))], style, font, 0.09, 0.94)
    burn(video, layer, 0, len(video), 0, covered)
    return video, covered


def scaled(video: Video, size: tuple[int, int]) -> Video:
    """The video at height × width."""
    return np.stack([cv2.resize(frame, size[::-1], interpolation=cv2.INTER_AREA) for frame in video])


def scaled_mask(covered: Bool[np.ndarray, "T H W"], size: tuple[int, int]) -> Bool[np.ndarray, "T h w"]:
    """A pixel is covered if any part of it is."""
    small = [cv2.resize(c.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA) for c in covered]
    return np.stack(small) > 0


def in_blocks(video: Video) -> Video:
    """The mean in each block of SCALE × SCALE pixels, at full size."""
    n, h, w, c = video.shape
    small = video.reshape(n, h // SCALE, SCALE, w // SCALE, SCALE, c).mean((2, 4)).round().astype(np.uint8)
    return small.repeat(SCALE, 1).repeat(SCALE, 2)


def spans(length: int, kind: str, frames: int, rng: np.random.Generator) -> Iterator[tuple[int, int]]:
    """First frame and frame after the last of each video that an episode gives."""
    start, made = 0, 0
    while made < MAX_SPANS:
        count = int(rng.integers(CLIP_FRAMES[0], CLIP_FRAMES[1] + 1)) if kind == "clip" else frames
        if start + count > length:
            return
        yield start, start + count
        start, made = start + count, made + 1


def videos(path: Path, a: argparse.Namespace) -> Iterator[tuple[str, Video, Bool[np.ndarray, "T h w"] | None]]:
    """Kind, frames and mask of what an episode gives; the same each time."""
    seed = int(hashlib.sha256(f"{path.parent.name}/{path.name}".encode()).hexdigest()[:8], 16)
    rng = np.random.default_rng(seed)
    kind = str(rng.choice(list(SHARES), p=list(SHARES.values())))
    size, whole = (a.height, a.width), episode(path, a.width / a.height)
    for start, end in spans(len(whole), kind, a.frames, rng):
        part, mask = whole[start:end], None
        if kind == "clip" and rng.random() < a.subtitled:
            part, covered = subtitled(part, rng, a.font)
            mask = scaled_mask(covered, size)
        small = scaled(part, size)
        yield kind, in_blocks(small) if kind == "low_res" else small, mask


def store(folder: Path, lab: str, kind: str, video: Video, mask: Bool[np.ndarray, "T h w"] | None) -> ManifestRow:
    """Write a video, and its mask if it has one; returns its row of the manifest."""
    identity = hashlib.sha256(video.tobytes()).hexdigest()[:16]
    name, (length, height, width, _) = f"{kind}/{identity}", video.shape
    write_video(folder / f"{name}.mp4", video, FPS, lossless=True)
    if mask is not None:
        MaskTrack(length, height, width, [Event(0, length, mask.any(0))]).save(folder / f"{name}.npz")
    return ManifestRow(
        id=identity,
        source=lab,
        start=0,
        end=length,
        path=f"{name}.mp4",
        num_frames=length,
        fps=FPS,
        height=height,
        width=width,
        crop=(0, 0, height, width),
        views=(kind,),
        verdict="clean" if mask is None else "masked",
        mask=None if mask is None else f"{name}.npz",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("footage", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--height", type=int, default=24)
    parser.add_argument("--width", type=int, default=40)
    parser.add_argument("--frames", type=int, default=32, help="of a full video")
    parser.add_argument("--subtitled", type=float, default=0.5, help="share of the clips")
    parser.add_argument("--font", default=FONT)
    a = parser.parse_args()
    rows: dict[str, ManifestRow] = {}
    for path in tqdm(sorted(a.footage.glob("*/*.mp4")), unit="episode"):
        for kind, video, mask in videos(path, a):
            row = store(a.output, path.parent.name, kind, video, mask)
            rows[row.id] = row
    write_manifest(a.output, rows.values())
    print(Counter((row.source, row.views[0]) for row in rows.values()), sum(r.mask is not None for r in rows.values()))


if __name__ == "__main__":
    main()
