"""Measure what the method does: `theory` checks it on Gaussian videos, where every error is exact."""

import argparse

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
    arguments = parser.parse_args()
    arguments.run(arguments)


def run_theory(arguments: argparse.Namespace) -> None:
    """Run every experiment and write the report."""
    # Imported here so that a mistake in the arguments is reported at once, not after the seconds that torch takes.
    from vidboot.evaluation.theory_report import run_experiments, write_report

    print(f"report: {write_report(arguments.output, run_experiments(arguments.seed))}")


if __name__ == "__main__":
    main()
