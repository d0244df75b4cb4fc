"""Corpus files of every kind -> samples and rejected rows, and what is said of files that are no corpus."""

import csv
import gzip
import io
import json
import os
import subprocess
import sys
import warnings
from array import array
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
from helpers import hand_over_lines
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nait_index.corpus import read_corpus, read_examples
from nait_index.corpus.columns import parse_columns
from nait_index.corpus.readers import read_rows
from nait_index.corpus.rows import MAX_DEPTH, RawRow
from nait_index.errors import CorpusError
from nait_index.types import Part, Reading, Rejected, RejectionCause, Role, RowFormat, Sample

ROWS: list[dict[str, Any]] = [{"text": f"row {number} é", "number": number} for number in range(1, 4)]
LINES = [json.dumps(row, ensure_ascii=False) for row in ROWS]


def write(path: Path, *lines: str | bytes) -> Path:
    """Write lines to a file."""
    path.write_bytes(b"".join((line if isinstance(line, bytes) else line.encode()) + b"\n" for line in lines))
    return path


def samples(*paths: Path | str, row_format: RowFormat | None = None) -> list[Sample]:
    """Read files all rows of which are usable."""
    read = list(read_corpus(paths, row_format))
    assert not [row for row in read if isinstance(row, Rejected)]
    return [row for row in read if isinstance(row, Sample)]


def rejected(*paths: Path | str) -> list[Rejected]:
    """Read files for their rejected rows."""
    return [row for row in read_corpus(paths) if isinstance(row, Rejected)]


def error_of(*paths: Path | str) -> str:
    """Read files that are refused, for the message, which must be one line."""
    with pytest.raises(CorpusError) as error:
        list(read_corpus(paths))
    assert "\n" not in str(error.value)
    return str(error.value)


def save_json(path: Path) -> None:
    """Write a JSON list, indented."""
    path.write_text(json.dumps(ROWS, indent=1), "utf-8")


def save_lines(path: Path) -> None:
    """Write JSON lines."""
    write(path, *LINES)


def save_gzip(path: Path) -> None:
    """Write JSON lines, compressed."""
    path.write_bytes(gzip.compress("\n".join(LINES).encode()))


def save_csv(path: Path) -> None:
    """Write CSV with a header."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ROWS[0])
        writer.writeheader()
        writer.writerows(ROWS)


def save_parquet(path: Path) -> None:
    """Write Parquet."""
    pa.parquet.write_table(pa.Table.from_pylist(ROWS), path)


def save_arrow(path: Path) -> None:
    """Write the streaming Arrow format."""
    table = pa.Table.from_pylist(ROWS)
    with pa.ipc.new_stream(path, table.schema) as file:
        file.write_table(table, max_chunksize=2)


def save_feather(path: Path) -> None:
    """Write the random-access Arrow format."""
    pa.feather.write_feather(pa.Table.from_pylist(ROWS), path, chunksize=2)


@pytest.mark.parametrize(
    ("name", "save"),
    [
        ("rows.json", save_json),
        ("lines.json", save_lines),
        ("rows.jsonl", save_lines),
        ("ROWS.JSONL", save_lines),
        ("rows.ndjson", save_lines),
        ("rows.v1.jsonl.gz", save_gzip),
        ("rows.json.gz", save_gzip),
        ("rows.csv", save_csv),
        ("rows.parquet", save_parquet),
        ("rows.arrow", save_arrow),
        ("rows.feather", save_feather),
        ("file.arrow", save_feather),
    ],
)
def test_every_file_format_gives_the_same_samples(tmp_path: Path, name: str, save: Any) -> None:
    """Ids, texts, rows and places do not depend on the kind of file; only CSV has no numbers."""
    path = tmp_path / name
    save(path)
    read = samples(path)
    assert [sample.id for sample in read] == [f"{name}:{number}" for number in (1, 2, 3)]
    assert [sample.parts for sample in read] == [(Part(Role.TEXT, row["text"]),) for row in ROWS]
    expected = [row | {"number": str(row["number"])} for row in ROWS] if "csv" in name else ROWS
    assert [sample.row for sample in read] == [json.dumps(row, ensure_ascii=False) for row in expected]
    assert [str(sample.origin) for sample in read] == [f"{path}, row {number}" for number in (1, 2, 3)]


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(categories=None)),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(), values, max_size=3),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    rows=st.lists(st.dictionaries(st.text(), json_values, max_size=4), min_size=1, max_size=4),
    separators=st.sampled_from([(",", ":"), (" , ", "\t: "), ("\r,", ":")]),
    line_end=st.sampled_from([b"\n", b"\r\n", b"\n \n\n"]),
    bom=st.booleans(),
)
def test_json_lines_come_back_byte_for_byte(
    tmp_path: Path, rows: list[dict[str, Any]], separators: tuple[str, str], line_end: bytes, bom: bool
) -> None:
    """Whatever JSON a row holds and however it is spaced, the bytes read are the bytes written again."""
    lines = [json.dumps(row | {"text": "a"}, separators=separators).encode() for row in rows]
    path, again = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" * bom + line_end.join(lines))
    read = [row for row in read_rows(path) if isinstance(row, RawRow)]
    hand_over_lines(again, [row.text for row in read], force=True)
    assert again.read_bytes() == b"".join(line + b"\n" for line in lines)
    assert [row.origin.row for row in read] == [1 + number * line_end.count(b"\n") for number in range(len(lines))]


def test_unusable_lines_are_rejected_and_reading_goes_on(tmp_path: Path) -> None:
    """Each has its line number, its reason and its text; blank lines are no rows."""
    deep = '{"text": ' + "[" * 100_000 + "]" * 100_000 + "}"
    deepish = '{"text": "a", "more": ' + "[" * MAX_DEPTH + "]" * MAX_DEPTH + "}"
    path = write(
        tmp_path / "rows.jsonl",
        LINES[0],
        "",
        '{"text": ',
        b'{"text": "\xff"}',
        "[1]",
        deep,
        deepish,
        '{"text": "\\ud800"}',
        '{"text": ""}',
        '{"n": ' + "1" * 5000 + "}",
        LINES[1],
        '{"text": "a", "meta": {"n": 1, "n": 2}}',
    )
    assert [(row.origin.row, row.reason) for row in rejected(path)] == [
        (3, "not JSON: Expecting value at column 10"),
        (4, "not valid UTF-8: byte 0xff at position 10"),
        (5, "a row must be a JSON object, this is a list"),
        (6, "nested more than 100 levels deep"),
        (7, "nested more than 100 levels deep"),
        (8, "field 'text' holds a lone surrogate (U+D800)"),
        (9, "no text: every text field is empty"),
        (10, "not usable JSON: an integer has too many digits"),
        (12, "an object has the key 'n' twice, and only one value can be read"),
    ]
    assert [row.row for row in rejected(path)][:2] == ['{"text": ', '{"text": "\\xff"}']
    assert [row.id for row in read_corpus([path]) if isinstance(row, Sample)] == ["rows.jsonl:1", "rows.jsonl:11"]


def test_csv_rows_that_break_the_rules(tmp_path: Path) -> None:
    """Ragged rows, stray quotes and foreign bytes cost one row each; long fields and line breaks none."""
    long = "x" * 200_000
    path = write(
        tmp_path / "rows.csv",
        b"\xef\xbb\xbfid,text",
        "first",
        'a,"one, ""two""\nlines"',
        "",
        "b",
        "c,d,e",
        'f,"g"h',
        b"i,\xe9",
        f"j,{long}",
    )
    read = list(read_corpus([path]))
    assert [(row.id, row.parts[0].text) for row in read if isinstance(row, Sample)] == [
        ("a", 'one, "two"\nlines'),
        ("j", long),
    ]
    assert [(row.origin.row, row.reason, row.row) for row in read if isinstance(row, Rejected)] == [
        (1, "1 values under a header of 2", "first"),
        (3, "1 values under a header of 2", "b"),
        (4, "3 values under a header of 2", "c,d,e"),
        (5, "not CSV: ',' expected after '\"'", 'f,"g"h'),
        (6, "not valid UTF-8", "i,\\xe9"),
    ]


def test_a_stray_quote_that_leaves_one_open_ends_a_csv_file(tmp_path: Path) -> None:
    """The lines after it belong to the same row, and are no rows by themselves."""
    path = write(tmp_path / "rows.csv", "id,text", "a,b", 'c,"He said "yes"', 'd,and left."', "e,f")
    rows = read_rows(path)
    assert isinstance(next(rows), RawRow)
    with pytest.raises(CorpusError, match=r"rows.csv, row 2: not CSV: .*; write a quote inside a value as \"\""):
        next(rows)


def test_values_that_are_stored_once_for_a_run_of_rows(tmp_path: Path) -> None:
    runs = pa.RunEndEncodedArray.from_arrays([2], ["web"])
    with pa.ipc.new_stream(tmp_path / "rows.arrow", pa.schema([("text", pa.string()), ("source", runs.type)])) as file:
        file.write(pa.record_batch([pa.array(["a", "b"]), runs], names=["text", "source"]))
    assert [json.loads(sample.row)["source"] for sample in samples(tmp_path / "rows.arrow")] == ["web", "web"]


def test_arrow_values_that_json_lacks(tmp_path: Path) -> None:
    """Dates, decimals and bytes become text, NaN is left out, and null in a list."""
    row = {"text": "a", "day": date(2026, 1, 2), "price": Decimal("1.50"), "raw": b"\xff\xc3\xa9"}
    path = tmp_path / "rows.parquet"
    pa.parquet.write_table(pa.Table.from_pylist([row | {"score": float("nan"), "all": [float("inf"), 1.0]}]), path)
    assert json.loads(samples(path)[0].row) == {
        "text": "a",
        "day": "2026-01-02",
        "price": "1.50",
        "raw": "\\xffé",
        "all": [None, 1.0],
    }


def _calling_row(number: int) -> dict[str, Any]:
    """Make a row whose calls, tools and notes have other keys than those of the next."""
    arguments: dict[str, Any] = ({"x": number or 0.5, "content": "c"}, {"city": "Rome", "role": "guide"}, {})[
        number % 3
    ]
    properties = {"x": {"type": "integer"}} if number % 2 else {"city": {"type": "string", "enum": ["a", "b"]}}
    call = {"id": f"c{number}", "type": "function", "function": {"name": "f", "arguments": arguments}}
    row: dict[str, Any] = {
        "id": f"r{number}",
        "messages": [
            {"role": "user", "content": f"Call {number}"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
        ],
    }
    if number % 2 == 0:
        row["messages"] += [
            {"role": "tool", "content": "5", "tool_call_id": f"c{number}"},
            {"role": "assistant", "content": "done", "weight": 0.5},
        ]
    if number % 3 != 1:
        row["tools"] = [{"type": "function", "function": {"name": "f", "parameters": {"properties": properties}}}]
    if number % 4 == 0:
        row["meta"] = {"lang": "en", "tags": ["a", None]}
    elif number % 4 == 1:
        row["meta"] = {"n": number}
    return row


CALLING = [_calling_row(number) for number in range(8)]


def as_text(kind: pa.DataType) -> pa.DataType:
    """Replace the JSON types in an Arrow type by text, as older versions of pyarrow and other tools write them."""
    if isinstance(kind, pa.BaseExtensionType):
        return kind.storage_type
    if pa.types.is_list(kind):
        return pa.list_(as_text(kind.value_type))
    return pa.struct([(part.name, as_text(part.type)) for part in kind]) if pa.types.is_struct(kind) else kind


def save_nulls(path: Path) -> None:
    """Write a table in which every object has the keys of all."""
    pa.parquet.write_table(pa.Table.from_pylist(CALLING), path)


def save_json_columns(path: Path, *, folder: bool = False, in_metadata: bool = False) -> None:
    """Write ``Json()`` columns, at several depths."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        datasets = pytest.importorskip("datasets", reason="the library that has such columns is not installed")
        datasets.disable_progress_bars()
        made = datasets.Dataset.from_list(CALLING, on_mixed_types="use_json")
        assert str(made.features).count("Json(") == 3
        if folder:
            made.save_to_disk(path)
            return
        table = made.data.table
        if in_metadata:
            fields = [(field.name, as_text(field.type)) for field in table.schema]
            table = pa.Table.from_pylist(table.to_pylist(), schema=pa.schema(fields, table.schema.metadata))
        pa.parquet.write_table(table, path)


def save_data_frame(path: Path) -> None:
    """Write rows by pandas, with an index of their own."""
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    pandas.DataFrame(CALLING[::2] + CALLING[1::2]).sort_values("id").to_parquet(path)
    assert "__index_level_0__" in pa.parquet.read_schema(path).names


def save_text_of_tools(path: Path) -> None:
    """Write tools and arguments as JSON text, as tables often hold them."""
    rows: list[dict[str, Any]] = json.loads(json.dumps(CALLING))
    for row in rows:
        for turn in row["messages"]:
            for call in turn.get("tool_calls", ()):
                call["function"]["arguments"] = json.dumps(call["function"]["arguments"])
        row["tools"] = json.dumps(row["tools"]) if "tools" in row else ""
    write(path, *map(json.dumps, rows))


@pytest.mark.parametrize(
    ("name", "save"),
    [
        ("nulls.parquet", save_nulls),
        ("json.parquet", save_json_columns),
        ("json", partial(save_json_columns, folder=True)),
        ("text.parquet", partial(save_json_columns, in_metadata=True)),
        ("frame.parquet", save_data_frame),
        ("text.jsonl", save_text_of_tools),
    ],
)
def test_rows_of_tables_are_those_of_json_lines(tmp_path: Path, name: str, save: Any) -> None:
    """The same text, content hash and row; only what a row holds as text stays text."""
    save(tmp_path / name)
    expected = samples(write(tmp_path / "rows.jsonl", *map(json.dumps, CALLING)))
    read = samples(tmp_path / name)
    assert [sample.id for sample in read] == [sample.id for sample in expected]
    assert [sample.parts for sample in read] == [sample.parts for sample in expected]
    assert [sample.content_hash for sample in read] == [sample.content_hash for sample in expected]
    if name != "text.jsonl":
        assert [json.loads(sample.row) for sample in read] == CALLING


@pytest.mark.parametrize(
    ("row", "other", "same"),
    [
        ({"input": ""}, {}, True),
        ({"input": None, "tools": [], "more": {}}, {"tools": ""}, True),
        ({"meta": {"a": None, "b": 1}}, {"meta": {"b": 1}}, True),
        ({"score": float("nan")}, {}, True),
        ({"score": float("-inf")}, {}, True),
        ({"meta": {"n": 1.0}}, {"meta": {"n": 1}}, True),
        ({"n": -0.0}, {"n": 0}, True),
        ({"n": 1.5}, {"n": 1}, False),
        ({"tools": '[{"name": "f"}]'}, {"tools": [{"name": "f"}]}, True),
        ({"tools": ['{"name": "f"}']}, {"tools": [{"name": "f"}]}, True),
        ({"tags": ["a", None]}, {"tags": ["a"]}, False),
        ({"meta": {"a": ""}}, {"meta": {}}, False),
        ({"n": 1}, {"n": 2}, False),
        ({"note": '{"a": 1}'}, {"note": {"a": 1}}, False),
    ],
)
def test_rows_that_mean_the_same_have_one_hash(
    tmp_path: Path, row: dict[str, Any], other: dict[str, Any], same: bool
) -> None:
    base = {"instruction": "a", "output": "b"}
    read = samples(write(tmp_path / "rows.jsonl", json.dumps(base | row), json.dumps(base | other)))
    assert (read[0].content_hash == read[1].content_hash) is same


TURNS = [{"role": "user", "content": "<image>\nWhat is it?"}, {"role": "assistant", "content": "A cat."}]
PIECE = {"type": "text", "text": "What is it?"}
PICTURED = {"role": "user", "content": [{"type": "image"}, PIECE]}


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"images": ["a.png"]}, "carries images in the field 'images', and only text is read"),
        ({"image": "a.png"}, "carries images in the field 'image'"),
        ({"image": {"bytes": None, "path": "a.png"}}, "carries images in the field 'image'"),
        (
            {"scan": {"bytes": "iVBORw0KGgo=", "path": None}},
            "images or the like as bytes in the field 'scan'",
        ),
        ({"imagePath": "a.png"}, "carries images in the field 'imagePath'"),
        (
            {"messages": [TURNS[0] | {"images": ["a.png"]}, TURNS[1]]},
            "images in the field 'images' of a turn, and only",
        ),
        ({"videos": ["a.mp4"]}, "carries video in the field 'videos'"),
        ({"audio_path": "a.wav"}, "carries audio in the field 'audio_path'"),
        (
            {"messages": [PICTURED, TURNS[1]]},
            "in the content of 'messages'",
        ),
        (
            {"messages": [{"role": "user", "content": [PIECE, {"type": "input_audio", "input_audio": {}}]}, TURNS[1]]},
            "carries audio in the content",
        ),
        ({"images": []}, None),
        ({"images": None, "image_count": 2, "image_caption": "A cat."}, None),
        ({"images": [None], "image": {"bytes": None, "path": None}}, None),
        ({"videography": "a", "audio": ""}, None),
        ({}, None),
    ],
)
def test_rows_that_carry_more_than_text(tmp_path: Path, more: dict[str, Any], reason: str | None) -> None:
    """Images, video and audio cost the row, wherever they are; a mark in the text alone does not."""
    path = write(tmp_path / "rows.jsonl", json.dumps({"messages": TURNS} | more))
    (row,) = read_corpus([path])
    if reason is None:
        assert isinstance(row, Sample)
    else:
        assert isinstance(row, Rejected)
        assert reason in row.reason
        assert row.cause is RejectionCause.MEDIA


@pytest.mark.parametrize(
    ("row", "columns", "reason"),
    [
        ({"prompt": "q", "chosen": [PICTURED], "rejected": "b"}, "", "carries images in the content of 'chosen'"),
        ({"prompt": "q", "chosen": "a", "rejected": PICTURED}, "", "carries images in the content of 'rejected'"),
        ({"question": [PICTURED], "response": "a"}, "", "carries images in the content of 'question'"),
        ({"dialog": [PICTURED, TURNS[1]]}, "messages=dialog", "carries images in the content of 'messages'"),
        ({"data": {"dialog": [PICTURED, TURNS[1]]}}, "messages=data.dialog", "in the content of 'messages'"),
        ({"text": "a", "sources": [{"title": "A cat.", "image": "a.png"}]}, "", None),
    ],
)
def test_images_are_noticed_in_turns_of_any_column(
    tmp_path: Path, row: dict[str, Any], columns: str, reason: str | None
) -> None:
    path = write(tmp_path / "rows.jsonl", json.dumps(row))
    (read,) = read_corpus([path], reading=Reading(columns=parse_columns(columns)))
    assert reason is None if isinstance(read, Sample) else reason is not None and reason in read.reason


def test_images_in_a_table_of_datasets(tmp_path: Path) -> None:
    """They are described, not copied into the rejected rows; a row without one is a row of text."""
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    picture = {"bytes": b"\x89PNG" * 1000, "path": "a.png"}
    table = pa.table({"text": ["a", "b"], "photo": pa.array([picture, None], kind)})
    pa.parquet.write_table(table, tmp_path / "rows.parquet")
    carrying, plain = read_corpus([tmp_path / "rows.parquet"])
    assert isinstance(carrying, Rejected)
    assert json.loads(carrying.row) == {"text": "a", "photo": {"bytes": "(4,000 bytes)", "path": "a.png"}}
    assert isinstance(plain, Sample)
    assert plain.row == '{"text": "b"}'


def test_maps_and_categories_of_a_table(tmp_path: Path) -> None:
    """A map is an object if its keys are text; a category is its text."""
    columns = {
        "text": pa.array(["a", "b"]).dictionary_encode(),
        "named": pa.array([[("k", 1)], [("k", 1), ("k", 2)]], pa.map_(pa.string(), pa.int64())),
        "numbered": pa.array([[(1, "a")], []], pa.map_(pa.int64(), pa.string())),
    }
    pa.parquet.write_table(pa.table(columns), tmp_path / "rows.parquet")
    assert [json.loads(sample.row) for sample in samples(tmp_path / "rows.parquet")] == [
        {"text": "a", "named": {"k": 1}, "numbered": [[1, "a"]]},
        {"text": "b", "named": [["k", 1], ["k", 2]], "numbered": {}},
    ]


def test_arrow_values_that_python_lacks_cost_one_row(tmp_path: Path) -> None:
    """Dates of before year 1 and after year 9999, zones that do not exist, text that is not UTF-8."""
    days = pa.array([0, 2**31 - 1, -(2**31), 1], pa.int32())
    when = pa.Array.from_buffers(pa.date32(), 4, days.buffers())
    path = tmp_path / "rows.parquet"
    pa.parquet.write_table(pa.table({"text": ["a", "b", "c", "d"], "when": when}), path)
    read = list(read_corpus([path]))
    assert [json.loads(row.row)["when"] for row in read if isinstance(row, Sample)] == ["1970-01-01", "1970-01-02"]
    lost = [(row.origin.row, row.reason, row.row) for row in read if isinstance(row, Rejected)]
    assert [(number, content) for number, _, content in lost] == [(2, ""), (3, "")]
    assert all(reason.startswith("holds a value that cannot be read: ") for _, reason, _ in lost)


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    """As in CSV: one of the two would silently be left out."""
    table = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], ["text", "text"])
    for name in ("rows.parquet", "rows.arrow"):
        path = tmp_path / name
        pa.parquet.write_table(table, path) if ".p" in name else pa.feather.write_feather(table, path)
        assert "two columns named 'text'; rename one" in error_of(path)


@pytest.mark.parametrize("writer", [pa.ipc.new_file, pa.ipc.new_stream])
def test_damaged_offsets_in_an_arrow_file_are_refused(writer: Any, tmp_path: Path) -> None:
    """Arrow itself follows them to wherever they lead."""
    table = pa.table({"text": ["four", "five5", "six"]})
    file = io.BytesIO()
    with writer(file, table.schema) as opened:
        opened.write_table(table)
    offsets = [array("i", positions).tobytes() for positions in ([0, 4, 9, 12], [0, 4, 3, 12])]
    assert file.getvalue().count(offsets[0]) == 1
    path = tmp_path / "rows.arrow"
    path.write_bytes(file.getvalue())
    assert [sample.parts[0].text for sample in samples(path)] == ["four", "five5", "six"]
    path.write_bytes(file.getvalue().replace(*offsets))
    assert "not a complete and valid Arrow file" in error_of(path)


def save_to_disk(folder: Path, splits: Sequence[str] = ()) -> None:
    """Write what the real library saves: shards, or one row less in each split than in the one before."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        datasets = pytest.importorskip("datasets", reason="the library that writes such folders is not installed")
        datasets.disable_progress_bars()
        whole = datasets.Dataset.from_list(ROWS)
        if splits:
            parts = {name: whole.select(range(len(ROWS) - number)) for number, name in enumerate(splits)}
            datasets.DatasetDict(parts).save_to_disk(folder)
        else:
            whole.save_to_disk(folder, num_shards=2)


def test_save_to_disk_folder(tmp_path: Path) -> None:
    """What the real library saves is read without it, shard after shard."""
    save_to_disk(tmp_path / "saved")
    read = samples(tmp_path / "saved")
    assert [sample.id for sample in read] == ["saved:1", "saved:2", "saved:3"]
    assert [sample.row for sample in read] == LINES
    assert [sample.origin.row for sample in read] == [1, 2, 1]
    assert read[2].origin.file.endswith("data-00001-of-00002.arrow")


def save_named(folder: Path, names: Sequence[str]) -> None:
    """Write JSON lines under names; each file has one row less than the one before."""
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write(folder / name, *LINES[: len(ROWS) - number])


@pytest.mark.parametrize(
    ("save", "splits"),
    [
        (partial(save_to_disk, splits=["train", "held_out"]), ["train", "held_out"]),
        (partial(save_named, names=["train.jsonl", "test.jsonl"]), ["train", "test"]),
        (partial(save_named, names=["x_train.jsonl", "x-dev.json"]), ["train", "dev"]),
        (
            partial(save_named, names=["data/train-00000-of-00001.jsonl", "data/validation.jsonl"]),
            ["train", "validation"],
        ),
        (
            partial(save_named, names=["train_sft-00000-of-00001-a09b.jsonl", "gen-00000-of-00001.jsonl"]),
            ["train_sft", "gen"],
        ),
        (partial(save_named, names=["train/a.jsonl", "test/b.jsonl"]), ["train", "test"]),
    ],
)
def test_a_folder_of_splits_asks_which(tmp_path: Path, save: Any, splits: list[str]) -> None:
    """One split is read unchanged; of all, every row has the name of its split, and ids of both kinds are the same."""
    folder = tmp_path / "set"
    save(folder)
    (folder / "dataset_infos.json").write_text("{}")
    message = error_of(folder)
    assert "'build' and 'add' take one with --split train" in message
    assert all(name in message for name in splits)
    with pytest.raises(CorpusError, match=r"has no split 'trian'; it has .*, .*"):
        read_corpus([folder], split="trian")
    for number, name in enumerate(splits):
        chosen = [row for row in read_corpus([folder], split=name) if isinstance(row, Sample)]
        assert [sample.row for sample in chosen] == LINES[: len(ROWS) - number]
        assert [sample.id for sample in chosen] == [f"set/{name}:{row}" for row in range(1, len(ROWS) + 1 - number)]
    everything = [row for row in read_corpus([folder], split="all") if isinstance(row, Sample)]
    expected = {
        f"set/{name}:{row}": ROWS[row - 1] | {"split": name}
        for number, name in enumerate(splits)
        for row in range(1, len(ROWS) + 1 - number)
    }
    assert {sample.id: json.loads(sample.row) for sample in everything} == expected


@pytest.mark.parametrize("names", [["alpaca.jsonl", "test.jsonl"], ["gsm8k.jsonl", "gsm8k_eval.jsonl"]])
def test_a_test_split_beside_files_of_no_split_is_not_taken_for_training(tmp_path: Path, names: list[str]) -> None:
    save_named(tmp_path / "set", names)
    message = error_of(tmp_path / "set")
    assert f"holds {names[1]}, of the split" in message
    assert "--split all" in message
    assert "name the files" in message
    assert len(list(read_corpus([tmp_path / "set"], split="all"))) == 2 * len(ROWS) - 1
    assert len(list(read_corpus([tmp_path / "set" / names[0]]))) == len(ROWS)


@pytest.mark.parametrize(
    "names",
    [
        ["code.jsonl", "math.jsonl"],
        ["math_train.jsonl", "code_train.jsonl"],
        ["train-00000-of-00002.jsonl", "train-00001-of-00002.jsonl"],
        ["dolly-00000-of-00001.jsonl", "flan-00000-of-00001.jsonl"],
        ["unit_test_writing.jsonl", "training_plans_for_runners.jsonl"],
        ["data/code.jsonl", "data/train.jsonl"],
    ],
)
def test_a_folder_of_parts_is_one_corpus(tmp_path: Path, names: list[str]) -> None:
    save_named(tmp_path / "set", names)
    read = samples(tmp_path / "set")
    assert sorted(sample.row for sample in read) == sorted([*LINES, *LINES[:2]])
    assert [sample.id for sample in read] == [f"set:{row}" for row in range(1, 6)]
    with pytest.raises(CorpusError, match="has no split 'test'"):
        read_corpus([tmp_path / "set"], split="test")


def test_a_split_that_rows_name_themselves_is_kept(tmp_path: Path) -> None:
    """A file that is named itself has the split of its name too, where all are asked for."""
    rows = ['{"text": "a", "split": "train"}', '{"text": "b", "split": 3}', '{"text": "c", "split": null}']
    rows.append('{"text": "d", "split": "x", "original_split": "y"}')
    path = write(tmp_path / "train.jsonl", *rows)
    assert [sample.row for sample in samples(path)] == rows
    read = [row for row in read_corpus([path], split="all") if isinstance(row, Sample)]
    assert [sample.id for sample in read] == [f"train.jsonl:{number}" for number in range(1, 5)]
    assert [json.loads(sample.row) for sample in read] == [
        {"text": "a", "split": "train"},
        {"original_split": 3, "text": "b", "split": "train"},
        {"text": "c", "split": "train"},
        {"original_original_split": "x", "text": "d", "original_split": "y", "split": "train"},
    ]


def test_configurations_of_a_data_set_are_named(tmp_path: Path) -> None:
    save_named(tmp_path, ["main/train.jsonl", "socratic/train.jsonl"])
    assert error_of(tmp_path).endswith("a folder with no corpus file; name one of the folders in it: main, socratic")


def test_folder_of_corpus_files(tmp_path: Path) -> None:
    """A folder stands for the corpus files in it, by name, each with its own format."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    write(folder / "b.jsonl", LINES[0], "", LINES[1])
    write(folder / "a.json", '{"instruction": "do", "output": "done"}')
    write(folder / ".hidden.jsonl", "no")
    write(folder / "empty.jsonl")
    write(folder / "README.md", "no")
    read = samples(folder)
    assert [(sample.id, Path(sample.origin.file).name, sample.origin.row) for sample in read] == [
        ("corpus:1", "a.json", 1),
        ("corpus:2", "b.jsonl", 1),
        ("corpus:3", "b.jsonl", 3),
    ]


def test_folders_in_a_folder_of_files_are_named_as_unread(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save_named(tmp_path / "set", ["code.jsonl", "old/code.jsonl", "test/math.jsonl", "notes/README.md"])
    assert [sample.row for sample in samples(tmp_path / "set")] == LINES[: len(ROWS)]
    assert "set: only the files directly in it are read, not those in old, test" in caplog.text


@pytest.mark.parametrize("text", ["\n".join(LINES), "\n \n" + json.dumps(ROWS, indent=1)])
def test_standard_input(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """``-`` reads JSON lines or a JSON list."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    read = samples("-")
    assert [sample.parts[0].text for sample in read] == [row["text"] for row in ROWS]
    assert [sample.id for sample in read] == ["stdin:1", "stdin:2", "stdin:3"]
    assert read[0].origin.file == "stdin"


def test_files_are_streamed(tmp_path: Path) -> None:
    """The first sample of a file is there before its end is read."""
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(LINES * 1000).encode())[:-20])
    rows = read_corpus([path])
    assert isinstance(next(rows), Sample)
    with pytest.raises(CorpusError, match="damaged or truncated gzip data"):
        list(rows)


def test_own_ids(tmp_path: Path) -> None:
    """Text and whole numbers are ids, quotes and all; nothing and invisible text are none; the rest is refused."""
    ids = ['it\'s "x"', 7, None, " \u200b", 1.5, True, ["a"], "x" * 1025, "\ud800"]
    path = write(tmp_path / "rows.jsonl", *(json.dumps({"id": value, "text": "a"}) for value in ids))
    read = list(read_corpus([path]))
    assert [row.id for row in read if isinstance(row, Sample)] == ['it\'s "x"', "7", "rows.jsonl:3", "rows.jsonl:4"]
    assert [row.reason for row in read if isinstance(row, Rejected)] == [
        "field 'id' is a number, expected text or an integer",
        "field 'id' is a boolean, expected text or an integer",
        "field 'id' is a list, expected text or an integer",
        "field 'id' has 1025 characters, 1024 are allowed",
        "field 'id' holds a lone surrogate (U+D800)",
    ]


def test_first_usable_row_keeps_its_id(tmp_path: Path) -> None:
    """A second row with an id is rejected, in whichever file; a rejected row takes no id."""
    row = '{"id": "x", "text": "a"}'
    first = write(tmp_path / "a.jsonl", '{"id": "x", "text": ""}', row, row)
    second = write(tmp_path / "b.jsonl", '{"id": "a.jsonl:1", "text": "a"}', row)
    assert [(row.origin.file, row.origin.row, row.reason) for row in rejected(first, second)] == [
        (str(first), 1, "no text: every text field is empty"),
        (str(first), 3, f"duplicate id 'x', first seen at {first}, row 2"),
        (str(second), 2, f"duplicate id 'x', first seen at {first}, row 2"),
    ]


def test_files_of_the_same_name(tmp_path: Path) -> None:
    """They are refused where ids are made of the name, and only there."""
    for folder in "ab":
        (tmp_path / folder).mkdir()
    bare = [write(tmp_path / folder / "rows.jsonl", LINES[0]) for folder in "ab"]
    message = error_of(*bare)
    assert all(str(path) in message for path in bare)
    assert "rename one file" in message
    write(bare[1], '{"id": 1, "text": "a"}')
    assert len(samples(*bare)) == 2


def test_detection_can_be_overruled(tmp_path: Path) -> None:
    """``row_format`` decides for every file."""
    path = write(tmp_path / "rows.jsonl", '{"instruction": "a", "output": "b", "text": "a b"}')
    assert samples(path)[0].parts[0].role == Role.USER
    assert samples(path, row_format=RowFormat.TEXT)[0].parts == (Part(Role.TEXT, "a b"),)


def test_paths_are_checked_before_rows_are_read(tmp_path: Path) -> None:
    """A wrong last path is found at once, not after the files before it."""
    good = write(tmp_path / "good.jsonl", *LINES)
    with pytest.raises(CorpusError, match=r"no such file; did you mean .*good\.jsonl\?"):
        read_corpus([good, tmp_path / "goood.jsonl"])
    (tmp_path / "folder").mkdir()
    inside = write(tmp_path / "folder" / "in.jsonl", *LINES)
    with pytest.raises(CorpusError, match=r"in\.jsonl: given twice; name each corpus file once"):
        read_corpus([tmp_path / "folder", tmp_path / "folder" / ".." / "folder" / inside.name])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.jsonl", b"", "empty, there is not one row in it"),
        ("rows.json", b" \n\n", "empty, there is not one row in it"),
        ("rows.csv", b"", "empty, there is not one row in it"),
        ("rows.csv", b"text\n", "empty, there is not one row in it"),
        ("rows.jsonl", b"hello\nworld\n", "row 1: not JSON: Expecting value at column 1, and none of the first 2 rows"),
        ("rows.jsonl", b"\xff\xfea\x00\n", "row 1: not valid UTF-8: byte 0xff at position 0, and none of the first 1"),
        ("rows.json", b'["a", "b"]', "row 1: a row must be a JSON object, this is text, and none of the first 2"),
        ("rows.json", b'[{"text": "a"},\n {"text": }]', "not a valid JSON list: Expecting value at line 2, column 11"),
        ("rows.json", b'[{"text": "\xff"}]', "not valid UTF-8 at byte 11; convert it to UTF-8"),
        (
            "rows.json",
            b'{\n"data": [\n{"text": "a"}]}',
            "rows are objects, one per line in JSON lines, or all in one list",
        ),
        ("rows.json", b'[{"text": "a", "text": "b"}]', "an object has the key 'text' twice"),
        ("rows.json", b"[" * 100_000, "nested too deep to be read; write one object per line"),
        ("rows.json", b"[" + b"1" * 5000 + b"]", "an integer in this JSON list has too many digits"),
        ("rows.jsonl", b'{"ask": "a"}', "the fields of the first rows ('ask') match no row format"),
        ("rows.csv", b'text\n"a\nb\n', "row 1: a quote that opens here is never closed"),
        ("rows.csv", b'"te"xt\n', "the first line is not a CSV header"),
        ("rows.csv", b"text,text\na,b\n", "has two columns named 'text'; rename one"),
        ("rows.xlsx", b"PK", "unknown extension .xlsx; known are .json, .jsonl,"),
        ("rows", b"{}", "a name without extension; known are .json, .jsonl,"),
        ("rows.jsonl.gz", b'{"text": "a"}', "damaged or truncated gzip data"),
        ("rows.jsonl.gz", gzip.compress(b'{"text": "a"}' * 99, mtime=0)[:-12], "damaged or truncated gzip data"),
        ("rows.parquet", b"", "not a complete and valid Parquet file"),
        ("rows.parquet", b"PAR1 no PAR1", "rows.parquet: "),
        ("rows.arrow", b"", "rows.arrow: "),
        ("rows.arrow", b"ARROW1 no", "not a complete and valid Arrow file"),
        ("rows.feather", b"{'text': 'a'}", "not a complete and valid Arrow file"),
    ],
)
def test_unusable_files(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    """One line: which file, what was found, what to do."""
    path = tmp_path / name
    path.write_bytes(content)
    error = error_of(path)
    assert error.startswith(str(path))
    assert message in error


def test_truncated_parquet(tmp_path: Path) -> None:
    """A Parquet file that lost its end, or its middle, is an error."""
    path = tmp_path / "rows.parquet"
    save_parquet(path)
    path.write_bytes(path.read_bytes()[:-30])
    assert "not a complete and valid Parquet file" in error_of(path)


def test_unusable_folders(tmp_path: Path) -> None:
    """Nothing readable in it, or a save_to_disk folder that is not whole."""
    assert "a folder with no file that ends in .json, .jsonl" in error_of(tmp_path)
    assert "no such file, nor a folder" in error_of(tmp_path / "no" / "rows.jsonl")
    (tmp_path / "state.json").write_text('{"_data_files": [{"filename": "data-0.arrow"}]}')
    assert "no such file" in error_of(tmp_path)
    (tmp_path / "state.json").write_text("{}")
    assert "damaged save_to_disk folder" in error_of(tmp_path)


@pytest.mark.parametrize("name", ["a\0b.jsonl", "\ud800.jsonl"])
def test_what_cannot_be_the_name_of_a_file(name: str) -> None:
    """It is said in characters that can be written."""
    error = error_of(name)
    assert error.endswith("cannot be the name of a file")
    assert error.isprintable()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_permission_denied(tmp_path: Path) -> None:
    """The system's reason is passed on."""
    path = write(tmp_path / "rows.jsonl", *LINES)
    path.chmod(0)
    assert "cannot be read: Permission denied" in error_of(path)


def test_only_rubbish_at_the_start_is_an_error(tmp_path: Path) -> None:
    """A wrong file is not read to its end and rejected row by row."""
    path = write(tmp_path / "rows.jsonl", *["rubbish"] * 1000, LINES[0])
    assert "none of the first 1000 rows can be read" in error_of(path)
    write(path, *["rubbish"] * 999, LINES[0])
    assert len(rejected(path)) == 999


def test_arrow_is_not_imported_for_text_files(tmp_path: Path) -> None:
    """Reading JSON lines must not cost the import of pyarrow."""
    path = write(tmp_path / "rows.jsonl", *LINES)
    code = (
        "import sys; from nait_index.corpus import read_corpus; list(read_corpus([sys.argv[1]]));"
        "print([name for name in ('pyarrow', 'jinja2', 'transformers', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_examples_are_numbered_whatever_ids_they_have(tmp_path: Path) -> None:
    rows = [json.dumps({"id": number, "text": f"t{number}"}) for number in range(2)]
    first, second = write(tmp_path / "first.jsonl", *rows), write(tmp_path / "second.jsonl", *rows)
    files = [first, second, write(tmp_path / "third.txt", *rows)]
    for name in "ab":
        (tmp_path / name).mkdir()
        files.append(write(tmp_path / name / "same.jsonl", '{"text": "a"}', '{"id": [], "text": "b"}'))
    read = read_examples(files)
    assert [type(item) for item in read] == [Sample] * 10
    assert [item.id for item in read[:3] if isinstance(item, Sample)] == [
        "first.jsonl:1",
        "first.jsonl:2",
        "second.jsonl:1",
    ]
    with pytest.raises(CorpusError, match="given twice"):
        read_examples([first, first])
