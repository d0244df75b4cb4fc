"""One writer at a time on an index."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from nait_index.errors import IndexBusyError
from nait_index.store.layout import Layout


@contextmanager
def write_lock(layout: Layout) -> Iterator[None]:
    """Hold the index for writing. The system lets go of the lock when the process ends, however it ends.

    :raises IndexBusyError: another process holds it.
    """
    layout.root.mkdir(parents=True, exist_ok=True)
    with layout.lock.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise IndexBusyError(f"{layout.root} is being written by {holder}; wait until it is done") from None
        file.truncate(0)
        file.write(f"process {os.getpid()}")
        file.flush()
        yield
        file.truncate(0)
