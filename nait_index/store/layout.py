"""Where everything lies inside an index, and who may write there.

An index is a folder, or a prefix in an object store together with a folder of this machine that serves it.
"""

import errno
import fcntl
import os
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from nait_index.errors import IndexBusyError, NaitError, StoreError
from nait_index.files import atomic_write, hash_bytes, remove_abandoned
from nait_index.store.remote import Remote, is_remote

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}


class Layout:
    """Paths of one index.

    The database is the truth; ``engine`` can be made from it again; ``staging`` serves a running build. For an index in
    an object store, those two, and copies of its small files, lie in the user's cache folder.

    :param place: a folder, or a URI such as ``s3://bucket/my.nait``.
    :param storage: options of the object store, as ``key=value``; its usual environment variables apply too.
    :raises NaitError: no index can lie there.
    """

    def __init__(self, place: str | Path, storage: Mapping[str, str] | None = None) -> None:
        self.name = str(place)
        self.remote = Remote(self.name, storage or {}) if is_remote(self.name) else None
        if storage and self.remote is None:
            raise NaitError(f"--storage-option is for an object store such as s3://bucket/my.nait, not for {self.name}")
        self.root = Path(place) if self.remote is None else _cache_folder(self.name)
        base = str(self.root) if self.remote is None else self.name.rstrip("/")
        self.manifest = self.root / "manifest.json"
        self.seals = self.root / "seals.json"
        self.basis = self.root / "basis.safetensors"
        self.components = self.root / "components.safetensors"
        self.warmup = self.root / "warmup.safetensors"
        self.rejected = self.root / "rejected.jsonl"
        self.scores = self.root / "scores"
        self.staging = self.root / "staging"
        self.lock = self.root / ".lock"
        self.readers = self.root / ".readers"
        self.engines = self.root / "engine"
        self.database = f"{base}/lance"
        self.samples = f"{self.database}/samples.lance"
        self.capabilities = f"{self.database}/capabilities.lance"

    def engine(self, table_version: int) -> Path:
        """Return the folder of the scan copies of one version of the table."""
        return self.engines / str(table_version)

    def journal(self, score: str) -> Path:
        """Return the path of a score's journal."""
        return self.scores / f"{score}.jsonl"

    @property
    def storage(self) -> dict[str, str] | None:
        """Options with which LanceDB opens the database."""
        return None if self.remote is None else self.remote.options

    def refuse_links(self) -> None:
        """Refuse an index that holds symbolic links: somebody else's could make us write outside it.

        :raises StoreError: names the first link.
        """
        inner = () if self.remote is not None else (self.database, self.samples, self.capabilities)
        for folder in (self.root, self.engines, self.scores, *inner):
            with suppress(OSError), os.scandir(folder) as entries:
                links = sorted(entry.path for entry in entries if entry.is_symlink())
                if links:
                    raise StoreError(f"{links[0]} is a link, which an index must not hold; replace it by its target")

    # ---- small files, whole ---------------------------------------------------------------------------------------

    def read(self, path: Path) -> bytes | None:
        """Read a file of the index, ``None`` if there is none."""
        if self.remote is not None:
            return self.remote.get(self._key(path))
        return path.read_bytes() if path.is_file() else None

    def write(self, path: Path, data: bytes) -> None:
        """Write a file of the index, whole or not at all."""
        if self.remote is not None:
            self.remote.put(self._key(path), data)
        _write(path, data)

    def mirror(self, path: Path, data: bytes) -> None:
        """Write the local copy of a file in an object store."""
        if self.remote is not None:
            _write(path, data)

    def pull(self, path: Path) -> None:
        """Update the local copy of a file in an object store."""
        if self.remote is not None:
            data = self.remote.get(self._key(path))
            if data is None:
                path.unlink(missing_ok=True)
            else:
                self.mirror(path, data)

    def push(self, path: Path) -> None:
        """Update a file in an object store from the local copy."""
        if self.remote is not None:
            self.remote.put(self._key(path), path.read_bytes())

    def _key(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()


def _write(path: Path, data: bytes) -> None:
    if not path.parent.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        file.write(data)


def _cache_folder(uri: str) -> Path:
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "nait-index" / hash_bytes(uri.rstrip("/").encode())


# ---- one writer at a time -----------------------------------------------------------------------------------------


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
        for folder in (layout.root, layout.scores, layout.engines, *layout.engines.glob("*")):
            remove_abandoned(folder)
        with nullcontext() if layout.remote is None else layout.remote.lock(), _full_disk_named(layout):
            yield
        with suppress(OSError):
            file.truncate(0)


@contextmanager
def _full_disk_named(layout: Layout) -> Iterator[None]:
    """Name the file that could not be written for lack of space, which the system's error may not do."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        path = error.filename or layout.name
        raise StoreError(
            f"{path} cannot be written: {error.strerror}; what was committed is kept; fix that and run it again"
        ) from error


def hold_for_reading(layout: Layout, reader: object) -> Callable[[], object]:
    """Keep versions of an index on this machine from being deleted as long as an object lives.

    :returns: call it to end that earlier.
    """
    if layout.remote is None:
        with suppress(OSError):  # a user who cannot write to the folder cannot delete versions either
            file = os.open(layout.readers, os.O_RDONLY | os.O_CREAT, 0o666)
            fcntl.flock(file, fcntl.LOCK_SH)
            return weakref.finalize(reader, os.close, file)
    return lambda: None


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
