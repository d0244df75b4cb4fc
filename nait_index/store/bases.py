"""The fitted compressor of an index, as one safetensors file."""

import hashlib
import json

import numpy as np

from nait_index.errors import StoreError
from nait_index.files import atomic_write
from nait_index.signatures.pca import Basis, BasisName, Compressor
from nait_index.store.layout import Layout


def save_compressor(layout: Layout, compressor: Compressor) -> str:
    """Write it, whole or not at all, and give the hash of the file (32 hex digits)."""
    from safetensors.numpy import save

    arrays = {"center": compressor.center}
    for name, basis in compressor.bases.items():
        arrays[f"{name}.components"] = np.ascontiguousarray(basis.components)
        arrays[f"{name}.variances"] = basis.variances
    scales = {name: basis.scale for name, basis in compressor.bases.items()}
    # One entry only: safetensors writes several in an order of its own, and the same basis must have the same hash.
    settings = json.dumps({"widths": compressor.widths, "scales": scales})
    data = save(arrays, metadata={"compressor": settings})
    with atomic_write(layout.basis) as file:
        file.write(data)
    return _hash(data)


def load_compressor(layout: Layout, expected_hash: str | None = None) -> Compressor:
    """Read it.

    :param expected_hash: what :func:`save_compressor` gave, where it is known.
    :raises StoreError: the file is missing or is not the one the index was built with.
    """
    from safetensors.numpy import load

    if not layout.basis.is_file():
        raise StoreError(f"{layout.basis} is missing; build the index again")
    data = layout.basis.read_bytes()
    if expected_hash is not None and _hash(data) != expected_hash:
        raise StoreError(f"{layout.basis} is damaged or of another index (its hash differs); build the index again")
    arrays = load(data)
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    settings = json.loads(header["__metadata__"]["compressor"])
    bases = {
        BasisName(name): Basis(arrays[f"{name}.components"], arrays[f"{name}.variances"], scale)
        for name, scale in settings["scales"].items()
    }
    return Compressor(tuple(settings["widths"]), arrays["center"], bases)


def _hash(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
