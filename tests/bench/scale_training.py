"""What the start of a training takes on the shots of a folder, in seconds of processor time; for `bench_scale.py`.

python tests/bench/scale_training.py DIR

The shots must be of 128×128 pixels, and some full videos of 128 frames. Prints JSON: loading the program, reading the
manifest and sharing the shots out, the checks of all stages, making each view's samples ready with the first of them,
the held-out videos that the calibration is fitted on (whose masks are read), microseconds to draw a window, and
kilobytes of memory for each shot.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from vidboot.config import RunConfig
from vidboot.data.datasets import Windows, held_out_windows
from vidboot.data.split import PARTS
from vidboot.settings import check_settings
from vidboot.training.run import check_run, run_split
from vidboot.training.stages import stages_of
from vidboot.training.view_stage import ViewStage

DRAWS = 20_000


def settings(manifest: str, run_dir: str) -> dict:
    """A small run with all stages."""
    network, train = {"channels": 8, "multipliers": [1, 2]}, {"steps": 6, "batch_size": 4, "warmup_steps": 2}
    return {
        "run_dir": run_dir,
        "data": {"manifest": manifest},
        "video": {"num_frames": 128, "height": 128, "width": 128, "overlap": 16},
        "clip": {"num_frames": 16, "overlap": 4, "network": network, "train": train},
        "low_res": [{"scale": 4, "network": network, "train": train}],
        "calibration": {"num_videos": 2},
        "residual": {"train": train},
    }


def memory() -> int:
    """What this process holds at present, kB (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def main() -> None:
    """Print the seconds."""
    last = time.process_time()
    seconds = {"program": last}

    def lap(name: str) -> None:
        """Keep the seconds since the last time."""
        nonlocal last
        now = time.process_time()
        seconds[name], last = now - last, now

    with tempfile.TemporaryDirectory() as folder:
        config = check_settings(RunConfig, settings(sys.argv[1], folder), "the bench")
        before = memory()
        split = run_split(config)
        kilobytes = (memory() - before) / sum(len(getattr(split, part)) for part in PARTS)
        lap("manifest and split")
        check_run(config, split)
        lap("checks")
        for stage in stages_of(config):
            if isinstance(stage, ViewStage):
                dataset = stage.dataset(split, 0, 4)
                assert dataset[0] is not None
                lap(f"first sample of {stage.name}")
        held_out_windows(split.validation, 128, 1, config.evaluation.num_videos, clean=True)
        lap("held-out videos of the calibration")
        windows, rng = Windows(split.train, 16, 1), np.random.default_rng(0)
        lap("table of windows")
        for _ in range(DRAWS):
            windows.draw(rng)
        lap("draws")
    draws = seconds.pop("draws")
    start = sum(seconds.values()) - seconds["program"]
    print(
        json.dumps(
            {**seconds, "all but the program": start, "µs a window": 1e6 * draws / DRAWS, "kB a shot": kilobytes}
        )
    )


if __name__ == "__main__":
    main()
