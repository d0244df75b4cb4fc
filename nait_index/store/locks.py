"""Locks: one process writes to an index at a time, and no version is deleted while somebody reads."""

import errno
import fcntl
import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress

from nait_index.errors import IndexBusyError, StoreError
from nait_index.files import remove_abandoned
from nait_index.store.layout import Layout

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}


@contextmanager
def write_lock(layout: Layout) -> Iterator[None]:
    """Hold the index for writing; the system releases the lock when the process ends, however it ends.

    Files that killed writers left half-written are deleted.

    :raises IndexBusyError: another process holds it. :raises StoreError: the folder cannot be written to.
    """
    layout.refuse_links()
    try:
        layout.root.mkdir(parents=True, exist_ok=True)
        file = layout.lock.open("a+b", buffering=0)
    except OSError as error:
        raise StoreError(f"{layout.root} cannot be written: {error.strerror or error}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().decode().strip() or "another process"
            raise IndexBusyError(f"{layout.name} is being written by {holder}; wait until it is done") from None
        with suppress(OSError):  # the holder's name is only for people; a full disk is reported by the next write
            file.truncate(0)
            file.write(f"process {os.getpid()}".encode())
        for folder in (
            layout.root,
            layout.scores,
            layout.engines,
            *layout.engines.glob("*"),
            *layout.engines.glob("*/*"),
        ):
            remove_abandoned(folder)
        try:
            with nullcontext() if layout.remote is None else layout.remote.lock():
                yield
        except OSError as error:
            # The system's error may not name the file that could not be written for lack of space.
            if error.errno not in _NO_ROOM:
                raise
            path = error.filename or layout.name
            raise StoreError(
                f"{path} cannot be written: {error.strerror}; what was committed is kept; fix that and run it again"
            ) from error
        with suppress(OSError):
            file.truncate(0)


class ReadingHold:
    """Keeps versions of an index on this machine from being deleted as long as anything refers to it."""

    def __init__(self, layout: Layout) -> None:
        if layout.remote is None:
            with suppress(OSError):  # a user who cannot write to the folder cannot delete versions either
                file = os.open(layout.readers, os.O_RDONLY | os.O_CREAT, 0o666)
                weakref.finalize(self, os.close, file)
                fcntl.flock(file, fcntl.LOCK_SH)


@contextmanager
def no_readers(layout: Layout) -> Iterator[bool]:
    """Yield whether nobody has the index open, and if so keep it from being opened meanwhile."""
    with layout.readers.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
