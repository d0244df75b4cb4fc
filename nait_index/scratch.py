"""Tables and arrays on disk for what would fill a process's memory.

They are in unnamed files in the folder for temporary files ($TMPDIR, else /var/tmp), which are gone with the process,
however that ends. Tables are SQLite databases, of which small ones never leave memory.
"""

import errno
import hashlib
import math
import mmap
import os
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any

import numpy as np

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
            raise not_written(error) from error

    def change_all(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run a statement with each of some rows of values."""
        try:
            self._database.executemany(statement, rows)
        except sqlite3.Error as error:
            raise not_written(error) from error

    def first(self, query: str, values: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        """Return the first row of a query's result, if there is any."""
        return next(self.rows(query, values), None)

    def rows(self, query: str, values: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """Run a query, and yield the rows of its result."""
        try:
            yield from self._database.execute(query, values)
        except sqlite3.Error as error:
            raise not_written(error) from error

    def close(self) -> None:
        """Delete the database."""
        self._database.close()


def not_written(error: sqlite3.Error | OSError) -> NaitError:
    """Return the error about temporary files that could not be written."""
    reason = error.strerror if isinstance(error, OSError) else error
    return NaitError(
        f"temporary files could not be written: {reason}; make room in their folder, or set TMPDIR to another one"
    )


def scratch_array(shape: tuple[int, ...], dtype: "np.dtype[Any]") -> np.memmap:
    """Make an array of zeros, whose pages the system may write out and read again.

    :raises NaitError: there is no room for it.
    """
    try:
        with tempfile.TemporaryFile(dir=temporary_folder()) as file:
            file.truncate(math.prod(shape) * dtype.itemsize)
            allocate(file)
            return np.memmap(file, dtype, mode="r+", shape=shape)
    except OSError as error:
        raise not_written(error) from error


def temporary_folder() -> str | None:
    """Return the folder for what may be large, on a disk where there is one; ``None`` for Python's choice."""
    folder = os.environ.get("TMPDIR") or "/var/tmp"
    return folder if os.access(folder, os.W_OK | os.X_OK) else None


def allocate(file: IO[bytes]) -> None:
    """Allocate the blocks of a file now: touching a mapped page without one would end this process with SIGBUS.

    :raises OSError: there is no room for them.
    """
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise  # other errors: the file system cannot do it


def release_pages(array: np.ndarray) -> None:
    """Remove the pages of a mapped file from this process's memory; the system's cache keeps their contents."""
    pages: mmap.mmap | None = getattr(array, "_mmap", None)
    if pages is not None and hasattr(mmap, "MADV_DONTNEED"):
        pages.madvise(mmap.MADV_DONTNEED)
