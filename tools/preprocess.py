"""Turn mixed footage into shots, masks and a manifest that training reads."""

import argparse
from pathlib import Path

from rich.console import Console

from data_prep.config import Preprocess
from data_prep.report import print_report
from data_prep.run import preprocess
from vidboot.errors import command
from vidboot.strict import load_settings


@command
def main() -> None:
    """Parse the arguments, run, print the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="video files, folders, or .txt lists of paths")
    parser.add_argument("--output", required=True, metavar="DIR", help="folder for shots, masks and manifest")
    parser.add_argument("--config", metavar="FILE", help="YAML settings; see configs/preprocess.yaml")
    arguments, rest = parser.parse_known_intermixed_args()
    if unknown := [item for item in rest if item.startswith("-")]:
        parser.error(f"unknown option {unknown[0]}")
    overrides = [item for item in arguments.inputs if "=" in item and not Path(item).exists()]
    inputs = [item for item in arguments.inputs if item not in overrides]
    if not inputs:
        parser.error("give at least one video file or folder")
    outcome = preprocess(inputs, arguments.output, load_settings(Preprocess, arguments.config, overrides))
    print_report(outcome, Console())


if __name__ == "__main__":
    main()
