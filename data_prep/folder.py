"""The output folder of a run: one run at a time, its records, and what a run that was killed left behind."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from data_prep.last_run import forget_outcome
from data_prep.takeover import take_over
from data_prep.work.store import Store, open_store
from vidboot.errors import UserError

_WHOLE = "whole"


@contextmanager
def at_work(output: Path) -> Iterator[Store]:
    """Lock `output` against other runs, and open its records; those of earlier versions are taken over."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        (output / ".lock").touch()
    except OSError as error:
        raise UserError(f"can't write to {output} ({error.strerror}); choose another --output") from None
    try:
        with FileLock(output / ".lock", timeout=0), open_store(output) as store:
            take_over(store, output)
            yield store
    except Timeout:
        raise UserError(f"another run is at work on {output}; wait for it or choose another --output") from None


@contextmanager
def changing(store: Store, output: Path) -> Iterator[None]:
    """A block that writes files. If the one before was killed, the partial files that it left are deleted."""
    if store.get("last", _WHOLE) is None:
        for partial in output.rglob(".partial-*"):
            partial.unlink(missing_ok=True)
    with store.together():
        forget_outcome(store)
        store.delete("last", [_WHOLE])
    yield
    store.put("last", _WHOLE, b"")
    store.tidy()
