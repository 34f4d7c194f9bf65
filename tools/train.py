"""Train a run: the views, the calibration of their base, the residual. Run it again to continue where it stopped."""

import argparse

from vidboot.errors import command


@command
def main() -> int:
    """Parse the arguments, check the configuration, train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--config", required=True, metavar="FILE", help="YAML settings, for example configs/quickstart.yaml"
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="settings to change, for example clip.train.steps=50"
    )
    parser.add_argument("--stage", metavar="NAME", help="run this stage only")
    parser.add_argument("--dry-run", action="store_true", help="check everything, print the plan, start nothing")
    # The deepspeed launcher passes it; the rank itself comes from the environment.
    parser.add_argument("--local_rank", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_intermixed_args()

    # Imported here: data workers import this file too, and don't need these modules.
    from vidboot.config import RunConfig
    from vidboot.settings import load_settings

    config = load_settings(RunConfig, arguments.config, arguments.overrides)
    if arguments.dry_run:
        from vidboot.training.plan import print_plan

        return 0 if print_plan(config, arguments.stage) else 2
    from vidboot.training.run import train

    train(config, arguments.stage)
    return 0


if __name__ == "__main__":
    main()
