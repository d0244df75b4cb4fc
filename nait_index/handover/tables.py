"""Rows -> one Arrow table, in which every column has one type.

What is absent is null, as is an object with nothing in it. Of two objects with different keys each gets the other's as
nulls; that would change definitions of tools and the arguments of calls, so that these are kept as JSON text, which
Axolotl and, for definitions, TRL and LLaMA-Factory read.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nait_index.corpus import to_json
from nait_index.errors import NaitError
from nait_index.handover.rows import OutRow

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa


def to_table(rows: Sequence[OutRow], name: str) -> "pa.Table":
    """Make the table.

    :param name: of what is made of it, for the message.
    :raises NaitError: rows have different formats, or a column has values of different types; the row is named.
    """
    import pyarrow as pa

    other = next((row for row in rows if row.format is not rows[0].format), None)
    if other is not None:
        raise NaitError(
            f"{name}: row {other.id!r} is {other.format} where row {rows[0].id!r} is {rows[0].format}, and a table has "
            "one format; convert them with --as, or write .jsonl"
        )
    columns = dict.fromkeys(column for row in rows for column in row.fields)
    return pa.table({column: _array(rows, column, name) for column in columns})


def to_dataset(table: "pa.Table") -> "datasets.Dataset":
    """Make it a dataset of the library ``datasets``."""
    require_datasets("a dataset")
    import datasets

    return datasets.Dataset(table)


def require_datasets(what: str) -> None:
    """Check that the library is there.

    :raises NaitError: it is not.
    """
    from importlib.util import find_spec

    if find_spec("datasets") is None:
        raise NaitError(f"{what} needs the library datasets: pip install 'nait-index[export]'; or write .parquet")


def _array(rows: Sequence[OutRow], column: str, name: str) -> "pa.Array":
    import pyarrow as pa

    values = [_plain(row.fields.get(column), column) for row in rows]
    errors = (pa.ArrowException, OverflowError, UnicodeEncodeError)
    try:
        return pa.array(values)
    except errors:
        fitting, failing = 0, len(values)
        while failing - fitting > 1:
            middle = (fitting + failing) // 2
            try:
                pa.array(values[:middle])
                fitting = middle
            except errors:
                failing = middle
    raise NaitError(
        f"{name}: the column {column!r} of row {rows[failing - 1].id!r} is of another type than in the rows before it, "
        "and a table has one type a column; convert with --as if it is part of the conversation, or write .jsonl"
    ) from None


def _plain(value: Any, key: str) -> Any:  # noqa: ANN401
    if isinstance(value, dict | list) and key in ("tools", "arguments"):
        return to_json(value) if value else None
    if isinstance(value, dict):
        return {name: _plain(own, name) for name, own in value.items()} or None
    return [_plain(own, "") for own in value] if isinstance(value, list) else value
