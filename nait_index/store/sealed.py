"""Files of an index that its manifest knows by their hash."""

import hashlib
from pathlib import Path

from nait_index.errors import StoreError
from nait_index.files import atomic_write


def write_sealed(path: Path, data: bytes) -> str:
    """Write a file, whole or not at all, and give its hash (32 hex digits)."""
    with atomic_write(path) as file:
        file.write(data)
    return _hash(data)


def read_sealed(path: Path, expected_hash: str | None) -> bytes:
    """Read a file.

    :param expected_hash: what :func:`write_sealed` gave; ``None``, which is no file's, where the manifest has none.
    :raises StoreError: it is missing or is not the one the index was built with.
    """
    if not path.is_file():
        raise StoreError(f"{path} is missing; build the index again")
    data = path.read_bytes()
    if _hash(data) != expected_hash:
        raise StoreError(f"{path} is damaged or of another index (its hash differs); build the index again")
    return data


def _hash(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
