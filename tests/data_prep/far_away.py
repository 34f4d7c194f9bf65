"""A file system for tests that is neither this machine's nor on a network, and does as it is told."""

import errno

import fsspec
from fsspec.implementations.memory import MemoryFileSystem


class FarAway(MemoryFileSystem):
    """Files in memory at far://…; says about them what `says` holds by name, and notes which are fetched."""

    protocol = "far"
    store: dict = {}
    pseudo_dirs = [""]
    says: dict[str, dict] = {}
    fetched: list[str] = []
    breaks: dict[str, int] = {}
    """Bytes after which the connection breaks, by name."""
    sent: list[str] = []
    """Files that were written, in order."""
    full: list[bool] = []
    """Not empty if this machine's disk has no room for a copy."""

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.replace("far://", "memory://"))

    def info(self, path, **kwargs):
        about = super().info(path, **kwargs)
        about.pop("created", None)
        return about | self.says.get(about["name"], {})

    def find(self, path, maxdepth=None, withdirs=False, detail=False, **kwargs):
        names = super().find(path, maxdepth, withdirs, **kwargs)
        return {name: self.info(name) for name in names} if detail else names

    def put_file(self, lpath, rpath, **kwargs):
        name = self._strip_protocol(rpath)
        if name in self.breaks:
            raise ConnectionResetError(104, "Connection reset by peer")
        super().put_file(lpath, rpath, **kwargs)
        self.sent.append(name)

    def get_file(self, rpath, lpath, **kwargs):
        name = self._strip_protocol(rpath)
        self.fetched.append(name)
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        content = self.cat_file(name)
        with open(lpath, "wb") as file:  # noqa: PTH123 (as file systems do)
            file.write(content[: self.breaks.get(name)])
        if name in self.breaks:
            raise ConnectionResetError(104, "Connection reset by peer")


def begin() -> type[FarAway]:
    """The file system, empty."""
    fsspec.register_implementation("far", FarAway, clobber=True)
    for kept in (FarAway.store, FarAway.says, FarAway.fetched, FarAway.sent, FarAway.breaks, FarAway.full):
        kept.clear()
    FarAway.pseudo_dirs[:] = [""]
    return FarAway


def put(name: str, content: bytes, **says) -> None:
    """A file /`name`, and what is said of it."""
    FarAway().pipe_file(f"/{name}", content)
    FarAway.says[f"/{name}"] = says
