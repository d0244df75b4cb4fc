"""Files that appear whole or not at all, and hashes of their content."""

import fcntl
import filecmp
import hashlib
import logging
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from nait_index.errors import NaitError, OutputExistsError

logger = logging.getLogger(__name__)

TEMPORARY = ".*.tmp"
"""Pattern of the names of files that are being written; a killed writer leaves one behind."""

_TEMPORARY_NAME = r"\.[0-9a-f]{16}\.tmp"


def hash_bytes(data: bytes | memoryview) -> str:
    """Return the BLAKE2b hash of some bytes, as 32 hex digits."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def hash_file(path: Path) -> str:
    """Return the same hash of a file, read block by block."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def check_writable(path: Path, *, force: bool) -> None:
    """Refuse a file or folder that cannot be written, before any work is done for it.

    :raises OutputExistsError: it exists and ``force`` is false. :raises NaitError: its folder cannot be written to.
    """
    _check_folder(path)
    if not os.access(path.parent, os.W_OK):
        raise NaitError(f"{path}: not written, no permission to write to {path.parent}; choose another folder")
    check_absent(path, force=force)


def check_absent(path: Path, *, force: bool) -> None:
    """Refuse to overwrite what is not to be overwritten.

    :raises OutputExistsError: the path exists and ``force`` is false.
    """
    if os.path.lexists(path) and not force:
        raise OutputExistsError(f"{path} already exists; overwrite it with --force, or choose another name")


def _check_folder(path: Path) -> None:
    if not path.parent.is_dir():
        raise NaitError(f"{path}: not written, there is no folder {path.parent}; create it first")


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Write a file under a temporary name beside it, and move it into place once all of it is on disk.

    An error before that leaves the old file as it was and no temporary one. The file is not opened by ``tempfile``, so
    that its mode follows the user's umask.

    :raises NaitError: the file cannot be written: folder missing, permission denied, disk full.
    """
    _check_folder(path)
    logger.debug("writing %r", str(path))
    temporary: Path | None = None
    try:
        with explained(path):
            temporary, opened = _temporary(path.parent)
            with opened as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
                temporary.replace(path)
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


class Together:
    """Files and folders that appear together; see :func:`together`."""

    def __init__(self) -> None:
        self._written: dict[Path, Path] = {}  # final path -> temporary path
        self._obsolete: list[Path] = []
        self._locked = ExitStack()  # open until all is in place, so that nobody takes the files for abandoned ones

    @contextmanager
    def file(self, path: Path) -> Iterator[BinaryIO]:
        """Open a file for writing."""
        logger.info("writing %r", str(path))
        with explained(path):
            self._written[path], file = _temporary(path.parent)
            self._locked.callback(file.close)
            yield file
            file.flush()
            os.fsync(file.fileno())

    @contextmanager
    def folder(self, path: Path) -> Iterator[Path]:
        """Create a folder to be filled."""
        logger.info("writing the folder %r", str(path))
        with explained(path):
            self._written[path] = path.parent / f".{secrets.token_hex(8)}.tmp"
            self._written[path].mkdir()
            self._hold(self._written[path])
            yield self._written[path]

    def lock(self, folder: Path) -> None:
        """Wait until nobody else holds a folder, and hold it until all is in place: for a file there that is added to.

        :raises NaitError: there is no such folder.
        """
        with explained(folder):
            self._hold(folder)

    def _hold(self, folder: Path) -> None:
        opened = os.open(folder, os.O_RDONLY)
        self._locked.callback(os.close, opened)
        with suppress(OSError):  # the file system may have no locks
            fcntl.flock(opened, fcntl.LOCK_EX)

    def remove(self, path: Path) -> None:
        """Remove a file with the others' appearance, if it exists."""
        if os.path.lexists(path):
            self._obsolete.append(path)

    def leave_same(self, paths: Iterable[Path]) -> bool:
        """Leave alone what is at these paths already, if it is what would be written there.

        :returns: whether something was there, and all that is to be written is.
        :raises OutputExistsError: something else is there.
        """
        kept = 0
        for path in paths:
            if os.path.lexists(path):
                if path not in self._written or not _is_same(path, self._written[path]):
                    check_absent(path, force=False)
                _remove(self._written.pop(path))
                kept += 1
        for path in [path for path, temporary in self._written.items() if _is_same(path, temporary)]:
            _remove(self._written.pop(path))
        return kept > 0 and not self._written

    def place(self) -> None:
        """Move all into place; if one cannot be, restore what was there before."""
        moved: dict[Path, Path | None] = {}
        try:
            for path in (*self._written, *self._obsolete):
                with explained(path):
                    moved[path] = _set_aside(path, replaced=path in self._written)
                    if path in self._written:
                        self._written[path].replace(path)
        except BaseException:
            for path, old in moved.items():
                _remove(path)
                if old is not None:
                    old.rename(path)
            raise
        for old in moved.values():
            if old is not None:
                with suppress(OSError):
                    _remove(old)

    def discard(self) -> None:
        """Delete the temporary files and folders."""
        self._locked.close()
        for temporary in self._written.values():
            _remove(temporary)


@contextmanager
def together() -> Iterator[Together]:
    """Write several files and folders under temporary names, and move them into place if the block ends without error.

    An error leaves everything as it was before.

    :raises NaitError: one of them cannot be written.
    """
    batch = Together()
    try:
        yield batch
        batch.place()
    finally:
        batch.discard()


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn the errors of writing a path into one line.

    :raises NaitError: it cannot be written. An error that names a file elsewhere is reported as one of that file.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error.filename, str) and not _is_part_of(Path(error.filename), path):
            raise NaitError(f"{error.filename}: {error.strerror}") from error
        raise NaitError(f"{path}: not written: {error.strerror or error}") from error


def _is_part_of(named: Path, path: Path) -> bool:
    """Return whether a file that an error names is a path, its folder, or what is written there."""
    if named == path.parent or not named.is_relative_to(path.parent):
        return named == path.parent
    first = named.relative_to(path.parent).parts[0]
    return first == path.name or re.fullmatch(_TEMPORARY_NAME, first) is not None


def _set_aside(path: Path, *, replaced: bool) -> Path | None:
    """Keep what is at a path under another name; a file to be replaced stays at its path all the time."""
    if not os.path.lexists(path):
        return None
    # Not a name that is deleted as abandoned: if this process is killed now, it is all there is.
    old = path.parent / f".{secrets.token_hex(8)}.old"
    if replaced and path.is_file():
        with suppress(OSError):  # the file system may have no hard links
            os.link(path, old)
            return old
    path.rename(old)
    return old


def _is_same(path: Path, other: Path) -> bool:
    """Return whether two files, or folders, have the same content; a link is not what it leads to."""
    if path.is_symlink():
        return False
    if not path.is_dir() or not other.is_dir():
        return path.is_file() and other.is_file() and filecmp.cmp(path, other, shallow=False)
    names = sorted(entry.name for entry in path.iterdir())
    return names == sorted(entry.name for entry in other.iterdir()) and all(
        _is_same(path / name, other / name) for name in names
    )


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_abandoned(folder: Path) -> None:
    """Delete the temporary files and folders in a folder whose writers were killed, not those still being written."""
    for path in abandoned(folder):
        with suppress(OSError):
            opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(path)
            finally:
                os.close(opened)


def abandoned(folder: Path) -> list[Path]:
    """List the temporary files and folders in a folder, whether they are abandoned or still being written."""
    return [path for path in folder.glob(TEMPORARY) if re.fullmatch(_TEMPORARY_NAME, path.name)]


def _temporary(folder: Path) -> tuple[Path, BinaryIO]:
    """Create a temporary file, locked while it is open so that :func:`remove_abandoned` leaves it alone."""
    while True:
        path = folder / f".{secrets.token_hex(8)}.tmp"
        file = path.open("xb")
        with suppress(OSError):  # the file system may have no locks
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return path, file
        file.close()  # removed as abandoned before it was locked
