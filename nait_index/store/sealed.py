"""Files of an index that its manifest knows by their hash."""

import hashlib
from pathlib import Path

from nait_index.errors import StoreError
from nait_index.store.layout import Layout


def write_sealed(layout: Layout, path: Path, data: bytes) -> str:
    """Write a file, whole or not at all, and give its hash (32 hex digits)."""
    layout.write(path, data)
    return hash_of(data)


def read_sealed(layout: Layout, path: Path, expected_hash: str | None) -> bytes:
    """Read a file.

    :param expected_hash: what :func:`write_sealed` gave; ``None``, which is no file's, where the manifest has none.
    :raises StoreError: it is missing or is not the one the index was built with.
    """
    if layout.remote is not None and path.is_file():
        data = path.read_bytes()
        if hash_of(data) == expected_hash:
            return data
    found = layout.read(path)
    if found is None:
        raise StoreError(f"{path} is missing; restore it from a copy, or build the index again")
    if hash_of(found) != expected_hash:
        raise StoreError(
            f"{path} is damaged or of another index (its hash differs); restore it from a copy, or build the index "
            "again"
        )
    layout.mirror(path, found)
    return found


def hash_of(data: bytes) -> str:
    """Give 32 hex digits that stand for some bytes."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def file_hash(path: Path) -> str:
    """Hash a file (32 hex digits), a block at a time."""
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
