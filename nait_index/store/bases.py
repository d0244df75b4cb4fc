"""The fitted compressor of an index, as two safetensors files.

``basis`` is small and read whenever an index is opened. ``components`` is as large as a model's layer and read when
something is projected: choosing by a stored capability seldom needs it. The first file holds the hash of the second.
"""

import json
from collections.abc import Iterator, Mapping

import numpy as np

from nait_index.signatures.features import Feature
from nait_index.signatures.pca import Basis, BasisName, Compressor
from nait_index.store.layout import Layout
from nait_index.store.sealed import read_sealed, write_sealed


def save_compressor(layout: Layout, compressor: Compressor) -> str:
    """Write it, each file whole or not at all, and give the hash of the first (32 hex digits)."""
    from safetensors.numpy import save

    large = {f"{name}.components": np.ascontiguousarray(own.components) for name, own in compressor.bases.items()}
    large |= {f"{name}.variances": own.variances for name, own in compressor.bases.items()}
    components = write_sealed(layout, layout.components, save(large)) if large else None
    small = {"center": compressor.center} | {f"steps.{feature}": own for feature, own in compressor.steps.items()}
    # One entry only: safetensors writes several in an order of its own, and the same basis must have the same hash.
    settings = {"widths": compressor.widths, "bases": list(compressor.bases), "components": components}
    return write_sealed(layout, layout.basis, save(small, metadata={"compressor": json.dumps(settings)}))


def load_compressor(layout: Layout, expected_hash: str | None) -> Compressor:
    """Read it; its components later, when they are first needed.

    :param expected_hash: what :func:`save_compressor` gave.
    :raises StoreError: a file is missing or is not the one the index was built with.
    """
    from safetensors.numpy import load

    data = read_sealed(layout, layout.basis, expected_hash)
    arrays = load(data)
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    settings = json.loads(header["__metadata__"]["compressor"])
    names = [BasisName(name) for name in settings["bases"]]
    steps = {feature: arrays[f"steps.{feature}"] for feature in Feature}
    bases = _StoredBases(layout, names, settings["components"])
    return Compressor(tuple(settings["widths"]), arrays["center"], bases, steps)


class _StoredBases(Mapping[BasisName, Basis]):
    """Bases that are read when one of them is first asked for."""

    def __init__(self, layout: Layout, names: list[BasisName], expected_hash: str | None) -> None:
        self._layout = layout
        self._names = names
        self._hash = expected_hash
        self._read: dict[BasisName, Basis] | None = None

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[BasisName]:
        return iter(self._names)

    def __getitem__(self, name: BasisName) -> Basis:
        from safetensors.numpy import load

        if self._read is None:
            arrays = load(read_sealed(self._layout, self._layout.components, self._hash))
            self._read = {own: Basis(arrays[f"{own}.components"], arrays[f"{own}.variances"]) for own in self._names}
        return self._read[name]
