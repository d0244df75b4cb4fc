"""The table of samples in LanceDB: the rows and their signatures, the source of truth of an index.

Written through ``lancedb``; read through ``lance``, which opens the same files in a third of the time.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from nait_index.config import View
from nait_index.files import hash_bytes
from nait_index.store.dataset import MERGED_ROWS, LanceTable, writing
from nait_index.store.fragments import Fragment, list_fragments, revalued
from nait_index.store.layout import Layout
from nait_index.store.locks import ReadingHold

if TYPE_CHECKING:
    import pyarrow as pa

_DELETED_ROWS = 10_000  # per SQL condition

LEFT_OUT_SEPARATOR = ", "
"""Between the kinds of parts in the column ``left_out``, which lists what the template left out of a row's text."""

SIGNATURE_PREFIXES = ("grad", *(f"{view}_" for view in View))
"""Prefixes of the signature columns, which are named after their view; ``grad`` is the name of a single column."""


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
        pa.field("left_out", pa.string(), nullable=False),
    ]
    fields += [pa.field(name, pa.list_(pa.from_numpy_dtype(dtype), width)) for name, (dtype, width) in arrays.items()]
    return pa.schema(fields)


def table_of(columns: Mapping[str, Any], table_schema: "pa.Schema") -> "pa.Table":
    """Return rows as they are stored.

    :param columns: a list for each plain column, an array (n, width) for each signature column.
    """
    import pyarrow as pa

    return pa.Table.from_arrays([_to_arrow(columns[field.name], field) for field in table_schema], schema=table_schema)


def spread(rows: int, count: int) -> np.ndarray:
    """Return the ordinals of a random sample of a table: (at most ``count``,) int64, ascending.

    They are at equal distances. The rows of a build, and those of every addition, are in random order, but what was
    added comes last: the first rows of a table alone would stand for its first build.
    """
    count = min(count, rows)
    return np.arange(count, dtype=np.int64) * rows // max(1, count)


class SampleTable(LanceTable):
    """All samples of one index.

    :param version: the committed version to read; ``None`` reads the last.
    :param hold: keeps that version from being deleted as long as the table is read.
    """

    def __init__(self, layout: Layout, version: int | None = None, hold: ReadingHold | None = None) -> None:
        super().__init__(layout, layout.samples, version)
        self._hold = hold

    def create(self, table_schema: "pa.Schema") -> None:
        """Create the table if it does not exist."""
        if not self.exists():  # an existing one may have score columns, which the schema of a build lacks
            self._create(table_schema)

    def append(self, parts: Sequence["pa.Table"]) -> None:
        """Add rows in one commit, all of them or none. Score columns, which only the table has, are filled with nulls.

        Not through LanceDB, which instantiates the embedding functions named in a table, whoever wrote them there.

        :param parts: the rows, as :func:`table_of` makes them.
        """
        import lance
        import pyarrow as pa

        rows = pa.concat_tables(parts)
        for field in self.schema():
            if field.name not in rows.schema.names:
                rows = rows.append_column(field, pa.nulls(len(rows), field.type))
        with writing(self._layout):
            lance.write_dataset(rows, self._uri, mode="append", storage_options=self._layout.storage)

    def delete(self, positions: Sequence[int]) -> None:
        """Delete the rows at some positions; earlier versions keep them."""
        with writing(self._layout):
            for start in range(0, len(positions), _DELETED_ROWS):
                listed = ", ".join(str(position) for position in positions[start : start + _DELETED_ROWS])
                self._dataset().delete(f"position IN ({listed})")

    @property
    def fragments(self) -> int:
        """How many files hold the rows."""
        return len(self._dataset().get_fragments())

    @property
    def small_fragments(self) -> int:
        """How many of them hold so few rows that they can be merged."""
        return sum(fragment.metadata.physical_rows < MERGED_ROWS for fragment in self._dataset().get_fragments())

    def __len__(self) -> int:
        return int(self._dataset().count_rows()) if self.exists() else 0

    def schema(self) -> "pa.Schema":
        """Return the schema of the stored table."""
        return self._dataset().schema

    def signature_types(self) -> dict[str, tuple["np.dtype[Any]", int]]:
        """Return dtype and width of every signature column."""
        import pyarrow as pa

        types = {field.name: field.type for field in self.schema() if pa.types.is_fixed_size_list(field.type)}
        return {name: (np.dtype(kind.value_type.to_pandas_dtype()), kind.list_size) for name, kind in types.items()}

    def signatures(self, column: str, fragments: Sequence[Fragment] | None = None) -> Iterator[np.ndarray]:
        """Read one signature column in table order, by batches of rows: (b, width).

        :param fragments: read only their rows, in the order given; ``None`` reads all.
        """
        dataset = self._dataset()
        for wanted, rows in [(None, {})] if fragments is None else _reads(dataset, fragments):
            scanner = dataset.scanner(columns=[column], fragments=wanted, scan_in_order=True, **rows)
            for batch in scanner.to_batches():
                yield _to_numpy(batch.column(column))

    def fragments_of(self, column: str) -> list[Fragment]:
        """Return which rows each fragment of the table holds, and the file of a column that they are in."""
        return list_fragments(self._dataset(), column)

    def revalued(self, column: str, pieces: Sequence[Fragment]) -> list[Fragment]:
        """Return the same rows with the file of another column that they are in."""
        return revalued(self._dataset(), column, pieces)

    def files_hash(self) -> str:
        """Return a hash of the names of all files with rows, and with deleted ones: no other table has the same."""
        names = []
        for fragment in self._dataset().get_fragments():
            names += [*(file.path for file in fragment.data_files()), fragment.deletion_file() or ""]
        return hash_bytes("\n".join(names).encode())

    def content_hash(self) -> str:
        """Return a hash of the contents of all rows, in table order."""
        digest = hashlib.blake2b(digest_size=16)
        for batch in self._dataset().to_batches(columns=["content_hash"], scan_in_order=True):
            digest.update("".join(batch.column(0).to_pylist()).encode())
        return digest.hexdigest()

    def signatures_at(self, ordinals: np.ndarray, column: str) -> np.ndarray:
        """Read one signature column of some rows, given by their ordinals in table order: (m, width)."""
        return _to_numpy(self.take(ordinals, [column])[column].combine_chunks())

    def read(self, columns: Sequence[str]) -> "pa.Table":
        """Read plain columns of all rows, in table order."""
        return self._dataset().scanner(columns=list(columns), scan_in_order=True).to_table()

    def records(self, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Read the same in constant memory, one record per row."""
        for batch in self._dataset().to_batches(columns=list(columns), scan_in_order=True):
            yield from batch.to_pylist()

    def numbers(self, column: str) -> np.ndarray:
        """Read one plain column of numbers or booleans (n,) float64 in table order; NaN for nulls."""
        return np.asarray(self.read([column]).column(0).cast("float64").to_numpy())

    def totals(self, columns: Sequence[str]) -> dict[str, int]:
        """Sum up columns of integers or booleans, in constant memory."""
        sums = dict.fromkeys(columns, 0)
        for batch in self._dataset().to_batches(columns=list(columns)):
            for name in columns:
                sums[name] += int(batch.column(name).cast("int64").sum().as_py() or 0)
        return sums

    def left_out(self) -> dict[str, int]:
        """Count the rows of which the template left out a kind of part, by kind."""
        counts: Counter[str] = Counter()
        for batch in self._dataset().to_batches(columns=["left_out"]):
            for entry in batch.column(0).value_counts().to_pylist():
                for kind in filter(None, entry["values"].split(LEFT_OUT_SEPARATOR)):
                    counts[kind] += entry["counts"]
        return dict(sorted(counts.items()))

    def last_position(self) -> int:
        """Return the largest position of a row, -1 if there are no rows."""
        batches = self._dataset().to_batches(columns=["position"])
        return max((int(batch.column(0).to_numpy().max(initial=-1)) for batch in batches), default=-1)

    def last_between(self, first: int, end: int | None, most: int) -> tuple[int, np.ndarray]:
        """Count the rows with positions from ``first`` to before ``end``, and return the ordinals of the last of them.

        :param end: ``None`` for all from ``first`` on. :param most: how many ordinals to return at most.
        """
        count, start, last = 0, 0, np.empty(0, dtype=np.int64)
        for batch in self._dataset().to_batches(columns=["position"], scan_in_order=True):
            positions = batch.column(0).to_numpy()
            inside = (positions >= first) & (True if end is None else positions < end)
            ordinals = start + np.flatnonzero(inside)
            count, start = count + len(ordinals), start + len(positions)
            last = np.concatenate([last, ordinals])[-most:]
        return count, last

    def rows_before(self, position: int) -> int:
        """Count the rows whose position is smaller than another one."""
        return int(self._dataset().count_rows(f"position < {position}"))

    def take(self, ordinals: Sequence[int] | np.ndarray, columns: Sequence[str]) -> "pa.Table":
        """Read some rows, given by their ordinals in table order, in the order given."""
        wanted = np.asarray(ordinals, np.int64)
        if (wanted[1:] >= wanted[:-1]).all():
            return self._dataset().take(wanted, columns=list(columns))
        order = np.argsort(wanted, kind="stable")  # Lance reads rows in table order twice as fast
        places = np.empty_like(order)
        places[order] = np.arange(len(order))
        return self._dataset().take(wanted[order], columns=list(columns)).take(places)

    def ordinals(self, ids: Iterable[str]) -> dict[str, int]:
        """Return the ordinal in table order of each sample whose id is among some ids."""
        import pyarrow as pa
        import pyarrow.compute as pc

        # An id of the command line may hold bytes that are no text, which no row's has.
        wanted = pa.array([row_id for row_id in set(ids) if _is_text(row_id)], pa.string())
        known = self.read(["id"]).column(0)
        ordinals = np.flatnonzero(pc.is_in(known, value_set=wanted).to_numpy())
        return dict(zip(known.take(ordinals).to_pylist(), ordinals.tolist(), strict=True))

    def id_order(self) -> np.ndarray:
        """Return the ordinals of all rows in the order of their ids: (n,) int64."""
        import pyarrow.compute as pc

        # UTF-8 sorts as Python sorts text, by code points.
        return np.asarray(pc.sort_indices(self.read(["id"]).column(0)).to_numpy().astype(np.int64))

    def matching(self, where: str) -> np.ndarray:
        """Return for which rows (n,) bool, in table order, a SQL condition over plain columns holds."""
        row_ids = self._dataset().scanner(columns=[], with_row_id=True, scan_in_order=True).to_table()["_rowid"]
        matching = self._dataset().scanner(columns=["id"], filter=where, with_row_id=True).to_table()["_rowid"]
        return np.isin(row_ids.to_numpy(), matching.to_numpy())


def _reads(dataset: Any, fragments: Sequence[Fragment]) -> Iterator[tuple[list[Any], dict[str, int]]]:  # noqa: ANN401
    """Yield Lance's fragments, and which of their rows, in as few reads as they take."""
    for is_whole, group in groupby(fragments, lambda fragment: fragment.skipped is None):
        if is_whole:
            yield [dataset.get_fragment(fragment.number) for fragment in group], {}
            continue
        for piece in group:
            yield [dataset.get_fragment(piece.number)], {"offset": piece.skipped or 0, "limit": piece.rows}


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _to_numpy(signatures: "pa.FixedSizeListArray") -> np.ndarray:
    values = signatures.flatten().to_numpy(zero_copy_only=False)
    return np.asarray(values.reshape(len(signatures), signatures.type.list_size))


def _to_arrow(values: Any, field: "pa.Field") -> "pa.Array":  # noqa: ANN401
    import pyarrow as pa

    if not pa.types.is_fixed_size_list(field.type):
        return pa.array(values, type=field.type)
    flat = pa.array(np.ascontiguousarray(values).reshape(-1), type=field.type.value_type)
    return pa.FixedSizeListArray.from_arrays(flat, field.type.list_size)
