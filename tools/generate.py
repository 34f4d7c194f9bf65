"""Sample a video of any length from a trained run."""

import argparse
import json
import os
from pathlib import Path

from vidboot.errors import UserError, command


@command
def main() -> None:
    """Parse the arguments, sample, write the video and, beside it, what is needed to make it again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", required=True, type=Path, metavar="DIR", help="run folder that tools/train.py wrote")
    parser.add_argument(
        "--frames", required=True, type=int, metavar="N", help="number of frames; may exceed the training length"
    )
    parser.add_argument("--output", required=True, type=Path, metavar="FILE.mp4", help="video to write")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same video (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=18, help="sampler steps (default: %(default)s)")
    parser.add_argument("--fps", type=float, help="frames per second (default: that of the training videos)")
    arguments = parser.parse_args()
    if arguments.frames < 1 or arguments.steps < 1:
        raise UserError("--frames and --steps are at least 1")
    if arguments.output.suffix != ".mp4":
        raise UserError(f"--output {arguments.output} must end in .mp4")

    folder = arguments.output.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"can't write to {folder}: {error.strerror}") from None
    if not os.access(folder, os.W_OK):
        raise UserError(f"can't write to {folder}: choose another --output")

    import torch
    from tqdm import tqdm

    import vidboot
    from vidboot.data.datasets import to_frames
    from vidboot.data.files import write_atomic
    from vidboot.data.video import write_video
    from vidboot.generation import generate

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = vidboot.load(arguments.run, device)
    fps = arguments.fps or model.fps
    with tqdm(total=arguments.steps, desc="sampling", unit="step") as bar:
        video = generate(model, arguments.frames, [arguments.seed], arguments.steps, lambda done: bar.update(1))[0]
    write_video(arguments.output, to_frames(video), fps)
    record = {
        "run": str(arguments.run),
        "weights": vidboot.weights_hash(arguments.run),
        "frames": arguments.frames,
        "seed": arguments.seed,
        "steps": arguments.steps,
        "sampler": "heun",
        "fps": fps,
        "vidboot": vidboot.__version__,
        "torch": torch.__version__,
        "device": device,
        "command": f"python tools/generate.py --run {arguments.run} --frames {arguments.frames} --seed {arguments.seed}"
        f" --steps {arguments.steps} --fps {fps:g} --output {arguments.output}",
    }
    write_atomic(arguments.output.with_suffix(".json"), (json.dumps(record, indent=2) + "\n").encode())
    print(f"{arguments.output}: {arguments.frames} frames of {video.shape[-2]}×{video.shape[-1]} at {fps:g} fps")


if __name__ == "__main__":
    main()
