"""Errors that the user can correct, and how a command reports them: one message, no traceback."""

import errno
import functools
import os
import sys
from collections.abc import Callable
from contextlib import suppress

NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
"""Errors of the disk that all further work would get too."""


class UserError(Exception):
    """Something the user can correct. The message says what is wrong and what to do next."""


class UnreachableError(Exception):
    """What is far away can't be reached now. A command ends, and goes on when it is started again."""


def let_waiting_threads_sleep() -> None:
    """Make OpenMP's threads sleep after 3,000 spins, not 300,000, unless the user has set how they wait.

    libgomp reads it when torch is loaded. Beside another busy process on two cores, threads that spin take the time of
    those that work: generation and evaluation are a quarter faster without, at no cost on an idle machine
    (`tests/bench/bench_busy.py`).
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "3000")


# What PyTorch and safetensors say when a write fails, which they do not say more exactly.
_NOT_WRITTEN = ("No space left", "PytorchStreamWriter failed", "unexpected pos", "iostream error")

# And where memory has run out, on a CPU and on a GPU.
_NO_MEMORY = ("can't allocate memory", "CUDA out of memory")


def sentence_of(error: BaseException) -> str | None:
    """What the machine lacks, and what to do, in words; None for an error of another kind, perhaps of the program."""
    said = _own_words(error)
    again = "then run the same command again, which goes on from what is done"
    code = error.errno if isinstance(error, OSError) else None
    if isinstance(error, UnreachableError):
        return f"{said}: check the network and your credentials, {again}"
    if "shared memory(shm)" in said or ("DataLoader worker" in said and "Bus error" in said):
        way = "enlarge it (docker run --shm-size=8g) or set data.num_workers=0"
        return f"shared memory (/dev/shm) is too small: {way}, {again}"
    if code in (errno.ENOSPC, errno.EDQUOT) or any(words in said for words in _NOT_WRITTEN):
        return f"the disk is full ({said}): make room, {again}"
    if code in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"no right to read or write there ({said}): give it, or choose another folder"
    if isinstance(error, MemoryError) or code == errno.ENOMEM or any(words in said for words in _NO_MEMORY):
        return f"memory has run out: end other programs, or lower batch sizes and numbers of processes, {again}"
    if "DataLoader worker" in said and ("killed" in said or "exited" in said):
        way = "lower data.num_workers or data.memory_gb"
        return f"a decoding process was killed, perhaps because memory had run out: {way}, {again}"
    return None


def _own_words(error: BaseException) -> str:
    """What an error says; one of a decoding process comes with that process's traceback before it."""
    said = str(error).strip()
    return said.splitlines()[-1].partition(": ")[2] if "Original Traceback" in said else said


def _print_anything() -> None:
    """Let terminals that are not UTF-8 show other letters as escapes, instead of ending the program."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # a stream of a test or a notebook
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def command(main: Callable[..., int | None]) -> Callable[..., None]:
    """Turn `main` into a command: a `UserError`, or what `sentence_of` knows, is printed and exits with 2.

    Ctrl-C exits with 130.
    """

    let_waiting_threads_sleep()

    @functools.wraps(main)
    def run(*args: object, **kwargs: object) -> None:
        """Run `main` and end the process."""
        _print_anything()
        try:
            code = main(*args, **kwargs)
        except UserError as error:
            # All processes of a launcher find the same mistake; only the first reports it.
            if os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")) == "0":
                print(f"error: {error}", file=sys.stderr)
            code = 2
        except Exception as error:  # safetensors' and PyTorch's have no common kind
            # Perhaps only this process met it.
            if (said := sentence_of(error)) is None:
                raise
            print(f"error: {said}", file=sys.stderr)
            code = 2
        except KeyboardInterrupt as stop:
            # Most commands can go on from what is done; one that can't says so in the exception.
            print(f"stopped: {str(stop) or 'run the same command again to go on from what is done'}", file=sys.stderr)
            code = 130
        sys.exit(code or 0)

    return run
