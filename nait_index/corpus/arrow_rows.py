"""Parquet and Arrow files -> raw rows, a batch at a time.

A value that JSON has no form for becomes text: bytes as UTF-8 (backslash escapes where they are none), everything
else (dates, times, decimals, UUIDs) as Python's ``str`` gives it. NaN and infinity, pandas' way of saying that nothing
is there, become null.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet

from nait_index.corpus.rows import RawRow, parse_row, printable, to_json
from nait_index.errors import CorpusError
from nait_index.types import Origin, Rejected

_BATCH_ROWS = 1024
_NO_VALUE = (ValueError, OverflowError)  # dates before year 1, say, or after year 9999
_FILE_MAGIC = b"ARROW1"  # what the random-access format begins with; the other one is the stream `datasets` writes


def parquet_rows(file: Path, name: str) -> Iterator[RawRow | Rejected]:
    """Stream the rows of a Parquet file.

    :param name: the file's name in messages and origins.
    """
    with _readable(name, "Parquet"), pa.parquet.ParquetFile(file) as table:
        yield from _rows(table.iter_batches(batch_size=_BATCH_ROWS), name)


def arrow_rows(file: Path, name: str) -> Iterator[RawRow | Rejected]:
    """Stream the rows of an Arrow file, be it of the random-access (Feather) or of the streaming format.

    :param name: the file's name in messages and origins.
    """
    with _readable(name, "Arrow"), pa.memory_map(str(file)) as data:
        yield from _rows(_arrow_batches(data), name)


def _arrow_batches(data: pa.MemoryMappedFile) -> Iterator[pa.RecordBatch]:
    magic = data.read(len(_FILE_MAGIC))
    data.seek(0)
    if magic != _FILE_MAGIC:
        yield from pa.ipc.open_stream(data)
        return
    table = pa.ipc.open_file(data)
    for number in range(table.num_record_batches):
        yield table.get_batch(number)


def _rows(batches: Iterator[pa.RecordBatch], name: str) -> Iterator[RawRow | Rejected]:
    number = 0
    for batch in batches:
        _check_columns(batch.schema.names, name)
        batch.validate(full=True)  # Arrow trusts the offsets in a file, and follows damaged ones out of memory
        for start in range(0, batch.num_rows, _BATCH_ROWS):
            for value in _values(batch.slice(start, _BATCH_ROWS)):
                number += 1
                yield _row(Origin(name, number), value)


def _check_columns(columns: Sequence[str], name: str) -> None:
    """Refuse two columns of one name: only one of them could be kept."""
    repeated = sorted({column for column in columns if columns.count(column) > 1})
    if repeated:
        raise CorpusError(f"{name}: has two columns named {repeated[0]!r}; rename one")


def _values(rows: pa.RecordBatch) -> list[dict[str, Any] | Exception]:
    """Give rows as Python values; where that fails, one by one, with the error of each that has no such form."""
    try:
        values: list[dict[str, Any] | Exception] = rows.to_pylist()
        return values
    except _NO_VALUE as error:
        return [error] if len(rows) == 1 else [_values(rows.slice(at, 1))[0] for at in range(len(rows))]


def _row(origin: Origin, value: dict[str, Any] | Exception) -> RawRow | Rejected:
    if isinstance(value, Exception):
        return Rejected(origin, f"holds a value that cannot be read: {_one_line(value)}", "")
    return parse_row(origin, to_json(_without_nan(value), default=_as_text))


def _without_nan(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _as_text(value: object) -> str:
    return printable(value) if isinstance(value, bytes) else str(value)


@contextmanager
def _readable(name: str, kind: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, UnicodeDecodeError) as error:
        reason = _one_line(error)
        raise CorpusError(f"{name}: not a whole and valid {kind} file ({reason}); fetch or write it again") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
