"""Measure a trained run, what the method saves in full videos, and its theory on Gaussian videos."""

import argparse
from pathlib import Path

from vidboot.errors import UserError, command


@command
def main() -> None:
    """Parse the arguments and run the chosen evaluation."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="WHAT")
    theory = commands.add_parser("theory", help="the method's claims on Gaussian videos, with a report")
    theory.add_argument("--output", required=True, type=Path, metavar="DIR", help="folder for the report")
    theory.add_argument("--seed", type=int, default=0, help="seed of the sampled videos (default: 0)")
    theory.set_defaults(run=run_theory)
    run = commands.add_parser("run", help="held-out error and generated videos of a trained run, with a report")
    add = run.add_argument
    add("--run", required=True, type=Path, metavar="DIR", dest="folder", help="run folder that tools/train.py wrote")
    add("--data", required=True, type=Path, metavar="MANIFEST", help="folder that tools/preprocess.py wrote")
    add("--output", type=Path, metavar="DIR", help="folder for the report (default: evaluation, in the run folder)")
    add("--baseline", type=Path, action="append", default=[], metavar="DIR", help="another run to measure beside it")
    words = "TorchScript network or r3d_18 weights for the Fréchet distance (default: a small one of the run's own)"
    add("--features", type=Path, metavar="FILE", help=words)
    words = "videos to generate of each kind, to stand beside as many real ones (default: %(default)s)"
    add("--samples", type=int, default=16, metavar="K", help=words)
    add("--frames", type=int, metavar="N", help="frames of each (default: the training length)")
    add("--steps", type=int, default=18, help="sampler steps (default: %(default)s)")
    add("--seed", type=int, default=0, help="seed of the first video (default: %(default)s)")
    run.set_defaults(run=run_run)
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
    from vidboot.data.files import make_folder
    from vidboot.experiments.gaussian.report import run_experiments, write_report

    make_folder(arguments.output)
    print(f"report: {write_report(arguments.output, run_experiments(arguments.seed))}")


def run_learning_curve(arguments: argparse.Namespace) -> None:
    """Do what is not done of the curve, then write table, plot and JSON."""
    from vidboot.experiments.learning_curve.curve import learning_curve, load_curve_settings

    learning_curve(load_curve_settings(arguments.config, arguments.overrides, arguments.quick))


def run_run(arguments: argparse.Namespace) -> None:
    """Measure a trained run and write its report."""
    for name, least in (("samples", 2), ("frames", 2), ("steps", 1)):
        value = getattr(arguments, name)
        if value is not None and value < least:
            raise UserError(f"--{name} is at least {least}, got {value}")

    from vidboot.evaluation.run_report import Request, evaluate_run

    request = Request(
        run=arguments.folder,
        manifest=arguments.data,
        output=arguments.output or arguments.folder / "evaluation",
        baselines=tuple(arguments.baseline),
        features=arguments.features,
        samples=arguments.samples,
        frames=arguments.frames,
        steps=arguments.steps,
        seed=arguments.seed,
    )
    print(f"report: {evaluate_run(request)}")


if __name__ == "__main__":
    main()
