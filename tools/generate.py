"""Sample a video of any length from a trained run, given whatever is known of it."""

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vidboot.errors import UserError, command

MOST_FRAMES = 10**9


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--run", required=True, type=Path, metavar="DIR", help="run folder that tools/train.py wrote")
    add("--frames", type=int, metavar="N", help="number of frames; may exceed the training length")
    add(
        "--output",
        required=True,
        type=Path,
        metavar="PATH",
        help="file to write: .mp4, .gif or .npy (float32 C T H W in [-1, 1]); without ending: a folder of PNG frames",
    )
    add("--seed", type=int, default=0, help="the same seed gives the same video (default: %(default)s)")
    add("--samples", type=int, default=1, metavar="K", help="K samples in a grid, of seeds SEED, SEED + 1, …")
    add(
        "--steps",
        type=int,
        help="sampler steps (default: 18; 2 for --repair alone, which is nearest to the truth, where more invent more)",
    )
    add("--sampler", choices=("heun", "dpm2m", "euler"), help="default: heun; dpm2m for --repair alone")
    add(
        "--churn",
        type=float,
        default=0.0,
        metavar="S",
        help="noise that the sampler heun adds before each step, the S_churn of EDM (default: 0)",
    )
    add("--fps", type=float, help="frames per second (default: that of a video given below, else of training)")
    add("--lossless", action="store_true", help="keep the RGB values exactly in the mp4")
    add("--stream", action="store_true", help="make the video chunk by chunk, in constant memory; resumes after a kill")
    add("--max-batch-frames", type=int, metavar="N", help="frames that a network denoises at once")
    add("--class", dest="class_name", metavar="NAME", help="one of the run's classes")
    add("--guidance", type=float, metavar="W", help="scale of the class's guidance (default: 1, none)")
    _add_known(parser.add_argument_group("what is known of the video").add_argument)
    return parser


def _add_known(add: Callable[..., Any]) -> None:
    """Add the options of what is known, and of how it is respected."""
    add("--init", type=Path, metavar="FILE", help="its first frames: a video, or an image")
    add("--low-res", type=Path, metavar="VIDEO", help="its low-resolution version")
    add("--repair", type=Path, metavar="SHOT", help="a damaged version, a shot that preprocessing stored with its mask")
    add(
        "--iterations",
        type=int,
        metavar="K",
        help="condition by K iterations of moment matching: more is nearer to the exact conditional law, and slower; 0 "
        "replaces it by the quick, biased range–null-space correction (default: the networks are told of known pixels, "
        "if they were trained with data.context; for what they can't be told, 3)",
    )
    add(
        "--repeats",
        type=int,
        default=1,
        metavar="K",
        help="take each step K times, with new noise (default: 1)",
    )
    add(
        "--draws",
        type=int,
        metavar="K",
        help="the mean of K draws, which is nearer to the truth if steps are few (default: 1; 8 for --repair alone)",
    )


def _check(arguments: argparse.Namespace) -> None:
    """Raises `UserError` for numbers out of range and options that don't go together."""
    for name, least in (
        ("frames", 1),
        ("steps", 1),
        ("samples", 1),
        ("repeats", 1),
        ("draws", 1),
        ("max_batch_frames", 1),
    ):
        value = getattr(arguments, name)
        if value is not None and value < least:
            raise UserError(f"--{name.replace('_', '-')} is at least {least}, got {value}")
    if arguments.iterations is not None and arguments.iterations < 0:
        raise UserError(f"--iterations is at least 0, got {arguments.iterations}")
    if arguments.frames is not None and arguments.frames > MOST_FRAMES:
        raise UserError(f"--frames is at most {MOST_FRAMES}, got {arguments.frames}")
    # PyTorch's generator on the CPU drops all higher bits.
    if arguments.seed < 0 or arguments.seed + arguments.samples > 2**32:
        raise UserError(f"seeds are 0 to 2^32 − 1, got {arguments.seed} and {arguments.samples - 1} more")
    if not 0 <= arguments.churn < math.inf:
        raise UserError(f"--churn is a number from 0 up, got {arguments.churn:g}")
    if arguments.churn and arguments.sampler not in (None, "heun"):
        raise UserError(f"--churn goes with --sampler heun only, not with {arguments.sampler}")
    known = arguments.init or arguments.low_res or arguments.repair
    if arguments.draws is not None and arguments.draws > 1 and (arguments.stream or not known):
        raise UserError("--draws takes a mean, so it goes with --init, --low-res or --repair, and not with --stream")
    if arguments.guidance is not None and not math.isfinite(arguments.guidance):
        raise UserError(f"--guidance is a finite number, got {arguments.guidance:g}")
    if arguments.guidance is not None and arguments.class_name is None:
        raise UserError("--guidance needs --class: it is the class that it guides towards")


def _drawn(arguments: argparse.Namespace) -> dict[str, Any]:
    """Steps, sampler and draws: as asked for, else the defaults, which are others for what is repaired and no more."""
    from vidboot.generation.sampling import PAINTING_OUT, Sampling
    from vidboot.model.run_folder import load_config

    told = load_config(arguments.run).data.context > 0
    others = (arguments.init, arguments.low_res, arguments.frames, arguments.iterations)
    repairs = told and arguments.repair is not None and all(one is None for one in others)
    repairs = repairs and not (arguments.stream or arguments.churn or arguments.repeats > 1 or arguments.samples > 1)
    default = PAINTING_OUT if repairs else Sampling()
    # More steps than the few are asked for to have a sample, not a mean.
    draws = default.draws if arguments.steps is None else 1
    return {
        "num_steps": arguments.steps or default.num_steps,
        "sampler": arguments.sampler or default.sampler,
        "draws": arguments.draws or draws,
    }


@command
def main() -> None:
    """Parse the arguments, sample, write the video and, beside it, what is needed to make it again."""
    arguments = _parser().parse_args()
    _check(arguments)

    from vidboot.generation.render import Request, render
    from vidboot.generation.sampling import Sampling
    from vidboot.generation.writers import check_fps

    if arguments.fps is not None:
        check_fps(arguments.output, arguments.fps)
    request = Request(
        run=arguments.run,
        output=arguments.output,
        frames=arguments.frames,
        seeds=tuple(range(arguments.seed, arguments.seed + arguments.samples)),
        sampling=Sampling(
            **_drawn(arguments),
            iterations=arguments.iterations,
            repeats=arguments.repeats,
            guidance=1.0 if arguments.guidance is None else arguments.guidance,
            churn=arguments.churn,
        ),
        fps=arguments.fps,
        streaming=arguments.stream,
        lossless=arguments.lossless,
        max_batch_frames=arguments.max_batch_frames,
        class_name=arguments.class_name,
        init=arguments.init,
        low_res=arguments.low_res,
        repair=arguments.repair,
    )
    try:
        record = render(request)
    except KeyboardInterrupt:
        if arguments.stream:
            raise
        raise KeyboardInterrupt("nothing of the video is kept; one made with --stream can go on") from None
    print(f"{arguments.output}: {record['frames']} frames at {record['fps']:g} fps")


if __name__ == "__main__":
    main()
