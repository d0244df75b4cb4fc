"""Tables on disk for what grows with the rows of a corpus, so that a process's memory does not.

They are SQLite databases without a name: what exceeds a few MiB goes into an unnamed file in the folder for temporary
files ($TMPDIR, else /var/tmp), which is gone with the process, however that ends. Small ones never leave memory.
"""

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from nait_index.errors import NaitError

_CACHE_KIB = 8192


def id_digest(sample_id: str) -> bytes:
    """Return the 16 bytes that stand for an id."""
    return hashlib.blake2b(sample_id.encode("utf-8", "surrogatepass"), digest_size=16).digest()


class Scratch:
    """One such database; close it when done.

    :param table: the SQL statement that creates its table.
    """

    def __init__(self, table: str) -> None:
        # Only one thread uses it at a time, but rows may be read in another one than this.
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        # Nothing is ever undone or read by others, so no journal is kept and nothing is flushed.
        for setting in (f"cache_size = -{_CACHE_KIB}", "journal_mode = OFF", "synchronous = OFF", "temp_store = FILE"):
            self._database.execute(f"PRAGMA {setting}")
        self._database.execute(table)
        self._database.execute("BEGIN")

    def change(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Run a statement, and return how many rows it changed."""
        try:
            return self._database.execute(statement, values).rowcount
        except sqlite3.Error as error:
            raise _explained(error) from error

    def change_all(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run a statement with each of some rows of values."""
        try:
            self._database.executemany(statement, rows)
        except sqlite3.Error as error:
            raise _explained(error) from error

    def first(self, query: str, values: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        """Return the first row of a query's result, if there is any."""
        return next(self.rows(query, values), None)

    def rows(self, query: str, values: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """Run a query, and yield the rows of its result."""
        try:
            yield from self._database.execute(query, values)
        except sqlite3.Error as error:
            raise _explained(error) from error

    def close(self) -> None:
        """Delete the database."""
        self._database.close()


def _explained(error: sqlite3.Error) -> NaitError:
    return NaitError(
        f"temporary files could not be written: {error}; make room in the folder for them, or set TMPDIR to another one"
    )
