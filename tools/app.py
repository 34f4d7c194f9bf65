"""Show a trained run in the browser: generate, paint out what is burnt into a clip, look at the training."""

import argparse
import importlib.util
import signal

from vidboot.app.request import AppRequest
from vidboot.errors import UserError, command
from vidboot.options import add_options, read_options


@command
def main() -> None:
    """Parse the arguments and serve the pages until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_options(parser, AppRequest)
    request = read_options(AppRequest, parser.parse_args())
    if importlib.util.find_spec("gradio") is None:
        raise UserError("the app needs the extra: pip install 'vidboot[app]'")
    # Sent by whatever ends services: handled like Ctrl-C, it deletes what was dropped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)

    # Imported here: a mistake in the arguments is reported at once, not after the seconds that importing torch takes.
    from vidboot.app.server import serve

    try:
        serve(request)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("what was dropped and not downloaded is deleted") from None


if __name__ == "__main__":
    main()
