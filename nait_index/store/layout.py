"""The paths of an index, and its small files.

An index is a folder, or a prefix in an object store together with a folder of this machine that serves it.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from nait_index.errors import NaitError, StoreError
from nait_index.files import TEMPORARY, atomic_write, hash_bytes
from nait_index.store.remote import Remote

_LONGEST_NAME = 255
"""Bytes of a file's name at most, on the usual file systems."""

_CONTROLS = {"\n": "a line break", "\r": "a carriage return", "\t": "a tab"}

_STORES = ("AWS_", "AZURE_", "GOOGLE_")
"""Prefixes of the environment variables that say where an object store is."""

_LONGEST_PATH = 3800
"""Bytes of an index's path at most: the system allows 4,096, and the files of an index have some hundred more."""


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
        _check_path(self.name)
        self.remote = Remote(self.name, storage or {}) if "://" in self.name else None
        #: Options with which LanceDB opens the database.
        self.storage = None if self.remote is None else self.remote.options
        if storage and self.remote is None:
            raise NaitError(f"--storage-option is for an object store such as s3://bucket/my.nait, not for {self.name}")
        self.root = Path(place) if self.remote is None else _cache_folder(self.name, storage or {})
        # LanceDB would take a tilde at the beginning for the home folder.
        folder = f"./{self.root}" if str(self.root).startswith("~") else str(self.root)
        base = folder if self.remote is None else self.name.rstrip("/")
        self.manifest = self.root / "manifest.json"
        self.seals = self.root / "seals.json"
        self.basis = self.root / "basis.safetensors"
        self.components = self.root / "components.safetensors"
        self.vocabulary = self.root / "vocabulary.safetensors"
        self.warmup = self.root / "warmup.safetensors"
        self.landmarks = self.root / "landmarks.safetensors"
        self.rejected = self.root / "rejected.jsonl"
        self.removed = self.root / "removed.bin"
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

    def pull(self, path: Path) -> None:
        """Update the local copy of a file in an object store."""
        if self.remote is not None:
            data = self.remote.get(self._key(path))
            if data is None:
                path.unlink(missing_ok=True)
            else:
                _write(path, data)

    def push(self, path: Path) -> None:
        """Update a file in an object store from the local copy."""
        if self.remote is not None:
            self.remote.put(self._key(path), path.read_bytes())

    def _key(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()


def _check_path(place: str) -> None:
    """Refuse a path or URI under which LanceDB cannot store tables.

    :raises NaitError: says what is wrong with it.
    """
    whole = place if "://" in place else os.path.abspath(place)
    wrong = next((char for char in whole if char < " " or char == "\x7f"), None)
    shown = f"{place[:200]}…" if len(place) > 200 else place
    if wrong is not None:
        kind = _CONTROLS.get(wrong, f"the control character {wrong!r}")
        where = "it" if wrong in place else f"the current folder, {whole!r},"
        raise NaitError(f"{shown!r}: no index can be here, because {where} has {kind} in its path; choose another path")
    try:
        size, longest = len(whole.encode()), max(len(name.encode()) for name in whole.split("/"))
    except UnicodeEncodeError:
        raise NaitError(
            f"{shown!r}: no index can be here, because its path is not UTF-8; choose another path"
        ) from None
    if size > _LONGEST_PATH or longest > _LONGEST_NAME:
        limit = f"a name of more than {_LONGEST_NAME}" if longest > _LONGEST_NAME else f"more than {_LONGEST_PATH:,}"
        raise NaitError(f"{shown!r}: no index can be here, because its path has {limit} bytes; choose a shorter one")


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        file.write(data)


def _cache_folder(uri: str, options: Mapping[str, str]) -> Path:
    """Return the folder that serves an index in an object store: another one for each store with such a bucket."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    set_here = {name.lower(): value for name, value in os.environ.items() if name.startswith(_STORES)}
    settings = (set_here | {name.lower(): value for name, value in options.items()}).items()
    stores = {value for name, value in settings if "endpoint" in name or "account_name" in name}
    return base / "nait-index" / hash_bytes(" ".join([uri.rstrip("/"), *sorted(stores)]).encode())


def refuse_other_contents(layout: Layout) -> None:
    """Refuse a folder with other contents than an index, so that a build never mixes its files with them.

    :raises StoreError: it has some, or is a file.
    """
    root = layout.root
    if layout.remote is not None:
        others = [] if layout.read(layout.manifest) is not None else layout.remote.others()
    elif root.exists() and not root.is_dir():
        raise StoreError(f"{root} is a file, but an index is a folder; choose another name")
    elif root.is_dir() and not layout.manifest.is_file():
        ours = {layout.lock, layout.readers, layout.staging, *root.glob(TEMPORARY)}
        others = sorted(path.name for path in root.iterdir() if path not in ours)
    else:
        others = []
    if others:
        raise StoreError(f"{layout.name} is not an index and not empty (it holds {others[0]}); choose another folder")
