"""One writer at a time on an index, and readers that a clean-up must not disturb."""

import errno
import fcntl
import os
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress

from nait_index.errors import IndexBusyError, StoreError
from nait_index.files import remove_abandoned
from nait_index.store.layout import Layout

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}


@contextmanager
def write_lock(layout: Layout) -> Iterator[None]:
    """Hold the index for writing. The system lets go of the lock when the process ends, however it ends.

    What writers that were killed have left half-written is deleted.

    :raises IndexBusyError: another process holds it. :raises StoreError: the folder may not be written.
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
        with suppress(OSError):  # who holds it is said for people; a full disk is told of by what follows
            file.truncate(0)
            file.write(f"process {os.getpid()}".encode())
        for folder in (layout.root, layout.scores, layout.engines, *layout.engines.glob("*")):
            remove_abandoned(folder)
        with nullcontext() if layout.remote is None else layout.remote.lock(), _room(layout):
            yield
        with suppress(OSError):
            file.truncate(0)


@contextmanager
def _room(layout: Layout) -> Iterator[None]:
    """Say where there was no room to write, which the system's own error does not."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        place = error.filename or layout.name
        raise StoreError(
            f"{place} cannot be written: {error.strerror}; what was committed is kept; mend that and run it again"
        ) from error


def hold_for_reading(layout: Layout, reader: object) -> Callable[[], object]:
    """Keep :func:`no_readers` from saying so as long as an object lives; of an index on this machine.

    :returns: ends it before.
    """
    if layout.remote is None:
        with suppress(OSError):  # in a folder that this user may not write, nor does he clean up
            file = os.open(layout.readers, os.O_RDONLY | os.O_CREAT, 0o666)
            fcntl.flock(file, fcntl.LOCK_SH)
            return weakref.finalize(reader, os.close, file)
    return lambda: None


@contextmanager
def no_readers(layout: Layout) -> Iterator[bool]:
    """Tell whether nobody has the index open, and let nobody open it meanwhile."""
    with layout.readers.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
