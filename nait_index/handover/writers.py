"""Rows → a file or folder, of the kind that the suffix of its name stands for.

In a table every column has one type. What is absent is null, and so is an empty object. Objects with different keys
share one type, so each would get the other's keys as nulls; that would change definitions of tools and arguments of
calls, which are therefore written as JSON text. Axolotl reads both that way, TRL and LLaMA-Factory the definitions.
In CSV every value is text, and lists and objects are JSON text.
"""

import csv
import io
import os
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nait_index.corpus import to_json
from nait_index.errors import NaitError, OutputExistsError
from nait_index.files import Together
from nait_index.handover.rows import OutRow

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa


class OutputKind(StrEnum):
    """What rows can be written as; the value is the suffix."""

    JSONL = ".jsonl"
    JSON = ".json"
    PARQUET = ".parquet"
    CSV = ".csv"
    FOLDER = ""

    @property
    def loader(self) -> str | None:
        """The kind's name in ``datasets.load_dataset``; ``None`` for a folder, which ``load_from_disk`` opens."""
        return {".jsonl": "json", ".json": "json", ".parquet": "parquet", ".csv": "csv"}.get(self)


def kind_of(path: str | Path) -> OutputKind:
    """Return the kind of file that a name stands for; a name without a suffix, or with a slash at its end, is a folder.

    :raises NaitError: no kind has this suffix.
    """
    suffix = "" if str(path).endswith(("/", os.sep)) else Path(path).suffix.lower()
    try:
        return OutputKind(suffix)
    except ValueError:
        known = ", ".join(kind for kind in OutputKind if kind)
        raise NaitError(
            f"{path}: cannot write {suffix}; use {known}, or a / at the end for a folder that load_from_disk opens"
        ) from None


def check_rows_path(path: Path, kind: OutputKind) -> None:
    """Check that rows of a kind can be written to a path. A folder is replaced only if it holds a dataset.

    :raises OutputExistsError: something is in the way. :raises NaitError: the path names nothing.
    """
    if path.name in ("", ".."):
        raise NaitError(f"'{path}' names no file or folder to be written; add a name")
    if kind is OutputKind.FOLDER:
        require_datasets(f"{path}: a folder")
    if path.is_dir():
        if kind is not OutputKind.FOLDER:
            raise OutputExistsError(f"{path} is a folder; name a file in it")
        if not (path / "state.json").is_file():
            raise OutputExistsError(f"{path} is a folder that holds no dataset; choose another name")
    elif kind is OutputKind.FOLDER and path.exists():
        raise OutputExistsError(f"{path} is a file; choose another name for the folder")


def write_rows(rows: Iterable[OutRow], path: Path, kind: OutputKind, batch: Together) -> None:
    """Write rows, to appear together with everything else in the batch; JSON lines as they come.

    :raises NaitError: the rows do not fit into one table.
    """
    if kind is OutputKind.JSONL:
        with batch.file(path) as file:
            file.writelines(row.text.encode() + b"\n" for row in rows)
        return
    rows = list(rows)
    if kind is OutputKind.FOLDER:
        dataset = to_dataset(to_table(rows, str(path)))
        with batch.folder(path) as folder, _no_progress():
            dataset.save_to_disk(folder)
        return
    with batch.file(path) as file:
        if kind is OutputKind.PARQUET:
            import pyarrow.parquet as pq

            pq.write_table(to_table(rows, str(path)), file)
        elif kind is OutputKind.CSV:
            file.write(to_csv(rows, str(path)))
        else:
            file.writelines((b",\n" if number else b"[\n") + row.text.encode() for number, row in enumerate(rows))
            file.write(b"\n]\n" if rows else b"[]\n")


def to_table(rows: Sequence[OutRow], name: str) -> "pa.Table":
    """Make an Arrow table of the rows.

    :param name: of the output, for error messages.
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


def to_csv(rows: Sequence[OutRow], name: str) -> bytes:
    """Return rows as CSV in UTF-8. What is absent or null is an empty cell.

    :param name: of the output, for error messages.
    :raises NaitError: a row holds text that is not Unicode.
    """
    columns = list(dict.fromkeys(column for row in rows for column in row.fields))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(row.fields.get(column)) for column in columns])
    try:
        return text.getvalue().encode()
    except UnicodeEncodeError:
        raise NaitError(f"{name}: a row holds half of a character, which CSV cannot; write .jsonl") from None


def _cell(value: Any) -> str:  # noqa: ANN401 - any JSON
    if value is None:
        return ""
    return value if isinstance(value, str) else to_json(value)


def to_dataset(table: "pa.Table") -> "datasets.Dataset":
    """Make a dataset of the library ``datasets``.

    :raises NaitError: the library is not installed.
    """
    require_datasets("a dataset")
    import datasets

    return datasets.Dataset(table)


def require_datasets(output: str) -> None:
    """Check that the library ``datasets`` is installed.

    :param output: what needs it, for the message.
    :raises NaitError: it is not installed.
    """
    from importlib.util import find_spec

    if find_spec("datasets") is None:
        raise NaitError(f"{output} needs the library datasets: pip install 'nait-index[export]'; or write .parquet")


def _array(rows: Sequence[OutRow], column: str, name: str) -> "pa.Array":
    values = [_plain(row.fields.get(column), column) for row in rows]
    array = _array_of(values)
    if array is not None:
        return array
    first = bisect_left(range(len(values)), True, key=lambda last: _array_of(values[: last + 1]) is None)
    raise NaitError(
        f"{name}: column {column!r} of row {rows[first].id!r} has another type than in the rows before it, and "
        "a table has one type per column; convert with --as if it is part of the conversation, or write .jsonl"
    )


def _array_of(values: Sequence[Any]) -> "pa.Array | None":
    """Return an Arrow array of some values, or ``None`` if they do not share one type."""
    import pyarrow as pa

    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError):
        return None


def _plain(value: Any, key: str) -> Any:  # noqa: ANN401
    if isinstance(value, dict | list) and key in ("tools", "arguments"):
        return to_json(value) if value or key == "arguments" else None
    if isinstance(value, dict):
        return {name: _plain(item, name) for name, item in value.items()} or None
    return [_plain(item, "") for item in value] if isinstance(value, list) else value


@contextmanager
def _no_progress() -> Iterator[None]:
    """Turn off the progress bars of the library ``datasets``."""
    from datasets.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    shown = not are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            enable_progress_bars()
