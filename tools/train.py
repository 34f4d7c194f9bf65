"""Train a run: the views, the calibration of their base, the residual. Run it again to continue where it stopped."""

import argparse
import os

from vidboot.errors import command


@command
def main() -> int:
    """Parse the arguments, check the configuration, train."""
    arguments = _parser().parse_intermixed_args()

    # Imported here: data workers import this file too, and don't need these modules.
    from vidboot.config import RunConfig
    from vidboot.settings import load_settings

    config = load_settings(RunConfig, arguments.config, arguments.overrides)
    if arguments.dry_run:
        from vidboot.training.machine import machine
        from vidboot.training.plan import print_plan

        if arguments.gpus is not None:
            os.environ["WORLD_SIZE"] = str(arguments.gpus)
        on = None if arguments.gpu is None else machine(arguments.gpu, arguments.share, arguments.price)
        return 0 if print_plan(config, arguments.stage, on) else 2
    from vidboot.training.run import train

    train(config, arguments.stage)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--config", required=True, metavar="FILE", help="YAML settings, for example configs/quickstart.yaml"
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="settings to change, for example clip.train.steps=50"
    )
    parser.add_argument("--stage", metavar="NAME", help="run this stage only")
    parser.add_argument("--dry-run", action="store_true", help="check everything, print the plan, start nothing")
    parser.add_argument("--gpu", metavar="NAME", help="with --dry-run: memory, hours and price on this GPU, e.g. h100")
    parser.add_argument("--gpus", metavar="N", type=int, help="with --dry-run: for N processes, a GPU each")
    parser.add_argument("--share", type=float, help="with --gpu: share of its speed that steps reach (by default 0.1)")
    parser.add_argument("--price", type=float, help="with --gpu: price of one for an hour")
    # The deepspeed launcher passes it; the rank itself comes from the environment.
    parser.add_argument("--local_rank", type=int, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    main()
