"""Errors that are the user's to mend, and how a command reports them: one message, no traceback."""

import functools
import os
import sys
from collections.abc import Callable


class UserError(Exception):
    """Something the user can mend. The message says what is wrong and what to do next."""


def command(main: Callable[..., int | None]) -> Callable[..., None]:
    """Turn `main` into a command: a `UserError` is printed and exits with 2, Ctrl-C exits with 130."""

    @functools.wraps(main)
    def run(*args: object, **kwargs: object) -> None:
        """`main`, and then the end of the process."""
        try:
            code = main(*args, **kwargs)
        except UserError as error:
            # Every process of a launcher finds the same mistake; the first one says it.
            if os.environ.get("RANK", "0") == "0":
                print(f"error: {error}", file=sys.stderr)
            code = 2
        except KeyboardInterrupt as stop:
            # Most commands keep what is done; one that doesn't says so in the exception.
            print(f"stopped: {str(stop) or 'run the same command again to go on from what is done'}", file=sys.stderr)
            code = 130
        sys.exit(code or 0)

    return run
