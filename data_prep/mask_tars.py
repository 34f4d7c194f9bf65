"""Masks of many shots in one tar: a mask has some hundred bytes, and a file for each would be more than half of all.

Workers hand masks back, and the store keeps them until the run has stored all its videos. Then they go into
`masks/HASH.tar`, and the records of the shots name the places in it. A tar is never changed: a run that is killed in
between leaves masks in the store, or a tar that the next one makes again, and trainings go on reading older masks.
"""

import hashlib
import io
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from data_prep.work.store import Store, packed, unpacked
from vidboot.data.files import write_atomic
from vidboot.data.members import Member, places_of, write_tar

# Masks of a tar, all of which are in memory: 3 MB at the 700 bytes of a mask of the trailer.
_AT_ONCE = 5000

Places = dict[str, str]
"""Of masks by the name that a record gave them: `masks/HASH.tar#OFFSET+BYTES`."""


def keep_masks(store: Store, key: str, masks: Mapping[str, bytes]) -> None:
    """Keep the masks of the video whose record has this key until they are packed."""
    store.put_many("masks", ((f"{key} {name}", content) for name, content in masks.items()))


def pack_masks(store: Store, output: Path) -> None:
    """Move the masks that the store keeps into tars."""
    while rows := store.first("masks", _AT_ONCE):
        tar, places = _write(store, output, rows)
        with store.together():
            for key, found in places.items():
                _name_places(store, key, found, tar)
            store.delete("masks", (name for name, _ in rows))


def _write(store: Store, output: Path, rows: list[tuple[str, bytes]]) -> tuple[dict[str, int], dict[str, Places]]:
    """The tar's name and size, and by key of the video the places of its masks."""
    digest = hashlib.sha256()
    for name, content in rows:
        digest.update(f"{name} {len(content)} ".encode() + content)
    hashed, names = digest.hexdigest(), [name.split(" ", 1) for name, _ in rows]
    file, path = io.BytesIO(), f"masks/{hashed[:20]}.tar"
    write_tar(file, ((name.removeprefix("masks/"), row[1]) for (_, name), row in zip(names, rows, strict=True)))
    tar = {path: file.tell()}
    # Recorded first: if the run is killed now, `--unused` knows whose file it is.
    store.put("files", hashed, packed(tar))
    write_atomic(output / path, file.getvalue())
    found: dict[str, Places] = defaultdict(dict)
    for (key, name), place in zip(names, places_of(len(content) for _, content in rows), strict=True):
        found[key][name] = str(Member(path, *place))
    return tar, found


def _name_places(store: Store, key: str, places: Places, tar: dict[str, int]) -> None:
    """Let the records of a video name the places of its masks."""
    record, files = unpacked(store.get("stored", key)), unpacked(store.get("files", key))
    if record is None or files is None:  # damaged: the next run stores the video anew
        return
    for shot in record["shots"]:
        shot["mask"] = places.get(shot["mask"], shot["mask"])
    store.put("stored", key, packed(record))
    store.put("files", key, packed(files | tar))
