"""Errors that the user can correct, and how a command reports them: one message, no traceback."""

import functools
import os
import sys
from collections.abc import Callable


class UserError(Exception):
    """Something the user can correct. The message says what is wrong and what to do next."""


def let_waiting_threads_sleep() -> None:
    """Make OpenMP's threads sleep after 3,000 spins, not 300,000, unless the user has set how they wait.

    libgomp reads it when torch is loaded. Beside another busy process on two cores, threads that spin take the time of
    those that work: generation and evaluation are a quarter faster without, at no cost on an idle machine
    (`tests/bench/bench_busy.py`).
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "3000")


def command(main: Callable[..., int | None]) -> Callable[..., None]:
    """Turn `main` into a command: a `UserError` is printed and exits with 2, Ctrl-C exits with 130."""

    let_waiting_threads_sleep()

    @functools.wraps(main)
    def run(*args: object, **kwargs: object) -> None:
        """Run `main` and end the process."""
        try:
            code = main(*args, **kwargs)
        except UserError as error:
            # All processes of a launcher find the same mistake; only the first reports it.
            if os.environ.get("RANK", "0") == "0":
                print(f"error: {error}", file=sys.stderr)
            code = 2
        except KeyboardInterrupt as stop:
            # Most commands can go on from what is done; one that can't says so in the exception.
            print(f"stopped: {str(stop) or 'run the same command again to go on from what is done'}", file=sys.stderr)
            code = 130
        sys.exit(code or 0)

    return run
