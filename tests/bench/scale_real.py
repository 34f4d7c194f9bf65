"""Many small real videos, and what preprocessing them takes; for `bench_scale.py --real`."""

import os
import resource
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vidboot.data.manifest import load_manifest
from vidboot.data.video import write_video

ROOT = Path(__file__).parents[2]
# Videos of a folder.
FOLDER = 100


def real_videos(count: int, folder: Path) -> None:
    """Make so many small videos, preprocess them, and print what the command takes."""
    films, output = folder / "films", folder / "out"
    columns, rows = np.meshgrid(np.arange(64), np.arange(48))
    for number in range(count):
        path = films / f"{number // FOLDER:06}" / f"{number:08}.mp4"
        if path.exists():
            continue
        noise = np.random.default_rng(number).integers(0, 256, (6, 10, 3), dtype=np.uint8)
        frames = np.stack([noise[rows // 8, (columns + 2 * t) // 10 % 10] for t in range(16)])
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, frames, 24)
    given = [f"{name}={value}" for name, value in {"height": 32, "width": 32, "workers": 1, "finder": "rules"}.items()]
    command = [sys.executable, ROOT / "tools/preprocess.py", films, "--output", output, "text.detector=opencv", *given]
    print(f"\n{count} real videos")
    for name in ("new", "nothing new"):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        begun = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
        wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
        processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(
            f"  {name}: {processor:.1f} s ({1000 * processor / count:.3f} ms a video) of processor time, {wall:.0f} s"
        )
    print(f"  the largest of its processes: {after.ru_maxrss / 1024:.0f} MB")
    print(f"  {len(load_manifest(output))} shots in the manifest")
    print("\n".join(bytes_of(output, count)), flush=True)


def bytes_of(output: Path, count: int) -> Iterator[str]:
    """What the files take, in words."""
    sizes: dict[str, list[int]] = defaultdict(list)
    for path in output.rglob("*"):
        if path.is_file():
            sizes[path.relative_to(output).parts[0]].append(path.stat().st_size)
    for name, each in sizes.items():
        yield f"  {name}: {len(each) / count:.3f} files, {sum(each) / count:,.0f} bytes a video"
