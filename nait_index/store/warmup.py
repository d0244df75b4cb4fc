"""The warmed-up adapters of an index with the view ``grad``: bytes in a file, which this package does not look into."""

import hashlib

from nait_index.errors import StoreError
from nait_index.files import atomic_write
from nait_index.store.layout import Layout


def save_warmup(layout: Layout, data: bytes) -> str:
    """Write it, whole or not at all, and give its hash (32 hex digits)."""
    with atomic_write(layout.warmup) as file:
        file.write(data)
    return _hash(data)


def load_warmup(layout: Layout, expected_hash: str | None) -> bytes:
    """Read it.

    :raises StoreError: it is missing or is not the one the index was built with.
    """
    if not layout.warmup.is_file():
        raise StoreError(f"{layout.warmup} is missing; build the index again")
    data = layout.warmup.read_bytes()
    if _hash(data) != expected_hash:
        raise StoreError(f"{layout.warmup} is damaged or of another index (its hash differs); build the index again")
    return data


def _hash(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
