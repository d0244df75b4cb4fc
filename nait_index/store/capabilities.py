"""Stored capabilities, examples and what was computed from them: in the index's table, or exported to a file.

The file is a safetensors file whose metadata hold the examples and settings; it can be imported into another index.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from nait_index.errors import CapabilityError
from nait_index.files import atomic_write
from nait_index.spelling import did_you_mean_path
from nait_index.store.dataset import LanceTable, explained, open_dataset, writing
from nait_index.store.layout import Layout
from nait_index.store.sealed import check_types

_FORMAT = "nait-index capability 1"


@dataclass(frozen=True, slots=True)
class StoredCapability:
    """One stored capability.

    :param rows: the examples' original rows, as JSON. :param formats: the row format of each.
    :param arrays: computed from their activations: ``summary.NAME`` and ``signatures.COLUMN``.
    """

    name: str
    created: str
    fingerprint: str
    rows: tuple[str, ...]
    formats: tuple[str, ...]
    truncated: int
    rejected: int
    arrays: Mapping[str, np.ndarray]


class CapabilityTable(LanceTable):
    """All stored capabilities of one index.

    :param version: the committed version to read, 0 for none; ``None`` reads the last.
    """

    def __init__(self, layout: Layout, version: int | None = None) -> None:
        super().__init__(layout, layout.capabilities, version)

    @property
    def version(self) -> int:
        """Number of the committed version that is read, 0 if nothing was ever stored."""
        return super().version if self.exists() else 0

    def names(self) -> list[str]:
        """Return all names, sorted."""
        return sorted(row["name"] for row in self._rows(["name"]))

    def summaries(self) -> list[dict[str, Any]]:
        """Return name, creation time and counts of each, sorted by name."""
        rows = self._rows(["name", "created", "examples", "truncated", "rejected"])
        return sorted(rows, key=lambda row: str(row["name"]))

    def get(self, name: str) -> StoredCapability | None:
        """Read a capability, ``None`` if there is none of this name."""
        from safetensors.numpy import load

        rows = self._rows([column.name for column in fields(StoredCapability)], _name_is(name))
        if not rows:
            return None
        texts = {column: tuple(rows[0][column]) for column in ("rows", "formats")}
        return StoredCapability(**rows[0] | texts | {"arrays": load(rows[0]["arrays"])})

    def put(self, capability: StoredCapability) -> None:
        """Store a capability in one commit, replacing any other of its name."""
        import pyarrow as pa

        types = {
            "created": pa.string(),
            "fingerprint": pa.string(),
            "examples": pa.int32(),
            "truncated": pa.int32(),
            "rejected": pa.int32(),
            "rows": pa.large_list(pa.large_string()),
            "formats": pa.list_(pa.string()),
            "arrays": pa.large_binary(),
        }
        schema = pa.schema([pa.field("name", pa.string(), nullable=False), *types.items()])
        row = asdict(capability) | {"examples": len(capability.rows), "arrays": _packed(capability.arrays)}
        self._create(schema)
        with writing(self._layout):
            merge = self._dataset().merge_insert("name").when_matched_update_all()
            merge.when_not_matched_insert_all().execute(pa.Table.from_pylist([row], schema=schema))

    def remove(self, name: str) -> None:
        """Remove a capability."""
        with writing(self._layout):
            self._dataset().delete(_name_is(name))

    def restore(self) -> None:
        """Make the version that is read the last one again; version 0 is an empty table."""
        if self._version == 0:
            with writing(self._layout):
                open_dataset(self._layout, self._uri).delete("true")
        else:
            super().restore()

    def _rows(self, columns: Sequence[str], where: str | None = None) -> list[dict[str, Any]]:
        if self._version == 0 or (self._version is None and not self.exists()):
            return []
        dataset = self._dataset()
        with explained(f"{self._uri} cannot be read", "remove it and add them again"):
            rows: list[dict[str, Any]] = dataset.scanner(columns=columns, filter=where).to_table().to_pylist()
        return rows


def _name_is(name: str) -> str:
    return "name = '" + name.replace("'", "''") + "'"


def write_capability(path: Path, capability: StoredCapability, basis: str) -> None:
    """Export a capability to a file, whole or not at all.

    :param basis: hash of the fitted parts that the signatures among its arrays depend on.
    """
    text = _facts(capability, basis)
    metadata = {"format": _FORMAT, "capability": text, "hash": _hash(text, capability.arrays)}
    with atomic_write(path) as file:
        file.write(_packed(capability.arrays, metadata))


def holds_capability(path: Path, capability: StoredCapability, basis: str) -> bool:
    """Return whether a file is what :func:`write_capability` writes of a capability."""
    if not path.is_file():
        return False
    try:
        written, written_basis = read_capability(path)
    except CapabilityError:
        return False
    hashes = _hash(_facts(written, written_basis), written.arrays), _hash(_facts(capability, basis), capability.arrays)
    return hashes[0] == hashes[1]


def _facts(capability: StoredCapability, basis: str) -> str:
    facts = {name: value for name, value in asdict(capability).items() if name != "arrays"}
    return json.dumps(facts | {"basis": basis})


def read_capability(path: Path) -> tuple[StoredCapability, str]:
    """Read an exported capability, and the basis it was written with.

    :raises CapabilityError: the file is missing, damaged, or of another kind.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise CapabilityError(
            f"{path}: no such file; 'nait-index capability export' writes one{did_you_mean_path(path)}"
        )
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != _FORMAT:
                raise CapabilityError(f"{path} was not written by 'nait-index capability export'")
            arrays = {name: file.get_tensor(name) for name in file.keys()}
        if metadata["hash"] != _hash(metadata["capability"], arrays):
            raise CapabilityError(f"{path} is damaged (its hash differs); export the capability again")
        facts = json.loads(metadata["capability"])
        basis = str(facts.pop("basis"))
        facts |= {name: tuple(facts[name]) for name in ("rows", "formats")}
        stored = StoredCapability(**facts, arrays=arrays)
        check_types(stored)
        if not stored.rows or len(stored.rows) != len(stored.formats):
            raise ValueError("it has no examples, or not one format for each")
        return stored, basis
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise CapabilityError(f"{path} is damaged, or not an exported capability ({error})") from error


def _packed(arrays: Mapping[str, np.ndarray], metadata: dict[str, str] | None = None) -> bytes:
    from safetensors.numpy import save

    return save({name: np.ascontiguousarray(array) for name, array in arrays.items()}, metadata=metadata)


def _hash(text: str, arrays: Mapping[str, np.ndarray]) -> str:
    """Return a hash of everything in the file, as 32 hex digits."""
    digest = hashlib.blake2b(text.encode(), digest_size=16)
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        digest.update(arrays[name].tobytes())
    return digest.hexdigest()
