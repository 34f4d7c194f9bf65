"""What is known about each video: the tables of one SQLite file in the output folder.

Keys depend on content and settings, and records hold no path, so a file that was moved or renamed is not processed
again. Work that has a record is complete on disk.

One process writes: the run's own, which holds the folder's lock. Workers, on other machines too, get what they need
with their job and hand back what they found, so that no two machines ever have the file open. It has a rollback
journal, not a write-ahead log: that one needs memory that all who open the file share, which network file systems don't
have. A transaction holds all that has ended since the last one.
"""

import json
import sqlite3
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from vidboot.errors import UserError

Item = TypeVar("Item")

RECORD_VERSION = 15
FILE_NAME = "records.sqlite"
FILE_NAMES = (FILE_NAME, f"{FILE_NAME}-journal")
"""The store's own file, and the one beside it that SQLite keeps during a transaction."""

TABLES = (
    "hashes", "analyses", "briefs", "maps", "pooled", "encoded", "stored", "files", "masks", "pictures", "pages",
    "last", "named",
)  # fmt: skip
# Those that still say something when records have another version: what files hold, and which were written.
_LASTING = ("hashes", "encoded", "files")
# Keys asked for at a time, of the 32,766 that SQLite allows.
_CHUNK = 500
_LACKING = {
    sqlite3.SQLITE_FULL: "the disk is full: make room, and run the same command again",
    sqlite3.SQLITE_BUSY: "another program has them open: close it, and run the same command again",
    sqlite3.SQLITE_READONLY: "they can't be written: give the right to, or choose another --output",
    sqlite3.SQLITE_CANTOPEN: "they can't be opened: give the right to, or choose another --output",
    sqlite3.SQLITE_IOERR: "the disk fails: check it, and run the same command again",
}
"""What to do, by SQLite's code; any other error is taken for damage."""


def packed(record: Mapping[str, Any] | list) -> bytes:
    """JSON, compressed, with zlib's checksum."""
    return zlib.compress(json.dumps(record, separators=(",", ":"), sort_keys=True).encode())


def unpacked(data: bytes | None) -> Any:
    """What `packed` was given; None for what is missing or damaged."""
    try:
        return None if data is None else json.loads(zlib.decompress(data))
    except (zlib.error, ValueError):
        return None


def chunks(items: Iterable[Item], size: int = _CHUNK) -> Iterator[list[Item]]:
    """The items, in lists of at most `size`."""
    left = iter(items)
    while chunk := list(islice(left, size)):
        yield chunk


class Store:
    """Bytes by key, in the tables `TABLES`. Changes outside of `together` are transactions of their own."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @contextmanager
    def together(self) -> Iterator[None]:
        """One transaction: all changes in the block, or none if it ends with an error."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            # SQLite has rolled back itself, for example, where the disk is full.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def get(self, table: str, key: str) -> bytes | None:
        """The value of a key, or None."""
        row = self._connection.execute(f"SELECT value FROM {table} WHERE key = ?", (key,)).fetchone()
        return None if row is None else row[0]

    def get_many(self, table: str, keys: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """Key and value of those of the keys that are there, in no fixed order; to be used up before any change."""
        if len(keys) > _CHUNK and 2 * len(keys) > self._count(table):
            # A search for each key takes several times as long as going through all, and longer the more there are.
            wanted = set(keys)
            yield from (row for row in self.rows(table) if row[0] in wanted)
            return
        for some in chunks(keys):
            marks = ",".join("?" * len(some))
            yield from self._connection.execute(
                f"SELECT key, value FROM {table} WHERE key IN ({marks})", some
            ).fetchall()

    def _count(self, table: str) -> int:
        return self._connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]

    def keys(self, table: str) -> Iterator[str]:
        """All keys, ascending."""
        return (key for (key,) in self._connection.execute(f"SELECT key FROM {table} ORDER BY key"))

    def rows(self, table: str) -> Iterator[tuple[str, bytes]]:
        """Key and value of all, in no fixed order."""
        return self._connection.execute(f"SELECT key, value FROM {table}")

    def first(self, table: str, count: int) -> list[tuple[str, bytes]]:
        """Key and value of the first ones, keys ascending."""
        return self._connection.execute(f"SELECT key, value FROM {table} ORDER BY key LIMIT ?", (count,)).fetchall()

    def put(self, table: str, key: str, value: bytes) -> None:
        """Keep a value, in place of an earlier one."""
        self.put_many(table, [(key, value)])

    def put_many(self, table: str, rows: Iterable[tuple[str, bytes]]) -> None:
        """Keep values by key, in place of earlier ones."""
        self._for_each(f"INSERT OR REPLACE INTO {table} VALUES (?, ?)", rows)

    def add_many(self, table: str, rows: Iterable[tuple[str, bytes]]) -> None:
        """Keep values whose keys have none yet."""
        self._for_each(f"INSERT OR IGNORE INTO {table} VALUES (?, ?)", rows)

    def delete(self, table: str, keys: Iterable[str]) -> None:
        """Forget the values of these keys."""
        self._for_each(f"DELETE FROM {table} WHERE key = ?", ((key,) for key in keys))

    def clear(self, table: str) -> None:
        """Forget a whole table."""
        self._connection.execute(f"DELETE FROM {table}")

    def _for_each(self, statement: str, rows: Iterable[tuple]) -> None:
        # Outside of a transaction, each row would be one of its own, which waits for the disk.
        with nullcontext() if self._connection.in_transaction else self.together():
            self._connection.executemany(statement, rows)

    def tidy(self) -> None:
        """Give the room of what was deleted back to the disk, if it is more than half of the file."""
        (free,), (pages,) = (
            self._connection.execute(f"PRAGMA {n}").fetchone() for n in ("freelist_count", "page_count")
        )
        if free > pages // 2:
            self._connection.execute("VACUUM")


@contextmanager
def open_store(output: Path) -> Iterator[Store]:
    """The store of an output folder, made if it is missing. Raises `UserError` if it is damaged or can't be used."""
    file = output / FILE_NAME
    try:
        with closing(sqlite3.connect(file, isolation_level=None)) as connection:
            _make_tables(connection, file)
            yield Store(connection)
    except sqlite3.Error as error:
        # The lowest eight bits are the kind of error, the others its details.
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if code in _LACKING:
            raise UserError(f"the records in {file} can't be used ({error}); {_LACKING[code]}") from None
        raise UserError(
            f"the records in {file} are damaged ({error}); put a copy of yours in their place, or delete the file and "
            "run the same command again, which then works on all videos anew"
        ) from None


def _make_tables(connection: sqlite3.Connection, file: Path) -> None:
    """Make the tables that are missing; those of an earlier version are emptied, as no key is in use any longer."""
    connection.execute("PRAGMA journal_mode = DELETE")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == RECORD_VERSION:
        return
    if version > RECORD_VERSION:
        raise UserError(
            f"the records in {file} are of version {version}, this program reads {RECORD_VERSION}; choose another "
            "--output"
        )
    connection.execute("BEGIN IMMEDIATE")
    for table in TABLES:
        connection.execute(f"CREATE TABLE IF NOT EXISTS {table} (key TEXT PRIMARY KEY, value BLOB NOT NULL)")
        if table not in _LASTING:
            connection.execute(f"DELETE FROM {table}")
    connection.execute(f"PRAGMA user_version = {RECORD_VERSION}")
    connection.execute("COMMIT")
