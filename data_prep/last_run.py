"""The outcome of the last run, kept so that a run that finds nothing new has nothing to make."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from data_prep.config import Preprocess
from data_prep.inputs import Inputs
from data_prep.report.outcome import Outcome, ViewTotal
from data_prep.storing import whole
from data_prep.text.model import model_for
from data_prep.work.locations import location
from data_prep.work.scan import Remark, SetAside
from data_prep.work.store import RECORD_VERSION, Store, packed, unpacked
from vidboot.data.manifest import FILE_NAME

_PAGE, _OUTCOME = "report.html", "outcome"


def state_of(inputs: Inputs, settings: Preprocess) -> str:
    """A hash of all that a run's results depend on: files, their contents and labels, settings, this program."""
    values: list[Any] = [version("vidboot"), RECORD_VERSION, settings.digest(model_for(settings.text) is not None)]
    values += [settings.drop_near_duplicates, [mask.digest() for mask in settings.masks]]
    values += [[item.what, item.reason] for item in inputs.set_aside]
    state = hashlib.sha256(json.dumps(values).encode())
    for content, group in inputs.by_content.items():
        for source in group:
            state.update(f"{content} {source.path}\0{source.label}\n".encode())
    return state.hexdigest()


def last_outcome(store: Store, output: Path, state: str) -> Outcome | None:
    """The outcome of the last run if another one would have the same, and all its files are there as it left them."""
    kept = unpacked(store.get("last", _OUTCOME))
    if kept is None or kept["state"] != state or kept["stamps"] != _stamps(output):
        return None
    named = list(store.keys("named"))
    if sum(1 for _ in whole(store, named, output)) < len(named):
        return None
    values = kept["outcome"]
    values["totals"] = [ViewTotal(**total) for total in values["totals"]]
    values["set_aside"] = [SetAside(*item) for item in values["set_aside"]]
    values["remarks"] = [
        Remark(location(path), text, frames and tuple(frames)) for path, text, frames in values["remarks"]
    ]
    return Outcome(output, output / _PAGE, new=0, **values)


def keep_outcome(store: Store, outcome: Outcome, state: str, named: Iterable[str]) -> None:
    """Keep the outcome of a run; `named` are the keys of the videos in its manifest."""
    remarks = [(str(one.path), one.text, one.frames) for one in outcome.remarks]
    values = {
        "set_aside": [(item.what, item.reason) for item in outcome.set_aside],
        # What has left the manifest is told once.
        "remarks": [one for one in remarks if one[0] != str(outcome.root / FILE_NAME)],
        "totals": [asdict(total) for total in outcome.totals],
        "videos": outcome.videos,
        "shots": outcome.shots,
        "frames": outcome.frames,
        "seconds": outcome.seconds,
    }
    with store.together():
        store.clear("named")
        store.put_many("named", ((key, b"") for key in sorted(named)))  # in the order of the table
        store.put("last", _OUTCOME, packed({"state": state, "stamps": _stamps(outcome.root), "outcome": values}))


def forget_outcome(store: Store) -> None:
    """Forget the last outcome, before a run that may have another one changes anything."""
    store.delete("last", [_OUTCOME])


def _stamps(output: Path) -> list[list[int]]:
    """Size and modification time of the manifest and the report; no numbers for one that is missing."""
    stamps: list[list[int]] = []
    for name in (FILE_NAME, _PAGE):
        try:
            status = (output / name).stat()
        except OSError:
            stamps.append([])
        else:
            stamps.append([status.st_size, status.st_mtime_ns])
    return stamps
