"""What was fitted when an index was built: files that the manifest identifies by their hash.

``basis.safetensors`` holds the small parts of the compressor and is read whenever an index is opened.
``components.safetensors`` is as large as a model's layer and read when something is projected, which selecting by a
stored capability seldom needs, and so is ``vocabulary.safetensors``, which the view ``words`` needs; the first file
holds the hashes of these. ``warmup.safetensors`` holds the adapters of the views of gradients, as bytes that this
module does not interpret, and ``landmarks.safetensors`` the gradients of the view ``landmarks``.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np

from nait_index.errors import NaitError, StoreError
from nait_index.files import atomic_write, hash_bytes, hash_file
from nait_index.signatures.features import Feature
from nait_index.signatures.pca import Basis, BasisName, Compressor
from nait_index.signatures.words import Vocabulary
from nait_index.store.layout import Layout


def save_compressor(layout: Layout, compressor: Compressor) -> str:
    """Write the compressor, each file whole or not at all, and return the hash of the first (32 hex digits)."""
    from safetensors.numpy import save

    large = {f"{name}.components": basis.components for name, basis in compressor.bases.items()}
    large |= {f"{name}.variances": basis.variances for name, basis in compressor.bases.items()}
    components = _save_large(layout, layout.components, large) if large else None
    small = {"center": compressor.center} | {f"steps.{feature}": steps for feature, steps in compressor.steps.items()}
    # A single entry: safetensors orders several arbitrarily, and the same basis must have the same hash.
    settings = {"widths": compressor.widths, "bases": list(compressor.bases), "components": components}
    if compressor.vocabulary is not None:
        settings["vocabulary"] = _save_vocabulary(layout, compressor.vocabulary())
    return save_fitted(layout, layout.basis, save(small, metadata={"compressor": json.dumps(settings)}))


def load_compressor(layout: Layout, expected_hash: str | None) -> Compressor:
    """Read the compressor; its components are read when they are first needed.

    :param expected_hash: what :func:`save_compressor` returned.
    :raises StoreError: a file is missing or is not the one the index was built with.
    """
    from safetensors.numpy import load

    data = load_fitted(layout, layout.basis, expected_hash)
    arrays = load(data)
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    settings = json.loads(header["__metadata__"]["compressor"])
    names = [BasisName(name) for name in settings["bases"]]
    steps = {feature: arrays[f"steps.{feature}"] for feature in Feature if f"steps.{feature}" in arrays}
    bases = _StoredBases(layout, names, settings["components"])
    words = settings.get("vocabulary")
    vocabulary = None if words is None else cache(partial(_load_vocabulary, layout, words))
    return Compressor(tuple(settings["widths"]), arrays["center"], bases, steps, vocabulary)


def _save_vocabulary(layout: Layout, vocabulary: Vocabulary) -> str:
    from safetensors.numpy import save

    terms = np.frombuffer("\n".join(vocabulary.terms).encode(), np.uint8)
    arrays = {"terms": terms, "rarity": vocabulary.rarity, "components": np.ascontiguousarray(vocabulary.components)}
    return save_fitted(layout, layout.vocabulary, save(arrays))


def _load_vocabulary(layout: Layout, expected_hash: str) -> Vocabulary:
    from safetensors.numpy import load

    arrays = load(load_fitted(layout, layout.vocabulary, expected_hash))
    terms = arrays["terms"].tobytes().decode()
    return Vocabulary(tuple(terms.split("\n")) if terms else (), arrays["rarity"], arrays["components"])


@dataclass(frozen=True, slots=True)
class Landmarks:
    """Gradients of a random sample of the corpus.

    :param ids: of their rows, some of which may have been removed or replaced since; :param contents: hashes of these.
    :param gradients: (m, width) float16, of unit length.
    """

    ids: tuple[str, ...]
    contents: tuple[str, ...]
    gradients: np.ndarray


def save_landmarks(layout: Layout, landmarks: Landmarks) -> str:
    """Write the landmarks, whole or not at all, and return their hash (32 hex digits)."""
    from safetensors.numpy import save

    rows = json.dumps([landmarks.ids, landmarks.contents]).encode()
    arrays = {"rows": np.frombuffer(rows, np.uint8), "gradients": np.ascontiguousarray(landmarks.gradients)}
    return save_fitted(layout, layout.landmarks, save(arrays))


def load_landmarks(layout: Layout, expected_hash: str | None) -> Landmarks:
    """Read the landmarks.

    :param expected_hash: what :func:`save_landmarks` returned.
    :raises StoreError: the file is missing or is not the one the index was built with.
    """
    from safetensors.numpy import load

    arrays = load(load_fitted(layout, layout.landmarks, expected_hash))
    if "rows" not in arrays:
        raise StoreError(f"{layout.landmarks} is of an earlier version; 'nait-index rebuild' takes the landmarks again")
    ids, contents = json.loads(arrays["rows"].tobytes())
    return Landmarks(tuple(ids), tuple(contents), arrays["gradients"])


class _StoredBases(Mapping[BasisName, Basis]):
    """Bases that are read when one of them is first used."""

    def __init__(self, layout: Layout, names: list[BasisName], expected_hash: str | None) -> None:
        self._layout = layout
        self._names = names
        self._hash = expected_hash
        self._loaded: dict[BasisName, Basis] | None = None

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[BasisName]:
        return iter(self._names)

    def __getitem__(self, name: BasisName) -> Basis:
        from safetensors.numpy import load_file

        if self._loaded is None:
            _check(self._layout, self._layout.components, self._hash)
            arrays = load_file(self._layout.components)
            self._loaded = {
                basis: Basis(arrays[f"{basis}.components"], arrays[f"{basis}.variances"]) for basis in self._names
            }
        return self._loaded[name]


def save_fitted(layout: Layout, path: Path, data: bytes) -> str:
    """Write a file, whole or not at all, and return its hash (32 hex digits)."""
    layout.write(path, data)
    return hash_bytes(data)


def _save_large(layout: Layout, path: Path, arrays: Mapping[str, np.ndarray]) -> str:
    """Write arrays to a file, whole or not at all, without a copy of them in memory, and return its hash."""
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    with atomic_write(path) as file:
        try:
            save_file(dict(arrays), file.name)
        except SafetensorError as error:
            raise NaitError(f"{path}: not written: {error}") from error
    layout.push(path)
    return hash_file(path)


def load_fitted(layout: Layout, path: Path, expected_hash: str | None) -> bytes:
    """Read a file that has an expected hash.

    :param expected_hash: as the manifest records it; ``None`` if it records none, which no file matches.
    :raises StoreError: it is missing or is not the one the index was built with.
    """
    _check(layout, path, expected_hash)
    return path.read_bytes()


def _check(layout: Layout, path: Path, expected_hash: str | None) -> None:
    """Check that a file is the one that has an expected hash; fetch it from an object store where it is not.

    :raises StoreError: it is missing or is not the one the index was built with.
    """
    if layout.remote is not None and not (path.is_file() and hash_file(path) == expected_hash):
        layout.pull(path)
    if not path.is_file():
        raise StoreError(f"{path} is missing; restore it from a copy, or build the index again")
    if hash_file(path) != expected_hash:
        raise StoreError(
            f"{path} is damaged or of another index (its hash differs); restore it from a copy, or build the index "
            "again"
        )
