"""Readers that decode some frames of a shot, beside each other. Run by hand on a preprocessed folder:

python tests/bench/bench_readers.py OUT [--rounds 60]

Each round reads 16 consecutive frames of a random shot with every reader that is installed, and compares them with
those that PyAV decodes from the file's start: a reader is wrong where a value differs by more than 3.
"""

import argparse
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch

from vidboot.data import random_access
from vidboot.data.manifest import load_manifest
from vidboot.data.video import _read_pyav

_WINDOW, _WRONG = 16, 3


def readers() -> dict:
    """The readers by name."""
    found = {"PyAV, from the start": _read_pyav}
    if (decord := random_access._imported("decord")) is not None:
        found["decord"] = lambda path, numbers: random_access._by_decord(decord, path, numbers)
    if (decoders := random_access._imported("torchcodec.decoders")) is not None:
        found["torchcodec"] = lambda path, numbers: random_access._by_torchcodec(decoders, path, numbers)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="an output folder of tools/preprocess.py")
    parser.add_argument("--rounds", type=int, default=60)
    args = parser.parse_args()
    torch.set_num_threads(1)
    shots, rng = load_manifest(args.output), np.random.default_rng(0)
    seconds, frames, wrong = defaultdict(float), 0, defaultdict(int)
    for _ in range(args.rounds):
        shot = shots[rng.integers(len(shots))]
        first = int(rng.integers(max(1, shot.num_frames - _WINDOW + 1)))
        numbers = list(range(first, min(first + _WINDOW, shot.num_frames)))
        true, frames = _read_pyav(str(shot.root / shot.path), numbers), frames + len(numbers)
        for name, read in readers().items():
            start = time.process_time()
            found = read(str(shot.root / shot.path), numbers)
            seconds[name] += time.process_time() - start
            same = found is not None and np.abs(found.astype(int) - true).max() <= _WRONG
            wrong[name] += not same
    for name, taken in seconds.items():
        print(f"{name:24} {frames / taken:7.0f} frames/s of one core, wrong {wrong[name]} of {args.rounds}")


if __name__ == "__main__":
    main()
