"""Which ids were ever removed from an index, so that a repeated removal is told apart from a wrong id.

``removed.bin`` holds an 8-byte hash of every such id, and a hash of the file itself. It is written before the rows go,
so it may name rows that are still there; whoever asks looks for those first.
"""

import hashlib
from collections.abc import Iterable

import numpy as np

from nait_index.errors import StoreError
from nait_index.files import hash_bytes
from nait_index.store.layout import Layout

_SEAL_BYTES = 16


def note_removed(layout: Layout, ids: Iterable[str]) -> None:
    """Record that rows with these ids are about to be removed."""
    data = np.union1d(_read(layout), _hashes(ids)).tobytes()
    layout.write(layout.removed, data + bytes.fromhex(hash_bytes(data)))


def removed_before(layout: Layout, ids: Iterable[str]) -> set[str]:
    """Return those of some ids whose rows were removed once."""
    asked = list(ids)
    return {sample_id for sample_id, known in zip(asked, np.isin(_hashes(asked), _read(layout)), strict=True) if known}


def _hashes(ids: Iterable[str]) -> np.ndarray:
    digests = (hashlib.blake2b(sample_id.encode("utf-8", "surrogatepass"), digest_size=8).digest() for sample_id in ids)
    return np.frombuffer(b"".join(digests), dtype="<u8")


def _read(layout: Layout) -> np.ndarray:
    stored = layout.read(layout.removed) or b""
    data, seal = stored[:-_SEAL_BYTES], stored[-_SEAL_BYTES:]
    if stored and (seal.hex() != hash_bytes(data) or len(data) % 8):
        raise StoreError(
            f"{layout.removed} is damaged (its hash differs); restore it from a copy, or delete it: it only tells rows "
            "that were removed before from wrong ids"
        )
    return np.frombuffer(data, dtype="<u8")
