"""Files that are either whole or not there."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from nait_index.errors import NaitError

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
    temporary = path.parent / f".{secrets.token_hex(8)}.tmp"
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise NaitError(f"{path}: not written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)
