"""Stored capabilities: their examples and what was computed from them, by name, in LanceDB."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nait_index.errors import StoreError
from nait_index.store.layout import Layout

NAME = "capabilities"


@dataclass(frozen=True, slots=True)
class StoredCapability:
    """One stored capability.

    :param rows: the examples' original rows, as JSON, and :param formats: the row format of each.
    :param arrays: what was computed from their activations: ``summary.NAME`` and ``signatures.COLUMN``.
    """

    name: str
    created: str
    fingerprint: str
    rows: tuple[str, ...]
    formats: tuple[str, ...]
    truncated: int
    rejected: int
    arrays: Mapping[str, np.ndarray]


class CapabilityTable:
    """All stored capabilities of one index."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def names(self) -> list[str]:
        """Give all names, sorted."""
        return sorted(row["name"] for row in self._rows(["name"]))

    def summaries(self) -> list[dict[str, Any]]:
        """Give name, creation time and counts of all, sorted by name."""
        rows = self._rows(["name", "created", "examples", "truncated", "rejected"])
        return sorted(rows, key=lambda row: str(row["name"]))

    def get(self, name: str) -> StoredCapability | None:
        """Read one, or ``None`` where there is none of this name."""
        from safetensors.numpy import load

        rows = self._rows(None, _name_is(name))
        if not rows:
            return None
        row = rows[0]
        return StoredCapability(
            name=row["name"],
            created=row["created"],
            fingerprint=row["fingerprint"],
            rows=tuple(row["rows"]),
            formats=tuple(row["formats"]),
            truncated=row["truncated"],
            rejected=row["rejected"],
            arrays=load(row["arrays"]),
        )

    def put(self, capability: StoredCapability) -> None:
        """Store one, in place of any other of its name, in one commit."""
        import lancedb
        import pyarrow as pa
        from safetensors.numpy import save

        schema = pa.schema(
            [
                pa.field("name", pa.string(), nullable=False),
                pa.field("created", pa.string()),
                pa.field("fingerprint", pa.string()),
                pa.field("examples", pa.int32()),
                pa.field("truncated", pa.int32()),
                pa.field("rejected", pa.int32()),
                pa.field("rows", pa.large_list(pa.large_string())),
                pa.field("formats", pa.list_(pa.string())),
                pa.field("arrays", pa.large_binary()),
            ]
        )
        row = {
            "name": capability.name,
            "created": capability.created,
            "fingerprint": capability.fingerprint,
            "examples": len(capability.rows),
            "truncated": capability.truncated,
            "rejected": capability.rejected,
            "rows": list(capability.rows),
            "formats": list(capability.formats),
            "arrays": save({name: np.ascontiguousarray(array) for name, array in capability.arrays.items()}),
        }
        table = lancedb.connect(str(self._layout.database)).create_table(NAME, schema=schema, exist_ok=True)
        merge = table.merge_insert("name").when_matched_update_all().when_not_matched_insert_all()
        merge.execute(pa.Table.from_pylist([row], schema=schema))

    def remove(self, name: str) -> None:
        """Remove one."""
        import lancedb

        lancedb.connect(str(self._layout.database)).open_table(NAME).delete(_name_is(name))

    def _rows(self, columns: Sequence[str] | None, where: str | None = None) -> list[dict[str, Any]]:
        import lance

        if not (self._layout.capabilities / "_versions").is_dir():
            return []
        try:
            dataset = lance.dataset(str(self._layout.capabilities))
            rows: list[dict[str, Any]] = dataset.scanner(columns=columns, filter=where).to_table().to_pylist()
        except (ValueError, OSError) as error:
            raise StoreError(
                f"{self._layout.capabilities} cannot be read ({error}); remove it and add them again"
            ) from error
        return rows


def _name_is(name: str) -> str:
    return "name = '" + name.replace("'", "''") + "'"
