"""Evaluate a trained run, how many full videos the method saves, or its theory on Gaussian videos."""

import argparse
from collections.abc import Callable
from typing import Any

from vidboot.errors import command
from vidboot.evaluation.request import CurveRequest, RunRequest, TheoryRequest
from vidboot.options import add_options, read_options
from vidboot.settings import Strict


@command
def main() -> None:
    """Parse the arguments and run the chosen evaluation."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="WHAT")

    def add(name: str, text: str, schema: type[Strict], run: Callable[[Any], None]) -> None:
        one = commands.add_parser(name, help=text)
        add_options(one, schema)
        one.set_defaults(schema_=schema, run_=run)

    add("theory", "the method's claims on Gaussian videos, with a report", TheoryRequest, theory)
    add("run", "held-out error and generated videos of a trained run, with a report", RunRequest, report)
    add("learning-curve", "how many full videos the method saves, on any data", CurveRequest, curve)
    arguments = parser.parse_args()
    arguments.run_(read_options(arguments.schema_, arguments))


def theory(request: TheoryRequest) -> None:
    """Run every experiment and write the report."""
    # Imported here: a mistake in the arguments is reported at once, not after the seconds that importing torch takes.
    from vidboot.data.files import make_folder
    from vidboot.experiments.gaussian.report import run_experiments, write_report

    make_folder(request.output)
    print(f"report: {write_report(request.output, run_experiments(request.seed))}")


def report(request: RunRequest) -> None:
    """Measure a trained run and write its report."""
    from vidboot.evaluation.run_report import evaluate_run

    print(f"report: {evaluate_run(request)}")


def curve(request: CurveRequest) -> None:
    """Do what is not yet done of the curve, then write table, plot and JSON."""
    from vidboot.experiments.learning_curve.curve import learning_curve, load_curve_settings

    learning_curve(load_curve_settings(request.config, list(request.overrides), request.quick))


if __name__ == "__main__":
    main()
