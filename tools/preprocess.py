"""Turn mixed footage into shots, masks and a manifest for training."""

import argparse
import signal
from pathlib import Path

from rich.console import Console

from data_prep.config import Preprocess
from data_prep.preview import preview
from data_prep.report.tables import print_report
from data_prep.run import preprocess
from data_prep.shards import write_shards
from data_prep.unused import unused
from data_prep.work.locations import is_url
from data_prep.work.scan import exists
from vidboot.errors import command
from vidboot.settings import load_settings


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("inputs", nargs="*", metavar="INPUT", help="video files, folders, URLs, or .txt lists of these")
    parser.add_argument("--output", required=True, metavar="DIR", help="folder, or URL, for shots, masks and manifest")
    parser.add_argument("--config", metavar="FILE", help="YAML settings; see configs/preprocess.yaml")
    parser.add_argument("--engine", choices=["local", "ray"], default="local", help="where the work is done")
    parser.add_argument("--preview", type=int, metavar="N", help="only draw what is found in N videos; store nothing")
    parser.add_argument(
        "--unused",
        choices=["list", "delete"],
        help="count, or delete, shots and masks that the manifest no longer names",
    )
    parser.add_argument("--shards", metavar="DIR", help="copy the shots of --output into large tars in DIR")
    parser.add_argument("--shard-megabytes", type=float, default=1000, metavar="N", help="about the size of such a tar")
    return parser


@command
def main() -> None:
    """Parse the arguments, run, print the report."""
    parser = _parser()
    arguments, rest = parser.parse_known_intermixed_args()
    if unknown := [item for item in rest if item.startswith("-")]:
        parser.error(f"unknown option {unknown[0]}")
    overrides = [item for item in arguments.inputs if "=" in item and not is_url(item) and not exists(Path(item))]
    inputs = [item for item in arguments.inputs if item not in overrides]
    if arguments.unused is not None or arguments.shards is not None:
        if arguments.inputs or arguments.preview is not None or (arguments.unused and arguments.shards):
            parser.error("--unused and --shards take neither videos nor settings: give one of them, and --output")
        print(_shards(arguments) if arguments.shards else _unused(arguments.output, arguments.unused == "delete"))
        return
    if not inputs:
        parser.error("give at least one video file or folder")
    settings = load_settings(Preprocess, arguments.config, overrides)
    # Schedulers send SIGTERM: handled like Ctrl-C, it ends the workers too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if arguments.preview is not None:
        if arguments.preview < 1 or arguments.engine != "local":
            parser.error("--preview is at least 1, and works on this machine alone (without --engine)")
        print(f"preview: {preview(inputs, arguments.output, settings, arguments.preview)}")
        return
    print_report(preprocess(inputs, arguments.output, settings, arguments.engine), Console())


def _unused(output: str, delete: bool) -> str:
    """What is in the folder that no manifest names, and what became of it."""
    found = unused(output, delete)
    said = f"{found.files} files, {found.bytes / 1e6:.1f} MB, that the manifest doesn't name"
    return f"deleted: {said}" if delete else f"{said}; --unused delete deletes them"


def _shards(arguments: argparse.Namespace) -> str:
    """Copy the shots into tars, and say what was made."""
    made = write_shards(arguments.output, arguments.shards, arguments.shard_megabytes)
    return f"{made.shots} shots in {made.tars} tars, {made.bytes / 1e6:.1f} MB: train with data.manifest={made.folder}"


if __name__ == "__main__":
    main()
