"""The output folder of a run: one run at a time, its records, and what a run that was killed left behind."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from data_prep.last_run import forget_outcome
from data_prep.takeover import take_over
from data_prep.work.remote import COPY
from data_prep.work.store import Store, open_store
from vidboot.data.urls import url_of
from vidboot.errors import UserError
from vidboot.settings import home

_WHOLE = "whole"


def local_folder(output: str | Path) -> Path:
    """The absolute path of an output folder; raises `UserError` for a URL."""
    if (url := url_of(output)) is not None:
        raise UserError(f"{url} is no folder of this machine; --unused and --shards work on these alone")
    return home(Path(output)).resolve()


@contextmanager
def at_work(output: Path, prepare: Callable[[], None] = lambda: None) -> Iterator[Store]:
    """Lock `output` against other runs, and open its records; those of earlier versions are taken over.

    Before the records are opened, `prepare` is called.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        (output / ".lock").touch()
    except OSError as error:
        raise UserError(f"can't write to {output} ({error.strerror}); choose another --output") from None
    try:
        with FileLock(output / ".lock", timeout=0):
            for copy in output.glob(f"{COPY}*"):  # of a remote video, by a run that was killed
                copy.unlink(missing_ok=True)
            prepare()
            with open_store(output) as store:
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
