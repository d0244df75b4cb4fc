"""Strategies: JSON values, rows, files and their damage, and text that tries to get out of where it is put."""

import csv
import gzip
import io
import json
import math
import os
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet
from hypothesis import strategies as st

SUFFIXES = (".json", ".jsonl", ".jsonl.gz", ".csv", ".csv.gz", ".parquet", ".arrow", ".feather")

HOSTILE = (
    "", " ", "\0", "\n", "\r\n", "\u2028", "\x1b[2J\x1b]0;owned\x07", "\x9b31m", "\u202e", "\ufeff", "\ud800", "\udcff",
    "'", '"', "''", "\\", "'; DROP TABLE samples; --", "' OR '1'='1", "../../etc/passwd", "/etc/passwd", "..", ".",
    "a/b", "~", "$HOME", "$(touch owned)", "`touch owned`", "%s%n", "{0.__class__}", "{{ 7 * 7 }}", "é" * 300, "😀",
    "x" * 5000, "NaN", "null", "-1", "1e999", "true", "\x7f", "a\tb",
)  # fmt: skip

texts = st.text(max_size=40) | st.text(st.characters(categories=None), max_size=8) | st.sampled_from(HOSTILE)
whole_texts = texts.filter(lambda text: text == text.encode("utf-8", "ignore").decode())
# What the system can hand over as an argument: any bytes but NUL, those that are no UTF-8 as surrogates.
arguments = (texts.map(lambda text: text.encode("utf-8", "ignore")) | st.binary(max_size=8)).map(
    lambda data: os.fsdecode(data.replace(b"\0", b""))
)
numbers = st.integers() | st.floats() | st.sampled_from([10**400, -(2**63), 2**64, 1e308, -0.0])
scalars = st.none() | st.booleans() | numbers | texts
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=12
)

FIELDS = (
    "id", "instruction", "input", "context", "output", "response", "system", "history", "messages", "conversations",
    "conversation", "prompt", "completion", "tools", "text",
)  # fmt: skip
_ROLES = ("user", "assistant", "system", "tool", "human", "gpt", "nobody", "", None, 5)

turns = st.fixed_dictionaries(
    {},
    optional={
        "role": st.sampled_from(_ROLES) | values,
        "from": st.sampled_from(_ROLES),
        "content": texts | values | st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": values})),
        "value": texts | values,
        "tool_calls": values,
        "function_call": values,
    },
)
conversations = st.lists(turns | values, max_size=4)
rows = st.fixed_dictionaries(
    {},
    optional={
        field: conversations | values if field in ("messages", "conversations", "conversation", "prompt", "history")
        else texts | values
        for field in FIELDS
    },
) | st.dictionaries(texts, values, max_size=4)  # fmt: skip
good_rows = st.fixed_dictionaries({"instruction": texts.map("do {}".format), "output": texts})


def json_line(row: Any) -> str:
    """Write a value as JSON on one line, NaN and infinity as Python does."""
    return json.dumps(row)


@st.composite
def json_texts(draw: st.DrawFn) -> str:
    """Draw text that is JSON, or nearly: also duplicate keys, deep nesting, huge numbers, literals of no standard."""
    kind = draw(st.sampled_from(["row", "row", "row", "twice", "deep", "huge", "literal", "cut", "text"]))
    row = json_line(draw(rows))
    match kind:
        case "twice":
            return row[:-1] + ("" if row == "{}" else ",") + '"text":"a","text":' + json_line(draw(values)) + "}"
        case "deep":
            depth = draw(st.sampled_from([5, 99, 100, 101, 990, 1100, 50_000]))
            opened, closed = draw(st.sampled_from([("[", "]"), ('{"a":', "}")]))
            return '{"text":"a","more":' + opened * depth + "1" + closed * depth + "}"
        case "huge":
            digits = draw(st.sampled_from([100, 4300, 4301, 100_000]))
            return '{"text":"a","id":' + draw(st.sampled_from(["", "-", "0.", "1e"])) + "9" * digits + "}"
        case "literal":
            literal = draw(
                st.sampled_from(["NaN", "Infinity", "-Infinity", "nul", "True", "'a'", "0x1", "01", "\\u0000"])
            )
            return '{"text":"a","more":' + literal + "}"
        case "cut":
            return row[: draw(st.integers(0, len(row)))]
        case "text":
            return draw(texts)
    return row


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


# Good rows among the odd ones, for without one that tells the format a file is refused as a whole.
_lines = st.lists(json_texts() | good_rows.map(json_line) | rows.map(json_line), max_size=5)
line_files = _lines.map(lambda lines: b"\n".join(map(_raw, lines)))
list_files = _lines.map(lambda lines: b"[" + b",\n".join(map(_raw, lines)) + b"]")
HOSTILE_LINES = "\n".join(
    json_line(row) for text in HOSTILE for row in ({"id": text, "text": "x"}, {"text": text}, {"text": "x", text: text})
).encode()


@st.composite
def csv_files(draw: st.DrawFn) -> bytes:
    """Draw CSV, quoted as the library does it, under a header that may be any."""
    header = draw(st.lists(st.sampled_from(FIELDS) | texts, min_size=1, max_size=4))
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator=draw(st.sampled_from(["\n", "\r\n"])), escapechar="\\")
    writer.writerow(header)
    for _ in range(draw(st.integers(0, 4))):
        writer.writerow([draw(texts) for _ in range(len(header) + draw(st.sampled_from([0, 0, 0, -1, 1])))])
    return _raw(file.getvalue())


def _from_bits(arrow_type: pa.DataType, bits: pa.Array) -> pa.Array:
    return pa.Array.from_buffers(arrow_type, len(bits), bits.buffers())


_BITS64, _BITS32 = pa.array([2**63 - 1, -(2**63)], pa.int64()), pa.array([2**31 - 1, -(2**31)], pa.int32())
ARROW_COLUMNS: dict[str, Callable[[], pa.Array]] = {
    **{
        f"timestamp {unit}": lambda unit=unit: _from_bits(pa.timestamp(unit), _BITS64)
        for unit in ("s", "ms", "us", "ns")
    },
    **{
        f"duration {unit}": lambda unit=unit: _from_bits(pa.duration(unit), _BITS64) for unit in ("s", "ms", "us", "ns")
    },
    "zone": lambda: _from_bits(pa.timestamp("us", "Europe/Berlin"), _BITS64),
    "no zone": lambda: pa.array([1, 2], pa.timestamp("us", "No/Where")),
    "time": lambda: _from_bits(pa.time64("us"), _BITS64),
    "date": lambda: _from_bits(pa.date32(), _BITS32),
    "date64": lambda: _from_bits(pa.date64(), _BITS64),
    "interval": lambda: pa.array([(1, 2, 3), None], pa.month_day_nano_interval()),
    "decimal": lambda: pa.array([1, None], pa.decimal256(76, 2)),
    "half": lambda: pa.array([1.5, math.nan], pa.float16()),
    "bytes": lambda: pa.array([b"\xff\xfe", None]),
    "map": lambda: pa.array([[("a", 1), ("a", 2)], None], pa.map_(pa.string(), pa.int64())),
    "same names": lambda: pa.StructArray.from_arrays([pa.array([1, 2]), pa.array([3, 4])], ["a", "a"]),
    "dictionary": lambda: pa.array(["a", None]).dictionary_encode(),
    "union": lambda: pa.UnionArray.from_sparse(pa.array([0, 1], pa.int8()), [pa.array([1, 2]), pa.array(["a", "b"])]),
    "runs": lambda: pa.RunEndEncodedArray.from_arrays(pa.array([2], pa.int32()), pa.array(["x"])),
    "uuid": lambda: pa.array([b"1" * 16, None], pa.uuid()),
    "nothing": lambda: pa.nulls(2),
    "view": lambda: pa.array(["a", "b"], pa.string_view()),
    "text": lambda: pa.array(["a", " "]),
    "numbers": lambda: pa.array([[1.0, math.inf], None]),
    "turns": lambda: pa.array([[{"role": "user", "content": "a"}], []]),
}


@st.composite
def arrow_tables(draw: st.DrawFn) -> pa.Table:
    """Draw two rows of any types, or rows of JSON values that Arrow can hold."""
    names = [draw(st.sampled_from(FIELDS) | whole_texts) for _ in range(draw(st.integers(1, 3)))]
    if draw(st.booleans()):
        return pa.Table.from_arrays(
            [ARROW_COLUMNS[draw(st.sampled_from(sorted(ARROW_COLUMNS)))]() for _ in names], names
        )
    return pa.Table.from_pydict({name: [draw(whole_texts), draw(whole_texts | st.none())] for name in names})


def arrow_bytes(table: pa.Table, form: str) -> bytes:
    """Write a table as ``parquet``, or as an Arrow ``file`` or ``stream``."""
    file = io.BytesIO()
    if form == "parquet":
        pa.parquet.write_table(table, file)
    else:
        with (pa.ipc.new_file if form == "file" else pa.ipc.new_stream)(file, table.schema) as writer:
            writer.write_table(table)
    return file.getvalue()


_ROWS = [
    {
        "id": f"r{number}",
        "text": f"row {number} é " * (number + 1),
        "n": number,
        "list": [1.5, None],
        "more": {"a": "x"},
    }
    for number in range(5)
]
_LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in _ROWS).encode()
WHOLE: dict[str, tuple[str, bytes]] = {
    "lines": (".jsonl", _LINES),
    "list": (".json", json.dumps(_ROWS, indent=1).encode()),
    "gzip": (".jsonl.gz", gzip.compress(_LINES, mtime=0)),
    "csv": (".csv", b'id,text,n\r\na,"one, ""two""\r\nlines",1\r\nb,\xc3\xa9,2\r\n'),
    "parquet": (".parquet", arrow_bytes(pa.Table.from_pylist(_ROWS), "parquet")),
    "arrow file": (".arrow", arrow_bytes(pa.Table.from_pylist(_ROWS), "file")),
    "arrow stream": (".arrow", arrow_bytes(pa.Table.from_pylist(_ROWS), "stream")),
}
"""A good file of every form, with its extension."""


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """Draw a file with bits flipped, a piece cut out or put in, or its end missing."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, max(0, len(data) - 1)))
        match draw(st.sampled_from(["flip", "flip", "flip", "cut out", "put in", "end"])):
            case "flip" if data:
                data[start] ^= 1 << draw(st.integers(0, 7))
            case "cut out":
                del data[start : start + draw(st.integers(1, 64))]
            case "put in":
                data[start:start] = draw(st.binary(min_size=1, max_size=16))
            case "end":
                del data[start:]
    return bytes(data)


any_bytes = st.tuples(
    st.sampled_from(
        [b"", b"[", b"{", b"ARROW1\0\0", b"PAR1", b"\x1f\x8b\x08\0", b"\xef\xbb\xbf", b"text\n", b"\xff\xfe"]
    ),
    st.binary(max_size=200),
    st.sampled_from([b"", b"]", b"}", b"ARROW1", b"PAR1", b"\n"]),
).map(b"".join)
