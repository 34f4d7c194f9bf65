"""What partial data is worth: base and base + residual with more and fewer clips and low-res videos, and with half of
them subtitled, masked instead of thrown away. Run by hand (twice at the same time is faster: finished parts are kept):

python tests/bench/partial_data.py OUTPUT [key=value …]

The digits and the quick settings of `configs/learning_curve.yaml`, with 16 full videos; `key=value` changes settings.
The steps are the same for all, so only the data differs.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from rich.table import Table

from vidboot.data.files import write_atomic
from vidboot.display import print_table
from vidboot.evaluation.curve.curve import load_curve_settings, make_tasks
from vidboot.evaluation.curve.data import load_data
from vidboot.evaluation.curve.rows import BASE, UNTUNED, WHOLE
from vidboot.evaluation.curve.tasks import Task, run_tasks
from vidboot.training.distributed import init_distributed
from vidboot.training.log import set_up_logging

CONFIG = Path(__file__).parents[2] / "configs" / "learning_curve.yaml"
COUNT = 16
FEW, MANY = 20, 200
PILES = {
    f"{FEW} clips, {FEW} low-res": {"clips": FEW, "low_res": FEW},
    f"{MANY} clips, {FEW} low-res": {"clips": MANY, "low_res": FEW},
    f"{FEW} clips, {MANY} low-res": {"clips": FEW, "low_res": MANY},
    f"{MANY} clips, {MANY} low-res": {"clips": MANY, "low_res": MANY},
    # The first pile has as many as are clean of these: what is left if the subtitled half is thrown away.
    f"{2 * FEW} clips, {2 * FEW} low-res, half of them subtitled": {
        "clips": 2 * FEW,
        "low_res": 2 * FEW,
        "subtitled": 0.5,
    },
    f"{10 * MANY} clips, {10 * MANY} low-res": {"clips": 10 * MANY, "low_res": 10 * MANY},
}
METHODS, ROWS = ("views", "fixed", "bootstrapped"), (UNTUNED, BASE, WHOLE)


def tasks_of(pile: dict[str, Any], folder: Path, overrides: list[str]) -> list[Task]:
    """What is to be done for the rows, with one pile of partial data."""
    digits = [f"digits.{key}={value}" for key, value in pile.items()]
    settings = [f"output={folder}", f"counts=[{COUNT}]", "seeds=[1]", "samples=0", *digits, *overrides]
    config = load_curve_settings(CONFIG, settings, quick=True)
    return [task for task in make_tasks(config, load_data(config)) if task.name.startswith(METHODS)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    a = parser.parse_args()
    init_distributed()
    set_up_logging()
    tasks = {name: tasks_of(pile, a.output / f"pile-{n}", a.overrides) for n, (name, pile) in enumerate(PILES.items())}
    cells = a.output / "cells"
    run_tasks([task for of_pile in tasks.values() for task in of_pile], cells)
    shown = Table("partial data", *ROWS, title=f"Held-out error with {COUNT} full videos")
    errors = {}
    for name, of_pile in tasks.items():
        rows = {row: found for task in of_pile for row, found in task.result(cells).get("rows", {}).items()}
        errors[name] = {row: rows[row]["error"] for row in ROWS}
        shown.add_row(name, *(f"{error:.4f}" for error in errors[name].values()))
    write_atomic(a.output / "partial_data.json", json.dumps(errors, indent=1, ensure_ascii=False).encode())
    print_table(shown)


if __name__ == "__main__":
    main()
