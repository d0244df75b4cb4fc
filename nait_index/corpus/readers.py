"""Corpus file -> raw rows, one at a time, whatever the format.

Rows are numbered from 1, JSON lines by line. A row that cannot be read is rejected and reading goes on; a file that
cannot be read is an error.

In Parquet and Arrow files, values that JSON cannot express become text: bytes as UTF-8 (with backslash escapes where
invalid), others (dates, times, decimals, UUIDs) by Python's ``str``. NaN and infinity, by which pandas marks missing
values, become null.
"""

import gzip
import json
import math
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from nait_index.corpus.rows import RawRow, parse_row, printable, to_json
from nait_index.corpus.text_rows import csv_rows, json_line_rows, json_rows, refuse_repeated
from nait_index.errors import CorpusError, one_line
from nait_index.spelling import did_you_mean_path
from nait_index.types import Origin, Rejected

if TYPE_CHECKING:
    import pyarrow as pa

STDIN = Path("-")
STDIN_NAME = "stdin"

_STREAMED: dict[str, Callable[[BinaryIO, str], Iterator[RawRow | Rejected]]] = {
    ".json": json_rows,
    ".jsonl": json_line_rows,
    ".ndjson": json_line_rows,
    ".csv": csv_rows,
}
_ARROW = (".parquet", ".arrow", ".feather")
_SUFFIXES = (*_STREAMED, *(f"{suffix}.gz" for suffix in _STREAMED), *_ARROW)

_BATCH_ROWS = 1024
_NO_VALUE = (ValueError, OverflowError)  # dates before year 1 or after year 9999, for example
_FILE_MAGIC = b"ARROW1"  # begins the random-access format; the other format is the stream that `datasets` writes


def corpus_files(path: Path) -> list[Path]:
    """List the files of one corpus path, in reading order.

    A folder written by ``datasets``' ``save_to_disk`` yields its shards, any other folder the corpus files directly in
    it, by name.

    :raises CorpusError: the path, or something in it, cannot be read.
    """
    if path == STDIN:
        return [path]
    if not _is_name(path):
        raise CorpusError(f"{display_name(path)!r} cannot be the name of a file")
    with _explained(path):
        path.stat()
        files = _folder_files(path) if path.is_dir() else [path]
    for file in files:
        if _suffix(file) not in _SUFFIXES:
            problem = f"unknown extension {_suffix(file)}" if file.suffix else "a name without extension"
            raise CorpusError(f"{display_name(file)}: {problem}; known are {', '.join(_SUFFIXES)}")
    return files


def read_rows(file: Path) -> Iterator[RawRow | Rejected]:
    """Stream the rows of one file.

    :raises CorpusError: the file cannot be read, or only up to a point.
    """
    name, suffix = display_name(file), _suffix(file)
    with _explained(file):
        if file == STDIN:
            yield from json_rows(sys.stdin.buffer, name)
        elif suffix in _ARROW:
            yield from _arrow_rows(file, name, "Parquet" if suffix == ".parquet" else "Arrow")
        else:
            with gzip.open(file) if suffix.endswith(".gz") else file.open("rb") as stream:
                yield from _STREAMED[suffix.removesuffix(".gz")](cast(BinaryIO, stream), name)


def display_name(file: Path) -> str:
    """Return a file's name as the user gave it, in printable characters."""
    return STDIN_NAME if file == STDIN else printable(str(file))


def _folder_files(folder: Path) -> list[Path]:
    splits, state = folder / "dataset_dict.json", folder / "state.json"
    try:
        if splits.is_file():
            names = json.loads(splits.read_bytes())["splits"]
            return [file for name in names for file in _folder_files(_inside(folder, name))]
        if state.is_file():
            return [_inside(folder, shard["filename"]) for shard in json.loads(state.read_bytes())["_data_files"]]
    except (ValueError, LookupError, TypeError) as error:
        raise CorpusError(f"{display_name(folder)}: damaged save_to_disk folder ({error!r}); save it again") from error
    files = sorted(file for file in folder.iterdir() if _suffix(file) in _SUFFIXES and not file.name.startswith("."))
    if not files:
        raise CorpusError(f"{display_name(folder)}: a folder with no file that ends in {', '.join(_SUFFIXES)}")
    return files


def _is_name(path: Path) -> bool:
    """Return whether the system can have a file of this name."""
    try:
        return b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:  # half a surrogate pair
        return False


def _inside(folder: Path, name: str) -> Path:
    """Return a file directly in a folder, by a name that was read from a file and must not lead elsewhere."""
    if name in ("", "..") or Path(name).name != name or not name.isprintable():
        raise CorpusError(f"{display_name(folder)}: names {name!r}, which is not a file in this folder; save it again")
    return folder / name


def _suffix(file: Path) -> str:
    suffixes = [suffix.lower() for suffix in file.suffixes[-2:]]
    return "".join(suffixes) if suffixes[-1:] == [".gz"] else "".join(suffixes[-1:])


@contextmanager
def _explained(file: Path) -> Iterator[None]:
    """Turn the system's error about an unusable file into one clear line."""
    name = display_name(file)
    try:
        yield
    except FileNotFoundError as error:
        readable = os.access(file.parent, os.R_OK | os.X_OK)
        hint = did_you_mean_path(file) if readable else f", nor a folder {display_name(file.parent)} that can be read"
        raise CorpusError(f"{name}: no such file{hint}") from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise CorpusError(f"{name}: damaged or truncated gzip data ({error}); fetch or compress it again") from error
    except RecursionError as error:
        raise CorpusError(f"{name}: nested too deep to be read; write one object per line") from error
    except OSError as error:
        raise CorpusError(f"{name}: cannot be read: {error.strerror or one_line(error)}") from error


# ---- Parquet and Arrow files, a batch at a time ---------------------------------------------------------------------


def _arrow_rows(file: Path, name: str, kind: str) -> Iterator[RawRow | Rejected]:
    import pyarrow as pa

    try:
        number = 0
        for batch in _parquet_batches(file) if kind == "Parquet" else _arrow_batches(file):
            refuse_repeated(batch.schema.names, name)
            batch.validate(full=True)  # Arrow trusts the offsets in a file, and would follow damaged ones out of memory
            for start in range(0, batch.num_rows, _BATCH_ROWS):
                for value in _values(batch.slice(start, _BATCH_ROWS)):
                    number += 1
                    origin = Origin(name, number)
                    if isinstance(value, Exception):
                        yield Rejected(origin, f"holds a value that cannot be read: {one_line(value)}", "")
                    else:
                        yield parse_row(origin, to_json(_without_nan(value), default=_as_text))
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise CorpusError(
            f"{name}: not a complete and valid {kind} file ({one_line(error)}); fetch or write it again"
        ) from error


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


def _without_nan(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _as_text(value: object) -> str:
    return printable(value) if isinstance(value, bytes) else str(value)
