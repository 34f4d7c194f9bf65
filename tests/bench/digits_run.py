"""Makes the trained run in tests/data/digits_run, and the picture of its videos in the documentation.

python tests/bench/digits_run.py make [--work runs/digits_run]     data, training, and the run with 16-bit weights
python tests/bench/digits_run.py picture [--digit 7] [--seed N]    docs/results/digits/returning.gif

What is made already in the work folder is not made again: the first command goes on where it was stopped.
"""

import argparse
import itertools
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

import vidboot
from vidboot.data.datasets import to_frames
from vidboot.data.files import atomic_path
from vidboot.experiments.digits import Motion, Split, digit_class, digit_video, write_digits
from vidboot.generation.sampling import Sampling
from vidboot.generation.streaming import stream
from vidboot.model.run_folder import WEIGHTS_FILE, save
from vidboot.model.video_model import VideoModel

ROOT = Path(__file__).parents[2]
RUN = ROOT / "tests/data/digits_run"
PICTURE = ROOT / "docs/results/digits/returning.gif"
SIZE, DIGIT_SIZE = 16, 12
"""Pixels of a picture, and of the digit in it."""
DIGITS, MOTION = 10, Motion(pace=0.03, closed=(5, 7))
"""How many handwritten digits, one of each, and how they move."""
GUIDANCE = 2.0
"""Towards a video's class; chosen by eye, on samples of the half-trained network."""
Frames = UInt8[np.ndarray, "T H W C"]
FULL_VIDEOS = 4096
"""This run is to be looked at: it is trained on many full videos, and says nothing of few."""


def make(work: Path) -> None:
    """Write the data, train, and store the run."""
    data, run = work / "data", work / "run"
    if not (data / "manifest.parquet").exists():
        shape = {"num_frames": 64, "size": SIZE, "digit_size": DIGIT_SIZE}
        write_digits(data, full=FULL_VIDEOS, clips=0, low_res=0, digits=DIGITS, motion=MOTION, **shape)
    config = ROOT / "tests/bench/digits_run.yaml"
    settings = [f"run_dir={run}", f"data.manifest={data}"]
    subprocess.run([sys.executable, ROOT / "tools/train.py", "--config", config, *settings], check=True)
    store(run)


def video(seed: tuple[int, ...], frames: int, split: Split = "train", digits: int | None = DIGITS) -> Frames:
    """A real video of the kind that the run was trained on; of its own digits, unless others are asked for."""
    return digit_video(seed, frames, split, SIZE, DIGIT_SIZE, digits, MOTION)


def store(run: Path) -> None:
    """Copy a run without its state of training, with weights in half precision: `load` makes float32 of them."""
    save(vidboot.load(run), RUN)
    for path in RUN.rglob(WEIGHTS_FILE):
        with safe_open(path, "pt") as file:
            weights = {name: file.get_tensor(name).half() for name in file.keys()}  # noqa: SIM118 (it is no dict)
            about = file.metadata()
        with atomic_path(path) as partial:
            save_file(weights, partial, about)
    size = sum(path.stat().st_size for path in RUN.rglob("*") if path.is_file())
    print(f"{RUN}: {size / 1e6:.2f} MB")


@torch.no_grad()
def picture(digit: int, seed: int, frames: int = 256) -> None:
    """A GIF with a generated video on the left and a real one on the right, every second frame, in 16 greys."""
    made = to_frames(streamed(vidboot.load(RUN), frames, seed, Sampling(label=digit, guidance=GUIDANCE)))
    shown = next(n for n in itertools.count() if digit_class((6, 0, n), "train", DIGITS) == digit)
    real = video((6, 0, shown), frames)
    pairs = [
        np.concatenate([_enlarged(a), np.full((128, 8), 255, np.uint8), _enlarged(b)], 1)
        for a, b in zip(made, real, strict=True)
    ]
    images = [Image.fromarray(pair // 16 * 17).quantize(16) for pair in pairs[::2]]
    with atomic_path(PICTURE) as partial:
        images[0].save(partial, save_all=True, append_images=images[1:], duration=80, loop=0, optimize=True)


def streamed(model: VideoModel, frames: int, seed: int, sampling: Sampling) -> Float[Tensor, "C T H W"]:
    """The first frames of an endless video."""
    parts: list[Tensor] = []
    for fresh, _ in stream(model, [seed], sampling):
        parts.append(fresh[0])
        if sum(part.shape[1] for part in parts) >= frames:
            break
    return torch.cat(parts, 1)[:, :frames]


def _enlarged(frame: np.ndarray) -> np.ndarray:
    """A frame in grey, 128 pixels wide."""
    return cv2.resize(frame.mean(-1).astype(np.uint8), (128, 128), interpolation=cv2.INTER_CUBIC)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("make", "picture"))
    parser.add_argument("--work", type=Path, default=Path("runs/digits_run"))
    parser.add_argument("--digit", type=int, default=7)
    parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args()
    if a.part == "make":
        make(a.work)
    else:
        picture(a.digit, a.seed)


if __name__ == "__main__":
    main()
