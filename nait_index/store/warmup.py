"""The warmed-up adapters of an index with the view ``grad``: bytes in a file, which this package does not look into."""

from nait_index.store.layout import Layout
from nait_index.store.sealed import read_sealed, write_sealed


def save_warmup(layout: Layout, data: bytes) -> str:
    """Write it, whole or not at all, and give its hash (32 hex digits)."""
    return write_sealed(layout, layout.warmup, data)


def load_warmup(layout: Layout, expected_hash: str | None) -> bytes:
    """Read it.

    :raises StoreError: it is missing or is not the one the index was built with.
    """
    return read_sealed(layout, layout.warmup, expected_hash)
