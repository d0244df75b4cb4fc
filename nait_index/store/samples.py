"""The table of samples in LanceDB: the rows and their signatures, the source of truth of an index.

Written through ``lancedb``; read through ``lance``, which opens the same files in a third of the time.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nait_index.config import View
from nait_index.store.dataset import LanceTable, writing
from nait_index.store.layout import Layout

if TYPE_CHECKING:
    import pyarrow as pa

_DELETED_ROWS = 10_000  # per SQL condition


SIGNATURE_PREFIXES = ("grad", *(f"{view}_" for view in View))
"""How the names of signature columns begin: with their view; the view ``grad`` has one column, of its own name."""


def schema(arrays: Mapping[str, tuple["np.dtype[Any]", int]]) -> "pa.Schema":
    """Return the table's schema.

    :param arrays: dtype and width of every signature column.
    """
    import pyarrow as pa

    fields = [
        pa.field("id", pa.string(), nullable=False),
        pa.field("position", pa.int64(), nullable=False),
        pa.field("row", pa.large_string(), nullable=False),
        pa.field("format", pa.string(), nullable=False),
        pa.field("content_hash", pa.string(), nullable=False),
        pa.field("file", pa.string(), nullable=False),
        pa.field("file_row", pa.int64(), nullable=False),
        pa.field("n_tokens", pa.int32(), nullable=False),
        pa.field("truncated", pa.bool_(), nullable=False),
    ]
    fields += [pa.field(name, pa.list_(pa.from_numpy_dtype(dtype), width)) for name, (dtype, width) in arrays.items()]
    return pa.schema(fields)


class SampleTable(LanceTable):
    """All samples of one index.

    :param version: the committed version to read; ``None`` reads the last.
    """

    def __init__(self, layout: Layout, version: int | None = None) -> None:
        super().__init__(layout, layout.samples, version)

    def create(self, table_schema: "pa.Schema") -> None:
        """Create the table if it does not exist."""
        if not self.exists():  # an existing one may have columns of scores, which the schema of a build has not
            self._create(table_schema)

    def append(self, columns: Mapping[str, Any], table_schema: "pa.Schema") -> None:
        """Add rows in one commit, all of them or none. Columns of scores, which only the table has, get nulls.

        Not through LanceDB, which instantiates the embedding functions named in a table, whoever wrote them there.

        :param columns: a list for each plain column, an array (n, width) for each signature column.
        """
        import lance
        import pyarrow as pa

        arrays = [_to_arrow(columns[field.name], field) for field in table_schema]
        scores = [field for field in self.schema() if field.name not in table_schema.names]
        arrays += [pa.nulls(len(arrays[0]), field.type) for field in scores]
        rows = pa.Table.from_arrays(arrays, schema=pa.schema([*table_schema, *scores]))
        with writing(self._layout):
            lance.write_dataset(rows, self._uri, mode="append", storage_options=self._layout.storage)

    def delete(self, positions: Sequence[int]) -> None:
        """Delete the rows with some values of ``position``; earlier versions keep them."""
        with writing(self._layout):
            for start in range(0, len(positions), _DELETED_ROWS):
                listed = ", ".join(str(position) for position in positions[start : start + _DELETED_ROWS])
                self._dataset().delete(f"position IN ({listed})")

    @property
    def fragments(self) -> int:
        """How many files hold the rows."""
        return len(self._dataset().get_fragments())

    def __len__(self) -> int:
        return int(self._dataset().count_rows()) if self.exists() else 0

    def schema(self) -> "pa.Schema":
        """Return the schema of the stored table."""
        return self._dataset().schema

    def signature_widths(self) -> dict[str, int]:
        """Return the width of every signature column."""
        import pyarrow as pa

        return {field.name: field.type.list_size for field in self.schema() if pa.types.is_fixed_size_list(field.type)}

    def signature_bytes(self) -> dict[str, int]:
        """Return the bytes per row of every signature column."""
        import pyarrow as pa

        fields = [field for field in self.schema() if pa.types.is_fixed_size_list(field.type)]
        return {field.name: field.type.list_size * field.type.value_type.bit_width // 8 for field in fields}

    def known(self) -> Iterator[tuple[str, str, int]]:
        """Yield id, content hash and position of every sample."""
        if self.exists():
            for batch in self._dataset().to_batches(columns=["id", "content_hash", "position"]):
                yield from zip(*(batch.column(i).to_pylist() for i in range(3)), strict=True)

    def signatures(self, column: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Read one signature column in table order, by batches: row ids (b,) uint64 and values (b, width)."""
        for batch in self._dataset().to_batches(columns=[column], with_row_id=True, scan_in_order=True):
            values = batch.column(column)
            flat = values.flatten().to_numpy(zero_copy_only=False)
            yield batch.column("_rowid").to_numpy(), flat.reshape(len(values), values.type.list_size)

    def signatures_at(self, ordinals: np.ndarray, column: str) -> np.ndarray:
        """Read one signature column of some rows, given by their ordinals in table order: (m, width)."""
        values = self._dataset().take(ordinals, columns=[column])[column].combine_chunks()
        width = values.type.list_size
        return np.asarray(values.flatten().to_numpy(zero_copy_only=False).reshape(len(values), width))

    def row_ids(self) -> np.ndarray:
        """Return the row ids (n,) uint64 in table order."""
        batches = self._dataset().to_batches(columns=["position"], with_row_id=True, scan_in_order=True)
        ids = [batch.column("_rowid").to_numpy() for batch in batches]
        return np.concatenate(ids) if ids else np.zeros(0, np.uint64)

    def numbers(self, column: str) -> np.ndarray:
        """Read one plain column of numbers (n,) float64 in table order; NaN for nulls."""
        batches = self._dataset().to_batches(columns=[column], scan_in_order=True)
        parts = [batch.column(0).cast("float64").to_numpy(zero_copy_only=False) for batch in batches]
        return np.concatenate(parts) if parts else np.zeros(0)

    def plain(self, columns: Sequence[str]) -> "pa.Table":
        """Read some plain columns of all rows, in table order."""
        return self._dataset().scanner(columns=list(columns), scan_in_order=True).to_table()

    def count(self, where: str) -> int:
        """Count the samples for which a SQL condition holds."""
        return int(self._dataset().count_rows(filter=where))

    def largest(self, column: str) -> int:
        """Return the largest value of a column of integers, -1 if there are no rows."""
        batches = self._dataset().to_batches(columns=[column])
        return max((int(batch.column(0).to_numpy().max()) for batch in batches if len(batch)), default=-1)

    def total(self, column: str) -> int:
        """Return the sum of a column of integers."""
        return sum(int(batch.column(0).to_numpy().sum()) for batch in self._dataset().to_batches(columns=[column]))

    def take(self, ordinals: Sequence[int] | np.ndarray, columns: Sequence[str]) -> dict[str, list[Any]]:
        """Read some rows, given by their ordinals in table order, as one list per column."""
        if len(ordinals) == 0:
            return {name: [] for name in columns}
        table = self._dataset().take([int(i) for i in ordinals], columns=list(columns))
        return {name: table[name].to_pylist() for name in columns}

    def take_records(self, ordinals: Sequence[int] | np.ndarray, columns: Sequence[str]) -> list[dict[str, Any]]:
        """Read the same rows as one record each."""
        taken = self.take(ordinals, columns)
        return [dict(zip(taken, values, strict=True)) for values in zip(*taken.values(), strict=True)]

    def find(self, ids: Sequence[str], columns: Sequence[str]) -> list[dict[str, Any]]:
        """Read the samples with some ids, in the order given; unknown ids are left out."""
        quoted = ", ".join("'" + sample_id.replace("'", "''") + "'" for sample_id in ids if _is_text(sample_id))
        if not quoted:
            return []
        rows = self._dataset().scanner(columns=["id", *columns], filter=f"id IN ({quoted})").to_table().to_pylist()
        by_id = {row["id"]: row for row in rows}
        return [by_id[sample_id] for sample_id in ids if sample_id in by_id]

    def place(self, sample_id: str) -> int | None:
        """Return the ordinal of a sample in table order, ``None`` if it is not there."""
        start = 0
        for batch in self._dataset().to_batches(columns=["id"], scan_in_order=True):
            ids: list[str] = batch.column(0).to_pylist()
            if sample_id in ids:
                return start + ids.index(sample_id)
            start += len(ids)
        return None

    def records(self, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Read plain columns of all rows, in table order."""
        for batch in self._dataset().to_batches(columns=list(columns), scan_in_order=True):
            yield from batch.to_pylist()

    def scan(self, columns: Sequence[str], where: str) -> "pa.Table":
        """Read plain columns, and ``_rowid``, of the rows for which a SQL condition over plain columns holds."""
        return self._dataset().scanner(columns=list(columns), filter=where, with_row_id=True).to_table()


def _is_text(value: str) -> bool:
    """Return whether a text can be written as UTF-8, as all ids can."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _to_arrow(values: Any, field: "pa.Field") -> "pa.Array":  # noqa: ANN401
    import pyarrow as pa

    if not pa.types.is_fixed_size_list(field.type):
        return pa.array(values, type=field.type)
    flat = pa.array(np.ascontiguousarray(values).reshape(-1), type=field.type.value_type)
    return pa.FixedSizeListArray.from_arrays(flat, field.type.list_size)
