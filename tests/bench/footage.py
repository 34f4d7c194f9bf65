"""Partial and full videos from real footage, for a learning curve. Run by hand on what preprocessing stored:

python tools/preprocess.py FOOTAGE --output runs/footage/shots height=72 width=128
python tests/bench/footage.py runs/footage/shots runs/footage/data
python tools/evaluate.py learning-curve --config tests/bench/footage.yaml

The shots are cut into spans of 32 frames, of which those without a masked pixel are used, and each picture into tiles
of 24×24 pixels. A tile of a span is one video, and becomes one of three things: a full video, its first 8 frames, or a
low-res video (each 2×2 block its mean). So no clip and no low-res video shows what a full one shows. A shot counts as
one source: the learning curve holds out whole shots. Shots that are only good for the low-res view are left out.
"""

import argparse
import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from tqdm import tqdm

from vidboot.data.manifest import Shot, load_manifest, write_manifest
from vidboot.data.video import write_video

SIZE, FRAMES, CLIP_FRAMES, SCALE = 24, 32, 8, 2
SHARES = {"full": 0.25, "clip": 0.5, "low_res": 0.25}


def spans(folder: Path) -> Iterator[tuple[Shot, UInt8[np.ndarray, "T H W C"]]]:
    """Shot and frames of each span of the shots without a masked pixel."""
    sharp = [shot for shot in load_manifest(folder) if shot.views & {"full", "clip"}]
    for shot in tqdm(sharp, desc="footage", unit="shot"):
        frames, clean = shot.frames(), shot.mask().all((1, 2))
        for start in range(0, shot.num_frames - FRAMES + 1, FRAMES):
            if not clean[start : start + FRAMES].all():
                continue
            yield shot, frames[start : start + FRAMES]


def as_kind(video: UInt8[np.ndarray, "T H W C"], kind: str) -> UInt8[np.ndarray, "T H W C"]:
    """What is left of a video in a view; low-res videos keep their size."""
    if kind == "full":
        return video
    if kind == "clip":
        return video[:CLIP_FRAMES]
    n, h, w, c = video.shape
    small = video.reshape(n, h // SCALE, SCALE, w // SCALE, SCALE, c).mean((2, 4)).round().astype(np.uint8)
    return small.repeat(SCALE, 1).repeat(SCALE, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shots", type=Path)
    parser.add_argument("output", type=Path)
    a = parser.parse_args()
    rng, rows = np.random.default_rng(0), {}
    for shot, frames in spans(a.shots):
        for top in range(0, frames.shape[1] - SIZE + 1, SIZE):
            for left in range(0, frames.shape[2] - SIZE + 1, SIZE):
                kind = str(rng.choice(list(SHARES), p=list(SHARES.values())))
                video = as_kind(frames[:, top : top + SIZE, left : left + SIZE], kind)
                identity = hashlib.sha256(video.tobytes()).hexdigest()[:16]
                if identity in rows:  # a still, empty part of the picture, seen before
                    continue
                path = f"{kind}/{identity}.mp4"
                write_video(a.output / path, video, shot.fps, lossless=True)
                rows[identity] = {
                    "id": identity,
                    "source": f"{Path(shot.source).name}@{shot.start}",
                    "start": 0,
                    "end": len(video),
                    "path": path,
                    "num_frames": len(video),
                    "fps": shot.fps,
                    "height": SIZE,
                    "width": SIZE,
                    "crop": list(shot.crop),
                    "views": [kind],
                    "verdict": "clean",
                }
    write_manifest(a.output, list(rows.values()))
    counts = {kind: sum(row["views"] == [kind] for row in rows.values()) for kind in SHARES}
    print(f"{counts} from {len({row['source'] for row in rows.values()})} shots")


if __name__ == "__main__":
    main()
