"""The files of the tables and their hashes, so that a damaged one is found before anything is read from it.

Lance keeps no checksums of its data: a flipped bit in a signature would be a wrong score. Its files are never changed
once they are written, so each is hashed once, when a version is published (``seals.json``). Reading them all whenever
an index is opened would take longer than a search; a file that looks as it did when it was last checked, by size, times
and inode, is taken to be the same, as Git does. ``nait-index verify`` reads everything.

Object stores check what they hold themselves; there, only the small files are checked.
"""

import json
import logging
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from nait_index.errors import NaitError, StoreError
from nait_index.files import hash_file
from nait_index.store.dataset import files_of, open_dataset, version_file
from nait_index.store.layout import Layout
from nait_index.store.manifest import Manifest, Version
from nait_index.store.sealed import read_sealed, seal, unseal, write_sealed

logger = logging.getLogger(__name__)

_SETTLED = 1.0
"""A file that was written less than so many seconds before it was checked may have changed since unseen."""


def seal_files(layout: Layout, manifest: Manifest) -> None:
    """Hash the files of the tables that the manifest's last version reads and none before it did."""
    if layout.remote is not None or not manifest.history:
        return
    seals, rejected = _read_seals(layout) if layout.seals.is_file() else ({}, [])
    known = {name for name in seals if (layout.root / name).is_file()}
    new = {str(path.relative_to(layout.root)): path for path in _files(layout, manifest.head)}
    seals = {name: seals[name] for name in known} | {
        name: hash_file(path) for name, path in new.items() if name not in known
    }
    current = _hash_if_present(layout.rejected)
    _write_seals(layout, seals, [current] if current in rejected else rejected)


def seal_rejected(layout: Layout, new: Path) -> None:
    """Take down the hash of the list of rejected rows that is about to take the place of the present one.

    Both count until the next version is published, since it may not come to that.
    """
    if layout.remote is None:
        seals, _ = _read_seals(layout) if layout.seals.is_file() else ({}, [])
        _write_seals(layout, seals, [_hash_if_present(layout.rejected), hash_file(new)])


def check_rejected(layout: Layout) -> None:
    """Check the list of rejected rows.

    :raises StoreError: it is missing or damaged.
    """
    if layout.remote is not None or not layout.seals.is_file():
        return
    _, hashes = _read_seals(layout)
    found = _hash_if_present(layout.rejected)
    if hashes and found not in hashes:
        what = "is missing" if found is None else "is damaged (its hash differs)"
        raise StoreError(
            f"{layout.rejected} {what}; restore it from a copy, or remove it and run the next 'nait-index add', which "
            "begins it anew"
        )


def check_files(layout: Layout, version: Version, *, thorough: bool = False) -> int:
    """Check every file of the tables that a version is read from, and give how many there are.

    :param thorough: read all of them, however they look.
    :raises StoreError: one is missing or damaged.
    """
    if layout.remote is not None:
        return 0
    (seals, _), looks = _read_seals(layout), Looks(layout)
    # What the tables are made of comes first: nothing is parsed before it was checked.
    tables = list(_version_files(layout, version))
    for path in tables:
        _check(layout, path, seals, looks, thorough)
    files = _files(layout, version)
    for path in files:
        if path not in tables:
            _check(layout, path, seals, looks, thorough)
    looks.save()
    return len(files)


class Looks:
    """How files looked when their content was last checked. Kept beside the engines, which it is a cache like."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._path = layout.engines / "checked.json"
        self._known: dict[str, Any] = read_sealed(self._path) or {}
        self._changed = False

    def same(self, path: Path) -> bool:
        """Tell whether a file looks as it did."""
        return self._known.get(self._name(path)) == _look(path)

    def remember(self, path: Path) -> None:
        """Take down how a file looks whose content was just checked."""
        look = _look(path)
        if max(look[1], look[2]) < time.time_ns() - _SETTLED * 1e9:
            self._known[self._name(path)] = look
            self._changed = True

    def save(self) -> None:
        """Keep it for the next time, where the index may be written."""
        if self._changed:
            files = {name: own for name, own in self._known.items() if (self._layout.root / name).exists()}
            with suppress(NaitError, OSError):
                self._path.parent.mkdir(parents=True, exist_ok=True)
                write_sealed(self._path, files)

    def _name(self, path: Path) -> str:
        return str(path.relative_to(self._layout.root))


def _check(layout: Layout, path: Path, seals: Mapping[str, str], looks: Looks, thorough: bool) -> None:
    inside = path.is_relative_to(layout.root) and ".." not in path.parts
    expected = seals.get(str(path.relative_to(layout.root))) if inside else None
    remedy = "put a copy in its place, go back to an older version ('nait-index versions'), or build the index again"
    if expected is None or not path.is_file():
        what = "is not among the sealed files" if path.is_file() else "is missing"
        raise StoreError(f"{path} {what}; {remedy}")
    if not thorough and looks.same(path):
        return
    logger.debug("checking %s", path)
    if hash_file(path) != expected:
        raise StoreError(f"{path} is damaged (its hash differs); {remedy}")
    looks.remember(path)


def _version_files(layout: Layout, version: Version) -> Iterable[Path]:
    yield version_file(layout.samples, version.table_version)
    if version.capabilities_version:
        yield version_file(layout.capabilities, version.capabilities_version)


def _files(layout: Layout, version: Version) -> list[Path]:
    files = files_of(layout.samples, open_dataset(layout, layout.samples, version.table_version))
    if version.capabilities_version:
        own = open_dataset(layout, layout.capabilities, version.capabilities_version)
        files += files_of(layout.capabilities, own)
    return files


def _look(path: Path) -> list[int]:
    own = os.stat(path)
    return [own.st_size, own.st_mtime_ns, own.st_ctime_ns, own.st_ino]


def _hash_if_present(path: Path) -> str | None:
    return hash_file(path) if path.is_file() else None


def _write_seals(layout: Layout, files: Mapping[str, str], rejected: Sequence[str | None]) -> None:
    layout.write(layout.seals, json.dumps(seal({"files": files, "rejected": rejected}), indent=1).encode())


def _read_seals(layout: Layout) -> tuple[dict[str, str], list[str | None]]:
    """Read the hashes of the files of the tables, and those that the list of rejected rows may have."""
    try:
        record = unseal(json.loads(layout.seals.read_bytes()))
        return record["files"], record["rejected"]
    except (OSError, ValueError, KeyError) as error:
        raise StoreError(
            f"{layout.seals} is missing or damaged ({error}); restore it from a copy, or build the index again"
        ) from error
