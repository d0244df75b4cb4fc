"""Parquet and Arrow files -> raw rows, a batch at a time, each the same as it would be from JSON lines.

In a table all rows have the same fields, and all objects of a column the same keys: what a row lacks is null there. So
nulls are left out of rows and objects, but not out of lists, where tables add none; and the content of a turn stays.
NaN and infinity, by which pandas marks missing values, count as null. ``Json()`` columns of ``datasets``, which are
JSON text in a file, are parsed, maps become objects, and the index of a data frame is no field.

Values that JSON cannot express become text: bytes as UTF-8 (with backslash escapes where invalid), others (dates,
times, decimals, UUIDs) by Python's ``str``.
"""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nait_index.corpus.rows import RawRow, parse_row, printable, to_json
from nait_index.corpus.text_rows import refuse_repeated
from nait_index.errors import CorpusError, one_line
from nait_index.types import Origin, Rejected, is_nothing

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH_ROWS = 1024
_NO_VALUE = (ValueError, OverflowError)  # dates before year 1 or after year 9999, for example
_FILE_MAGIC = b"ARROW1"  # begins the random-access format; the other format is the stream that `datasets` writes
_INDEX = re.compile(r"__index_level_\d+__")
_TURN_TEXT = {"role": "content", "from": "value"}
"""Keys of a turn: if it has the first, it keeps the second even if that is null, as in OpenAI's calls of tools."""

Reader = Callable[[Any], Any]
"""Turns a value that Arrow returned, not null, into one for JSON."""


def arrow_rows(file: Path, name: str, kind: str) -> Iterator[RawRow | Rejected]:
    """Read the rows of a file.

    :param name: the file's name in messages and origins. :param kind: "Parquet" or "Arrow".
    :raises CorpusError: it is damaged.
    """
    return table_rows(_parquet_batches(file) if kind == "Parquet" else _arrow_batches(file), name, kind)


def table_rows(batches: "Iterator[pa.RecordBatch]", name: str, kind: str) -> Iterator[RawRow | Rejected]:
    """Read the rows of a table.

    :param name: in messages and origins. :param kind: of what the batches are from, for messages.
    :raises CorpusError: it is damaged.
    """
    import pyarrow as pa

    try:
        number = 0
        for batch in batches:
            refuse_repeated(batch.schema.names, name)
            batch.validate(full=True)  # Arrow trusts the offsets in a file, and would follow damaged ones out of memory
            read = _row_reader(batch.schema)
            for start in range(0, batch.num_rows, _BATCH_ROWS):
                for value in _values(batch.slice(start, _BATCH_ROWS)):
                    number += 1
                    origin = Origin(name, number)
                    if isinstance(value, Exception):
                        yield Rejected(origin, f"holds a value that cannot be read: {one_line(value)}", "")
                    else:
                        yield parse_row(origin, to_json(read(value), default=_as_text))
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise CorpusError(
            f"{name}: not a complete and valid {kind} file ({one_line(error)}); fetch or write it again"
        ) from error


def object_row(value: object, name: str, number: int) -> RawRow | Rejected:
    """Read one row that is in memory as a dictionary."""
    origin = Origin(name, number)
    if not isinstance(value, Mapping):
        return Rejected(origin, f"a row must be a dictionary, this is {type(value).__name__}", printable(str(value)))
    try:
        text = to_json({key: inner for key, inner in value.items() if not is_nothing(inner)}, default=_as_json)
    except (ValueError, TypeError, RecursionError) as error:
        return Rejected(origin, f"holds a value that cannot be read: {one_line(error)}", "")
    return parse_row(origin, text)


def _as_json(value: Any) -> Any:  # noqa: ANN401
    """Return numbers and arrays of NumPy as JSON has them, and anything else as text."""
    return value.tolist() if hasattr(value, "tolist") else _as_text(value)


def _parquet_batches(file: Path) -> "Iterator[pa.RecordBatch]":
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(file) as table:
        yield from table.iter_batches(batch_size=_BATCH_ROWS)


def _arrow_batches(file: Path) -> "Iterator[pa.RecordBatch]":
    """Yield the batches of an Arrow file, in the random-access (Feather) or the streaming format."""
    import pyarrow as pa
    import pyarrow.ipc

    with pa.memory_map(str(file)) as data:
        magic = data.read(len(_FILE_MAGIC))
        data.seek(0)
        if magic != _FILE_MAGIC:
            yield from pa.ipc.open_stream(data)
            return
        table = pa.ipc.open_file(data)
        for number in range(table.num_record_batches):
            yield table.get_batch(number)


def _values(rows: "pa.RecordBatch") -> list[dict[str, Any] | Exception]:
    """Return rows as Python values; if that fails, row by row, with an error for each that cannot be converted."""
    try:
        values: list[dict[str, Any] | Exception] = rows.to_pylist()
        return values
    except _NO_VALUE as error:
        return [error] if len(rows) == 1 else [_values(rows.slice(row, 1))[0] for row in range(len(rows))]


# ---- values, by their type in the file ------------------------------------------------------------------------------


def _row_reader(schema: "pa.Schema") -> Reader:
    """Return what reads a row, by the types of the schema and the features that ``datasets`` notes in it."""
    features = _features(schema.metadata or {})
    readers = {field.name: _reader(field.type, features.get(field.name), holds_turns=True) for field in schema}
    return _object_reader(readers)


def _features(metadata: Mapping[bytes, bytes]) -> dict[str, Any]:
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
    except (LookupError, TypeError, ValueError, RecursionError):
        return {}
    return features if isinstance(features, dict) else {}


def _reader(kind: "pa.DataType", feature: object, *, holds_turns: bool = False, is_turn: bool = False) -> Reader:
    """Return what reads the values of a type.

    :param holds_turns: whether it is the type of a column, a list in which may be of turns.
    :param feature: as ``datasets`` describes them, in JSON: an object with ``_type``, or one of features by key.
    """
    import pyarrow as pa

    described: dict[str, Any] = feature if isinstance(feature, dict) else {}
    if isinstance(kind, pa.BaseExtensionType) and kind.extension_name != "arrow.json":
        return _reader(kind.storage_type, None)
    if isinstance(kind, pa.BaseExtensionType) or described.get("_type") == "Json":
        return _parsed
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return _reader(kind.value_type, feature)
    if pa.types.is_struct(kind):
        if {field.name for field in kind} == {"bytes", "path"}:
            return _media_reader
        readers = {field.name: _reader(field.type, described.get(field.name)) for field in kind}
        return _object_reader(readers, is_turn=is_turn)
    if pa.types.is_map(kind):
        return _map_reader(_reader(kind.item_type, None))
    if hasattr(kind, "value_type"):  # all kinds of lists
        inner = feature[0] if isinstance(feature, list) and feature else described.get("feature")
        return _list_reader(_reader(kind.value_type, inner, is_turn=holds_turns))
    return _finite if pa.types.is_floating(kind) else _unchanged


def _object_reader(readers: Mapping[str, Reader], *, is_turn: bool = False) -> Reader:
    kept = {text for key, text in _TURN_TEXT.items() if is_turn and key in readers}
    readers = {name: read for name, read in readers.items() if not _INDEX.fullmatch(name)}

    def read(value: Mapping[str, Any]) -> dict[str, Any]:
        present = {name: reader(value[name]) for name, reader in readers.items() if value.get(name) is not None}
        return {name: present.get(name) for name in readers if present.get(name) is not None or name in kept}

    return read


def _list_reader(read: Reader) -> Reader:
    return lambda values: [None if value is None else read(value) for value in values]


def _media_reader(value: Mapping[str, Any]) -> dict[str, Any]:
    """Describe an image, video or sound, whose row is rejected: its bytes would only fill the file of rejected rows."""
    data = value["bytes"]
    return {"bytes": None if data is None else f"({len(data):,} bytes)", "path": value["path"]}


def _map_reader(read: Reader) -> Reader:
    """Return what reads a map as an object, or as pairs if its keys are not text or repeat."""

    def read_map(pairs: list[tuple[Any, Any]]) -> Any:  # noqa: ANN401
        values = [(key, None if value is None else read(value)) for key, value in pairs]
        unique = {key for key, _ in values if isinstance(key, str)}
        return dict(values) if len(unique) == len(values) else values

    return read_map


def _parsed(value: object) -> object:
    """Parse JSON text; nulls in it are the row's, and stay."""
    if not isinstance(value, str | bytes):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _unchanged(value: object) -> object:
    return value


def _as_text(value: object) -> str:
    return printable(value) if isinstance(value, bytes) else str(value)
