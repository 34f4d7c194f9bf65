"""What another busy process costs: training, generation and evaluation on an idle and on a busy machine. Run by hand,
on a machine with nothing else to do:

python tests/bench/bench_busy.py --run RUN --data DATA [--rounds 3]

RUN is a finished run of `tools/quickstart.sh`, DATA its preprocessed folder. Each command runs under three settings of
OpenMP: libgomp's own (300,000 spins before a waiting thread sleeps), this project's default (3,000), and
OMP_WAIT_POLICY=PASSIVE (none). Median over rounds, the settings in turns.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
SETTINGS = {
    "libgomp's own": {"GOMP_SPINCOUNT": "300000"},
    "default": {"GOMP_SPINCOUNT": "3000"},
    "passive": {"OMP_WAIT_POLICY": "PASSIVE"},
}
STEPS, FRAMES = 24, 32


@contextmanager
def another_process(busy: bool) -> Iterator[None]:
    """Keep one core busy, if asked to."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if busy else None
    try:
        yield
    finally:
        if process is not None:
            process.kill()
            process.wait()


def run(environment: dict[str, str], tool: str, *arguments: object) -> float:
    """Seconds of a command, with as many threads as there are cores."""
    clean = {k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    command = [sys.executable, str(ROOT / "tools" / f"{tool}.py"), *map(str, arguments)]
    start = time.perf_counter()
    subprocess.run(command, env=clean | environment, check=True, capture_output=True)
    return time.perf_counter() - start


def training(environment: dict[str, str], data: Path, work: Path) -> float:
    """Videos per second of the quickstart's clip stage, in its second half."""
    folder = Path(tempfile.mkdtemp(dir=work))
    settings = [
        f"run_dir={folder}",
        f"data.manifest={data}",
        f"clip.train.steps={STEPS}",
        "log.evaluate_every=1000",
        "log.log_every=4",
    ]
    run(environment, "train", "--config", ROOT / "configs" / "quickstart.yaml", "--stage", "clip", *settings)
    lines = [json.loads(line) for line in (folder / "clip" / "metrics.jsonl").read_text().splitlines()]
    speeds = [line["videos_per_second"] for line in lines if "videos_per_second" in line]
    return statistics.median(speeds[len(speeds) // 2 :])


def generation(environment: dict[str, str], run_dir: Path, work: Path) -> float:
    """Frames per second of a whole command, its start included."""
    output = work / "sample.mp4"
    options = ["--frames", FRAMES, "--steps", 4, "--output", output]
    return FRAMES / run(environment, "generate", "--run", run_dir, *options)


def evaluation(environment: dict[str, str], run_dir: Path, data: Path, work: Path) -> float:
    """Evaluations an hour: held-out error, and two generated videos of each kind."""
    options = ["--samples", 2, "--frames", 16, "--steps", 1, "--output", work / "evaluation"]
    return 3600 / run(environment, "evaluate", "run", "--run", run_dir, "--data", data, *options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", required=True, type=Path)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    a = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        parts = {
            "training, videos/s": lambda e: training(e, a.data.absolute(), work),
            "generation, frames/s": lambda e: generation(e, a.run.absolute(), work),
            "evaluations an hour": lambda e: evaluation(e, a.run.absolute(), a.data.absolute(), work),
        }
        print(f"{'':24}" + "".join(f"{f'{name}, {how}':>26}" for how in ("idle", "busy") for name in SETTINGS))
        for part, measure in parts.items():
            cells = []
            for busy in (False, True):
                with another_process(busy):
                    rounds = [[measure(e) for e in SETTINGS.values()] for _ in range(a.rounds)]
                cells += [statistics.median(of_setting) for of_setting in zip(*rounds, strict=True)]
            print(f"{part:24}" + "".join(f"{cell:26.1f}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
