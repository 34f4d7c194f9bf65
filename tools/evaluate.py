"""Measure what the method does: on Gaussian videos, where all is exact, and against the number of full videos."""

import argparse
from pathlib import Path

from vidboot.errors import command


@command
def main() -> None:
    """Parse the arguments and run the chosen evaluation."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="WHAT")
    theory = commands.add_parser("theory", help="the method's claims on Gaussian videos, with a report")
    theory.add_argument("--output", required=True, metavar="DIR", help="folder for the report")
    theory.add_argument("--seed", type=int, default=0, help="seed of the sampled videos (default: 0)")
    theory.set_defaults(run=run_theory)
    curve = commands.add_parser("learning-curve", help="how many full videos the method saves, on any data")
    curve.add_argument(
        "--config", required=True, type=Path, metavar="FILE", help="YAML settings, as configs/learning_curve.yaml"
    )
    curve.add_argument("--quick", action="store_true", help="apply the config's quick settings: a rough, early answer")
    curve.add_argument("overrides", nargs="*", metavar="key=value", help="settings to change, for example output=DIR")
    curve.set_defaults(run=run_learning_curve)
    arguments = parser.parse_args()
    arguments.run(arguments)


def run_theory(arguments: argparse.Namespace) -> None:
    """Run every experiment and write the report."""
    # Imported here so that a mistake in the arguments is reported at once, not after the seconds that torch takes.
    from vidboot.evaluation.theory_report import run_experiments, write_report

    print(f"report: {write_report(arguments.output, run_experiments(arguments.seed))}")


def run_learning_curve(arguments: argparse.Namespace) -> None:
    """Do what is not done of the curve, then write table, plot and JSON."""
    from vidboot.evaluation.curve.curve import learning_curve, load_curve_settings

    learning_curve(load_curve_settings(arguments.config, arguments.overrides, arguments.quick))


if __name__ == "__main__":
    main()
