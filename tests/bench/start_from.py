"""Steps to the same held-out error, from nothing and from another domain's run. Run by hand, 20 minutes on a core:

python tests/bench/start_from.py --source FOOTAGE [--target FOOTAGE] --output DIR [--steps 1200] [--seeds 2]

A clip network is trained on the source (videos of any other domain; the published figures: robot arms), then others on
the target (the bundled trailer): from nothing in `--steps` steps, and from the first one (`clip.start_from`) in a share
of these. Each training has its own warm-up and its own fall of the learning rate to zero, so each ends as a training of
that length does. Reported is the EDM-weighted error on the target's held-out shots, and the smallest number of steps
from the source that reaches what nothing reached. A stopped run goes on where it was.
"""

import argparse
import json
from pathlib import Path
from statistics import mean

from data_prep.config import Preprocess
from data_prep.run import preprocess
from vidboot.config import RunConfig
from vidboot.data.manifest import FILE_NAME
from vidboot.method.denoising_error import edm_weighted
from vidboot.settings import check_settings, load_settings
from vidboot.training.run import train

TRAILER = Path(__file__).parents[1] / "data" / "big_buck_bunny_trailer.mp4"
HEIGHT, WIDTH, CLIP_FRAMES, FULL_FRAMES = 24, 40, 8, 24
SIGMAS = [0.1, 0.3, 1.0, 2.5, 6.0]
RATE = 3e-3
"""Learning rate of both ways: that of configs/quickstart.yaml, which has such a network."""
SHARES = (3, 6, 12)
"""The steps from nothing over these are the steps from the source."""


def prepare(videos: list[Path], folder: Path) -> Path:
    """Preprocess, unless it is done."""
    if not (folder / FILE_NAME).exists():
        size = [f"height={HEIGHT}", f"width={WIDTH}", f"views.clip_frames={CLIP_FRAMES}"]
        more = [f"views.full_frames={FULL_FRAMES}", "text.detector=opencv", "finder=rules", "workers=1"]
        preprocess([str(video) for video in videos], str(folder), load_settings(Preprocess, None, [*size, *more]))
    return folder


def config(folder: Path, data: Path, seed: int, steps: int, source: Path | None) -> RunConfig:
    """A run with a clip network only, measured at its end."""
    train_settings = {"steps": steps, "batch_size": 4, "learning_rate": RATE, "ema_decay": 0.99}
    return check_settings(
        RunConfig,
        {
            "run_dir": str(folder),
            "seed": seed,
            "data": {"manifest": str(data), "holdout": 0.35, "num_workers": 0},
            "video": {"num_frames": FULL_FRAMES, "height": HEIGHT, "width": WIDTH, "overlap": 8},
            "clip": {
                "num_frames": CLIP_FRAMES,
                "overlap": 4,
                "network": {"channels": 12, "multipliers": [1, 2, 4], "head_channels": 16},
                "train": train_settings | {"warmup_steps": min(50, steps // 4)},
                "start_from": None if source is None else str(source),
            },
            "residual": None,
            "calibration": None,
            "evaluation": {"sigmas": SIGMAS, "num_videos": 16},
            "log": {"log_every": 100, "evaluate_every": steps, "sample_every": 10**9, "checkpoint_every": 100},
        },
        name="bench",
    )


def error(run: RunConfig) -> float:
    """Train, unless it is done; the held-out error at the end."""
    train(run, "clip")
    lines = (run.run_dir / "clip" / "metrics.jsonl").read_text().splitlines()
    last = next(row for row in map(json.loads, reversed(lines)) if f"error@{SIGMAS[0]:g}" in row)
    return edm_weighted({sigma: last[f"error@{sigma:g}"] for sigma in SIGMAS}, run.noise.sigma_data)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", required=True, type=Path, nargs="+", help="videos or folders of another domain")
    parser.add_argument("--target", type=Path, nargs="+", default=[TRAILER], help="videos or folders")
    parser.add_argument("--output", required=True, type=Path)
    parser.add_argument("--steps", type=int, default=1200, help="from nothing")
    parser.add_argument("--source-steps", type=int, default=2400, help="of the run to start from")
    parser.add_argument("--seeds", type=int, default=2)
    a = parser.parse_args()
    other, target = prepare(a.source, a.output / "other"), prepare(a.target, a.output / "target")
    source = a.output / "source"
    print(f"source, {a.source_steps} steps: {error(config(source, other, 0, a.source_steps, None)):.5f}", flush=True)
    found: dict[int, float] = {}
    ways: dict[int, Path | None] = {a.steps: None} | {a.steps // share: source for share in SHARES}
    for steps, start in ways.items():
        way = "nothing" if start is None else "the source"
        runs = [a.output / f"{way.split()[-1]}-{steps}-{seed}" for seed in range(a.seeds)]
        errors = [error(config(run, target, seed, steps, start)) for seed, run in enumerate(runs)]
        found[steps] = mean(errors)
        each = " ".join(f"{one:.5f}" for one in errors)
        print(f"from {way}, {steps} steps: {found[steps]:.5f} ({each})", flush=True)
    reached = [steps for steps, one in found.items() if steps < a.steps and one <= found[a.steps]]
    said = f"{a.steps / min(reached):g} × fewer" if reached else f"not with {a.steps // min(SHARES)} or fewer"
    print(f"steps from the source to the error of {a.steps} from nothing: {said}")


if __name__ == "__main__":
    main()
