"""Files that are either whole or not there."""

import fcntl
import logging
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from nait_index.errors import NaitError

logger = logging.getLogger(__name__)

TEMPORARY = ".*.tmp"
"""Pattern of the names of files that are being written; what was killed while it wrote leaves one behind."""


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Write a file under a temporary name beside it and move it into place once all is on disk.

    Whatever goes wrong before that leaves the file as it was and no temporary one behind. Opened plainly and not by
    ``tempfile``, so that the file gets the mode that the user's umask asks for.

    :raises NaitError: the file cannot be written: folder missing, permission denied, disk full.
    """
    if not path.parent.is_dir():
        raise NaitError(f"{path}: not written, there is no folder {path.parent}; create it first")
    logger.debug("writing %s", path)
    temporary: Path | None = None
    try:
        temporary, opened = _temporary(path.parent)
        with opened as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            temporary.replace(path)
    except OSError as error:
        raise NaitError(f"{path}: not written: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def remove_abandoned(folder: Path) -> None:
    """Delete the temporary files in a folder whose writers were killed; those that somebody still writes stay."""
    for path in folder.glob(TEMPORARY):
        with suppress(OSError), path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


def _temporary(folder: Path) -> tuple[Path, BinaryIO]:
    """Make a temporary file, locked as long as it is open, so that :func:`remove_abandoned` leaves it alone."""
    while True:
        path = folder / f".{secrets.token_hex(8)}.tmp"
        file = path.open("xb")
        with suppress(OSError):  # where there are no such locks
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return path, file
        file.close()  # taken for abandoned before it was locked
