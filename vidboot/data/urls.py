"""What is a URL and what a path, also where a URL was made a path, as settings do."""

import re
from pathlib import Path

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
# A path keeps one slash of a URL's two. One letter before the colon is no URL, but a drive.
_AS_PATH = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/(?=[^/])")


def is_url(text: str) -> bool:
    """Whether a text names something on a remote file system: `s3://…`, `https://…`."""
    return _URL.match(text) is not None


def url_of(place: str | Path) -> str | None:
    """The URL that a text, or a path made of one, names; None for a path of this machine."""
    text = str(place)
    if is_url(text):
        return text.rstrip("/")
    if (scheme := _AS_PATH.match(text)) is None:
        return None
    return f"{scheme[1]}:{'///' if scheme[1] == 'file' else '//'}{text[scheme.end() :]}"
