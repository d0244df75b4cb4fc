"""The fitted compressor of an index, as one safetensors file."""

import json

import numpy as np

from nait_index.signatures.pca import Basis, BasisName, Compressor
from nait_index.store.layout import Layout
from nait_index.store.sealed import read_sealed, write_sealed


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
    return write_sealed(layout.basis, save(arrays, metadata={"compressor": settings}))


def load_compressor(layout: Layout, expected_hash: str | None) -> Compressor:
    """Read it.

    :param expected_hash: what :func:`save_compressor` gave.
    :raises StoreError: the file is missing or is not the one the index was built with.
    """
    from safetensors.numpy import load

    data = read_sealed(layout.basis, expected_hash)
    arrays = load(data)
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    settings = json.loads(header["__metadata__"]["compressor"])
    bases = {
        BasisName(name): Basis(arrays[f"{name}.components"], arrays[f"{name}.variances"], scale)
        for name, scale in settings["scales"].items()
    }
    return Compressor(tuple(settings["widths"]), arrays["center"], bases)
