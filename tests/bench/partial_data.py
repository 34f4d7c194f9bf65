"""What partial data is worth: base and base + residual with more and fewer clips and low-res videos, and with half of
them subtitled: masked, thrown away, or as if they had been clean. Run by hand (twice at the same time is faster:
finished parts are kept):

python tests/bench/partial_data.py OUTPUT [key=value …]

The digits and the settings of `configs/learning_curve.yaml`, with 16 full videos; `key=value` changes settings. The
steps are the same for all, so only the data differs. A larger pile holds the smaller one's videos; whether subtitled
ones pay is asked of the same clean videos, with and without them, for several choices of all videos and seeds.
"""

import argparse
import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

from rich.table import Table

from vidboot.data.display import print_table
from vidboot.data.files import write_atomic
from vidboot.data.manifest import FILE_NAME, load_manifest, load_rows, write_manifest
from vidboot.distributed import init_distributed
from vidboot.experiments.learning_curve.curve import load_curve_settings, make_tasks
from vidboot.experiments.learning_curve.data import CurveData, load_data
from vidboot.experiments.learning_curve.rows import BASE, UNTUNED, WHOLE
from vidboot.experiments.learning_curve.tasks import Task, run_tasks
from vidboot.training.log import set_up_logging

CONFIG = Path(__file__).parents[2] / "configs" / "learning_curve.yaml"
COUNT = 16
FEW, MANY = 20, 200
METHODS, ROWS = ("views", "fixed", "bootstrapped"), (UNTUNED, BASE, WHOLE)


@dataclass(frozen=True)
class Pile:
    """Partial data: so many clips and low-res videos, of which the share `subtitled` is, and may be thrown away."""

    name: str
    clips: int
    low_res: int
    subtitled: float = 0.0
    thrown_away: bool = False
    seeds: int = 1

    def tasks(self, seed: int, output: Path, overrides: list[str]) -> list[Task]:
        """What is to be done for the rows."""
        folder = (
            output / f"{'kept' if self.thrown_away else 'all'}-{self.clips}-{self.low_res}-{self.subtitled}-s{seed}"
        )
        digits = [f"digits.{name}={getattr(self, name)}" for name in ("clips", "low_res", "subtitled")]
        settings = [f"output={folder}", f"counts=[{COUNT}]", "seeds=[1]", "samples=0", f"digits.seed={seed}"]
        # As in the rest of the curve: no training on anything but denoising whole videos.
        settings += [f"run.seed={seed}", "run.data.extra_masks=0"]
        config = load_curve_settings(CONFIG, [*settings, *digits, *overrides], quick=False)
        data = load_data(config)
        tasks = make_tasks(config, without_masked(data) if self.thrown_away else data)
        return [task for task in tasks if task.name.startswith(METHODS)]


TWICE = 2 * FEW
PILES = [
    Pile(f"{TWICE} clips, {TWICE} low-res; half subtitled, thrown away", TWICE, TWICE, 0.5, thrown_away=True, seeds=3),
    Pile(f"{TWICE} clips, {TWICE} low-res; half subtitled, masked", TWICE, TWICE, 0.5, seeds=3),
    Pile(f"{TWICE} clips, {TWICE} low-res; the same, all clean", TWICE, TWICE),
    Pile(f"{FEW} clips, {FEW} low-res", FEW, FEW),
    Pile(f"{MANY} clips, {FEW} low-res", MANY, FEW),
    Pile(f"{FEW} clips, {MANY} low-res", FEW, MANY),
    Pile(f"{MANY} clips, {MANY} low-res", MANY, MANY),
]


def without_masked(data: CurveData) -> CurveData:
    """The same data without its subtitled videos."""
    folder = data.manifest.with_name(f"kept-{data.manifest.name}")
    if not (folder / FILE_NAME).exists():
        shutil.copytree(data.manifest, folder, ignore=shutil.ignore_patterns(FILE_NAME), dirs_exist_ok=True)
        write_manifest(folder, [row for row in load_rows(data.manifest) if row.mask is None])
    kept = {shot.id for shot in load_manifest(folder)}
    return replace(data, manifest=folder, partial=tuple(shot for shot in data.partial if shot.id in kept))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    a = parser.parse_args()
    init_distributed()
    set_up_logging()
    tasks = {p.name: [p.tasks(seed, a.output, a.overrides) for seed in range(p.seeds)] for p in PILES}
    cells = a.output / "cells"
    run_tasks([task for seeds in tasks.values() for of_seed in seeds for task in of_seed], cells)
    shown = Table("partial data", *ROWS, title=f"Held-out error with {COUNT} full videos")
    errors = {}
    for name, seeds in tasks.items():
        found = [{k: v for t in of_seed for k, v in t.result(cells).get("rows", {}).items()} for of_seed in seeds]
        errors[name] = {row: [rows[row]["error"] for rows in found] for row in ROWS}
        shown.add_row(name, *(f"{mean(of_row):.4f}" for of_row in errors[name].values()))
    write_atomic(a.output / "partial_data.json", json.dumps(errors, indent=1, ensure_ascii=False).encode())
    print_table(shown)


if __name__ == "__main__":
    main()
