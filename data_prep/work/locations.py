"""Where an input is: at a path of this machine, or at a URL of a remote file system."""

from dataclasses import dataclass, field
from pathlib import Path

from vidboot.data.urls import is_url
from vidboot.settings import home


@dataclass(frozen=True, slots=True)
class Remote:
    """A file or folder on a remote file system. It is told from others by its URL alone."""

    url: str
    size: int | None = field(default=None, compare=False)
    """Bytes, None if the file system doesn't say."""
    content: str | None = field(default=None, compare=False)
    """A hash that changes with its content, made from what the file system says; None if that is not enough."""
    kind: str | None = field(default=None, compare=False)
    """The name under which the file system says it."""

    def __str__(self) -> str:
        return self.url

    @property
    def name(self) -> str:
        """What follows the last slash."""
        return self.url.rstrip("/").rpartition("/")[2]

    @property
    def parent(self) -> "Remote":
        """The folder that it is in."""
        head = self.url.rstrip("/").rpartition("/")[0]
        return Remote(f"{head}/" if head.endswith(":/") else head)

    @property
    def suffix(self) -> str:
        """The ending of its name; of a web address without what follows a question mark."""
        name = self.name.partition("?")[0] if self.url.lower().startswith("http") else self.name
        return Path(name).suffix

    def joined(self, name: str) -> "Remote":
        """Something inside this folder."""
        return Remote(f"{self.url}{name}" if self.url.endswith("/") else f"{self.url}/{name}")


Location = Path | Remote


def location(text: str | Path) -> Location:
    """The location that a user's text, or a text of a record, names."""
    return Remote(text) if isinstance(text, str) and is_url(text) else home(Path(text))
