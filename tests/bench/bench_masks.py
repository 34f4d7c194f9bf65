"""Masked training against clean data, no masks, and thrown-away clips: moving digits, half of them with a text block.

python tests/bench/bench_masks.py --output DIR [--clips 1024] [--steps 1500] [--seeds 2]

Clip networks, trained alike but for their data, by `tools/train.py`'s own stage:
  clean      clips without text, fewer of them and in fewer steps: as many observed pixels as `masked` has and draws
  masked     half of the clips carry an opaque block of text, its pixels are masked
  unmasked   the same pictures, no masks
  thrown     only the clips without text
Reported is the held-out error on clean clips of other handwriting, EDM-weighted, and its ratio to `clean`. A stopped
run goes on where it was.
"""

import argparse
import json
import statistics
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from vidboot.config import RunConfig
from vidboot.data.manifest import Shot, load_manifest
from vidboot.data.masks import Event, MaskTrack
from vidboot.data.split import Split
from vidboot.data.video import write_video
from vidboot.distributed import init_distributed
from vidboot.experiments.digits import write_digits
from vidboot.method.denoising_error import edm_weighted
from vidboot.training.log import set_up_logging
from vidboot.training.loop import train_network
from vidboot.training.view_stage import ViewStage

FRAMES, SIZE, HELD_OUT = 8, 24, 64
ARMS = ("clean", "masked", "unmasked", "thrown")


def text_block(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A picture `H W` with white letters on a dark box somewhere, and where the box is."""
    height, width = int(rng.integers(7, 11)), int(rng.integers(14, SIZE + 1))
    top, left = int(rng.integers(SIZE - height + 1)), int(rng.integers(SIZE - width + 1))
    box = np.full((height, width), 10, np.uint8)
    letters = "".join(rng.choice(list("ABCDEFGHKLMNPRSTUVXYZ"), 5))
    cv2.putText(box, letters, (1, height - 2), cv2.FONT_HERSHEY_PLAIN, 0.5, 250, 1, cv2.LINE_AA)
    picture, covered = np.zeros((SIZE, SIZE), np.uint8), np.zeros((SIZE, SIZE), bool)
    picture[top : top + height, left : left + width] = box
    covered[top : top + height, left : left + width] = True
    return picture, covered


def with_blocks(clean: tuple[Shot, ...], folder: Path) -> list[Shot]:
    """Every second clip with a text block, stored with its mask."""
    shots = []
    for number, shot in enumerate(clean):
        if number % 2:
            picture, covered = text_block(np.random.default_rng([5, number]))
            path, mask = folder / f"{number:06d}.mp4", folder / f"{number:06d}.npz"
            if not mask.exists():
                frames = np.where(covered[..., None], picture[..., None], shot.frames())
                write_video(path, frames, 24, lossless=True)
                MaskTrack(FRAMES, SIZE, SIZE, [Event(0, FRAMES, covered)]).save(mask)
            shot = replace(shot, id=f"{shot.id}t", path=str(path.resolve()), mask_path=str(mask.resolve()))
        shots.append(shot)
    return shots


def arms(shots: list[Shot], clean: tuple[Shot, ...], steps: int) -> dict[str, tuple[list[Shot], int]]:
    """What each network trains on, and for how many steps."""
    observed = np.mean([shot.mask().mean() for shot in shots])
    return {
        "clean": (list(clean[: round(observed * len(clean))]), round(observed * steps)),
        "masked": (shots, steps),
        "unmasked": ([replace(shot, mask_path=None) for shot in shots], steps),
        "thrown": ([shot for shot in shots if shot.mask_path is None], steps),
    }


def config(folder: Path, seed: int, steps: int) -> RunConfig:
    train = {"steps": steps, "batch_size": 16, "learning_rate": 3e-3, "warmup_steps": 50, "ema_decay": 0.99}
    return RunConfig.model_validate(
        {
            "run_dir": folder,
            "seed": seed,
            "video": {"num_frames": FRAMES, "height": SIZE, "width": SIZE, "overlap": 4},
            "data": {"manifest": folder, "num_workers": 0, "memory_gb": 1.0},
            "clip": {
                "num_frames": FRAMES,
                "overlap": 4,
                "network": {"channels": 12, "multipliers": [1, 2, 4], "head_channels": 16},
                "train": train,
            },
            "residual": None,
            "calibration": None,
            "evaluation": {"sigmas": [0.1, 0.3, 1.0, 2.5, 6.0], "num_videos": HELD_OUT},
            "log": {"log_every": 500, "evaluate_every": steps, "sample_every": steps, "checkpoint_every": 250},
        }
    )


def error(folder: Path, seed: int, steps: int, shots: list[Shot], held_out: tuple[Shot, ...]) -> float:
    """Train, unless it is done, and measure."""
    result = folder / "error.json"
    if not result.exists():
        settings = config(folder, seed, steps)
        training = ViewStage(settings, settings.clip).training(Split(tuple(shots), held_out, ()))
        metrics = training.evaluate(train_network(training, folder, settings))
        errors = {sigma: metrics[f"error@{sigma:g}"] for sigma in settings.evaluation.sigmas}
        result.write_text(json.dumps({"error": edm_weighted(errors, settings.noise.sigma_data), **metrics}))
    return json.loads(result.read_text())["error"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", required=True, type=Path)
    parser.add_argument("--clips", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seeds", type=int, default=2)
    arguments = parser.parse_args()
    init_distributed()
    set_up_logging()
    output = arguments.output
    for name, split, count in (("train", "train", arguments.clips), ("held_out", "test", HELD_OUT)):
        if not (output / name / "manifest.parquet").exists():
            write_digits(output / name, full=0, clips=count, low_res=0, split=split, seed=len(name))
    clean, held_out = (load_manifest(output / name).shots for name in ("train", "held_out"))
    data = arms(with_blocks(clean, output / "text"), clean, arguments.steps)
    for name, (shots, steps) in data.items():
        hidden = np.mean([1 - shot.mask().mean() for shot in shots])
        print(f"{name}: {len(shots)} clips, {steps} steps, {hidden:.1%} of the pixels masked")
    found: dict[str, list[float]] = {name: [] for name in ARMS}
    for seed in range(arguments.seeds):
        for name in ARMS:
            shots, steps = data[name]
            found[name].append(error(output / f"{name}-{seed}", seed, steps, shots, held_out))
        for name in ARMS:
            ratio = statistics.mean(found[name]) / statistics.mean(found["clean"])
            print(f"{seed + 1} seed(s)  {name:9} {statistics.mean(found[name]):.5f}  {ratio:.3f} of clean", flush=True)


if __name__ == "__main__":
    main()
