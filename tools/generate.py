"""Sample a video of any length from a trained run, conditioned on what is known of it."""

import argparse

from vidboot.errors import command
from vidboot.generation.request import GenerateRequest
from vidboot.options import add_options, read_options


@command
def main() -> None:
    """Parse the arguments, sample, write the video and, beside it, a record of what is needed to make it again."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_options(parser, GenerateRequest)
    request = read_options(GenerateRequest, parser.parse_args())

    # Imported here: a mistake in the arguments is reported at once, not after the seconds that importing torch takes.
    from vidboot.generation.sending import render_and_send

    try:
        record = render_and_send(request)
    except KeyboardInterrupt:
        if request.stream:
            raise
        raise KeyboardInterrupt("nothing of the video is kept; one made with --stream can go on") from None
    print(f"{record['output']}: {record['frames']} frames at {record['fps']:g} fps")


if __name__ == "__main__":
    main()
