"""Data loading alone against decord. Run by hand, on an idle machine, on any preprocessed folder:

python tests/bench/bench_loading.py --data runs/quickstart/data [--clips 2000] [--memory-gb 0]

The loader gives training samples from two workers, as training gets them (bytes and masks, in batches); decord reads
the same clips, at random positions, in one thread, and gives bare frames. Both in turns, frames per second of wall
time, workers warm.
"""

import argparse
import statistics
import time
from pathlib import Path

import decord
import numpy as np
from torch.utils.data import DataLoader

from vidboot.data.config import DataConfig
from vidboot.data.datasets import ViewDataset, Windows, leave_signals_to_parent
from vidboot.data.manifest import Shot, load_manifest


def clip_of(shots: list[Shot], num_frames: int, number: int) -> tuple[str, list[int]]:
    """File and frames of a random clip, drawn as training draws them."""
    shot, frames = Windows(shots, num_frames, 1).draw(np.random.default_rng(number))
    return str(shot.root / shot.path), list(frames)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--clips", type=int, default=2000)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--memory-gb", type=float, default=1.0, help="data.memory_gb: decoded shots kept (default: as in training)"
    )
    arguments = parser.parse_args()
    options = DataConfig(manifest=arguments.data, extra_masks=0.0, memory_gb=arguments.memory_gb)
    shots = [s for s in load_manifest(arguments.data).supplying("clip") if s.num_frames >= arguments.frames]
    dataset = ViewDataset(shots, {arguments.frames: 1.0}, 0, 4, options)
    clips = [clip_of(shots, arguments.frames, n) for n in range(arguments.clips)]
    rates: dict[str, list[float]] = {"decord, one thread": [], "loader, two workers": []}
    for _ in range(arguments.rounds):
        start = time.perf_counter()
        for path, frames in clips:
            decord.VideoReader(path, num_threads=1).get_batch(frames).asnumpy()
        rates["decord, one thread"].append(len(clips) * arguments.frames / (time.perf_counter() - start))
        warm = 40
        batches = [range(n, n + 4) for n in range(0, len(clips) + 4 * warm, 4)]
        loader = DataLoader(
            dataset,
            batch_sampler=batches,
            num_workers=2,
            multiprocessing_context="spawn",
            worker_init_fn=leave_signals_to_parent,
        )
        for number, _ in enumerate(loader):
            if number == warm - 1:
                start = time.perf_counter()
        rates["loader, two workers"].append(len(clips) * arguments.frames / (time.perf_counter() - start))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    for name, rate in medians.items():
        print(f"{name:20} {rate:8.0f} frames/s")
    print(f"ratio {medians['loader, two workers'] / medians['decord, one thread']:.2f} (goal: at least 1.5)")


if __name__ == "__main__":
    main()
