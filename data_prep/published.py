"""An output folder at a URL: a run works in a folder of this machine, and sends what it has made there."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from data_prep.work.store import FILE_NAME as RECORDS
from vidboot.data.manifest import FILE_NAME as MANIFEST
from vidboot.data.manifest import named_files
from vidboot.data.remote import RemoteFolder, folder_of
from vidboot.data.urls import url_of
from vidboot.settings import home

REPORT = "report.html"
# Files that keep their names, in the order in which they are sent; and where is noted what was sent last.
_KEPT, _SENT = (REPORT, RECORDS, MANIFEST), ".sent"


@dataclass(frozen=True)
class Output:
    """Where a run writes: a folder of this machine, and the folder at a URL that gets a copy, if one is asked for."""

    folder: Path
    remote: RemoteFolder | None = None

    @classmethod
    def of(cls, given: str | Path) -> "Output":
        """The output that a user's text names. A folder at a URL always has the same folder in the cache."""
        if (url := url_of(given)) is None:
            return cls(home(Path(given)).resolve())
        remote = RemoteFolder(url)
        remote.check()
        return cls(folder_of(url, "outputs"), remote)

    @property
    def url(self) -> str | None:
        """The URL, if there is one."""
        return None if self.remote is None else self.remote.url

    def fetch(self) -> None:
        """Fetch what a run on another machine has left at the URL, unless there are records here."""
        if self.remote is None or (self.folder / RECORDS).exists():
            return
        there = self.remote.sizes()
        if RECORDS not in there or MANIFEST not in there:
            return
        self.remote.fetch(self.folder, [MANIFEST])
        wanted = [name for name in (*sorted(named_files(self.folder)), REPORT) if name in there]
        missing = [name for name in wanted if _size(self.folder / name) != there[name]]
        self.remote.fetch(self.folder, tqdm(missing, desc="fetching", unit="file", disable=not missing))
        # Last: with the records here, nothing is fetched again.
        self.remote.fetch(self.folder, [RECORDS])

    def publish(self) -> None:
        """Send what the URL lacks: shots and masks, then report and records, and the manifest when all is there."""
        if self.remote is None:
            return
        there = self.remote.sizes()
        made = [name for name in sorted(named_files(self.folder)) if _size(self.folder / name) != there.get(name)]
        # The names of shots and masks come from their content; these files keep theirs, whatever they hold.
        changed = list(self._changed(there))
        with tqdm(total=len(made) + len(changed), desc="sending", unit="file", disable=not made and not changed) as bar:
            for names in (made, changed[:-1], changed[-1:]):
                for count in self.remote.send(self.folder, names):
                    bar.update(count)
        (self.folder / _SENT).write_text(self._stamps())

    def _changed(self, there: dict[str, int]) -> Iterator[str]:
        sent = self.folder / _SENT
        same = sent.exists() and sent.read_text() == self._stamps()
        for name in _KEPT:
            if not same or there.get(name) != _size(self.folder / name):
                yield name

    def _stamps(self) -> str:
        """Sizes and times of change of the files that keep their names."""
        status = [(self.folder / name).stat() for name in _KEPT]
        return " ".join(f"{one.st_size} {one.st_mtime_ns}" for one in status)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
