"""Hashes of the tables' files, so that a damaged one is detected before anything is read from it.

Lance keeps no checksums of its data: a flipped bit in a signature would be a wrong score. Its files never change once
written, so each is hashed once, when a version is published (``seals.json``). Reading all of them whenever an index is
opened would take longer than a search, so a file whose size, times and inode are those of its last check is assumed
unchanged, as Git does. ``nait-index verify`` reads everything.

Object stores check their data themselves; there, only the small files are checked.
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
"""Seconds after a write before a check is remembered: a later change could have the same times."""


def seal_files(layout: Layout, manifest: Manifest) -> None:
    """Hash the table files that the manifest's last version reads and no earlier one did."""
    if layout.remote is not None or not manifest.history:
        return
    seals, rejected = _read_seals(layout) if layout.seals.is_file() else ({}, [])
    files = {str(path.relative_to(layout.root)): path for path in _files(layout, manifest.head)}
    seals = {name: digest for name, digest in seals.items() if (layout.root / name).is_file()}
    seals |= {name: hash_file(path) for name, path in files.items() if name not in seals}
    current = _hash_if_present(layout.rejected)
    _write_seals(layout, seals, [current] if current in rejected else rejected)


def seal_rejected(layout: Layout, new: Path) -> None:
    """Record the hash of the list of rejected rows that is about to replace the present one.

    Both are accepted until the next version is published, which may never happen.
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
    digest = _hash_if_present(layout.rejected)
    if hashes and digest not in hashes:
        problem = "is missing" if digest is None else "is damaged (its hash differs)"
        raise StoreError(
            f"{layout.rejected} {problem}; restore it from a copy, or delete it: the next 'nait-index add' starts "
            "another"
        )


def check_files(layout: Layout, version: Version, *, thorough: bool = False, read: set[Path] | None = None) -> int:
    """Check every table file that a version is read from, and return how many there are.

    :param thorough: read all of them, even those that look unchanged.
    :param read: files that were read already, and need not be again; those that are read now are added.
    :raises StoreError: one is missing or damaged.
    """
    if layout.remote is not None:
        return 0
    (seals, _), looks = _read_seals(layout), Looks(layout)
    read = set() if read is None else read

    def check(paths: Iterable[Path]) -> None:
        for path in paths:
            if path not in read:
                _check(layout, path, seals, looks, thorough)
                read.add(path)

    # The tables' manifests first, so that nothing is parsed before it was checked.
    check(version_file(uri, table_version) for uri, table_version in _tables(layout, version).items())
    check(files := _files(layout, version))
    looks.save()
    return len(files)


class Looks:
    """How files looked when their content was last checked: a cache, stored beside the scan copies.

    :param engines: the folder of the scan copies, if they are not those of all rows.
    """

    def __init__(self, layout: Layout, engines: Path | None = None) -> None:
        self._layout = layout
        self._path = (engines or layout.engines) / "checked.json"
        self._known: dict[str, Any] = read_sealed(self._path) or {}
        self._changed = False

    def same(self, path: Path) -> bool:
        """Return whether a file looks as it did."""
        return self._known.get(self._name(path)) == _look(path)

    def remember(self, path: Path) -> None:
        """Record how a file looks whose content was just checked."""
        look = _look(path)
        if max(look[1], look[2]) < time.time_ns() - _SETTLED * 1e9:
            self._known[self._name(path)] = look
            self._changed = True

    def save(self) -> None:
        """Save the record, if the index can be written to."""
        if self._changed:
            files = {name: look for name, look in self._known.items() if (self._layout.root / name).exists()}
            with suppress(NaitError, OSError):
                self._path.parent.mkdir(parents=True, exist_ok=True)
                write_sealed(self._path, files)

    def _name(self, path: Path) -> str:
        return str(path.relative_to(self._layout.root))


def _check(layout: Layout, path: Path, seals: Mapping[str, str], looks: Looks, thorough: bool) -> None:
    name = path.relative_to(layout.root) if path.is_relative_to(layout.root) else None
    expected = None if name is None or ".." in name.parts else seals.get(str(name))
    remedy = "restore it from a copy, go back to an older version ('nait-index versions'), or build the index again"
    if expected is None or not path.is_file():
        problem = "has no recorded hash" if path.is_file() else "is missing"
        raise StoreError(f"{path} {problem}; {remedy}")
    if not thorough and looks.same(path):
        return
    logger.debug("checking %s", path)
    if hash_file(path) != expected:
        raise StoreError(f"{path} is damaged (its hash differs); {remedy}")
    looks.remember(path)


def _tables(layout: Layout, version: Version) -> dict[str, int]:
    """Return the URI of each table that a version of the index reads, with the table's version."""
    tables = {layout.samples: version.table_version, layout.capabilities: version.capabilities_version}
    return {uri: number for uri, number in tables.items() if number}


def _files(layout: Layout, version: Version) -> list[Path]:
    tables = _tables(layout, version).items()
    return [path for uri, number in tables for path in files_of(uri, open_dataset(layout, uri, number))]


def _look(path: Path) -> list[int]:
    status = os.stat(path)
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def _hash_if_present(path: Path) -> str | None:
    return hash_file(path) if path.is_file() else None


def _write_seals(layout: Layout, files: Mapping[str, str], rejected: Sequence[str | None]) -> None:
    layout.write(layout.seals, json.dumps(seal({"files": files, "rejected": rejected}), indent=1).encode())


def _read_seals(layout: Layout) -> tuple[dict[str, str], list[str | None]]:
    """Read the hashes of the table files, and those that the list of rejected rows may have."""
    try:
        record = unseal(json.loads(layout.seals.read_bytes()))
        return record["files"], record["rejected"]
    except (OSError, ValueError, KeyError) as error:
        raise StoreError(
            f"{layout.seals} is missing or damaged ({error}); restore it from a copy, or build the index again"
        ) from error
