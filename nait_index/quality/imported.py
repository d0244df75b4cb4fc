"""Scores that were computed elsewhere: a file of ids and values becomes a column.

The file is CSV or JSON lines with a field ``id`` and the score, in the field ``value`` or in the only other field with
numbers. Lines that cannot be used are set aside with the reason: ids that are not in the index, repeated ids (the first
counts), values that are not finite numbers. Rows of the index that the file does not name get no score.
"""

import csv
import json
import math
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nait_index.config import ModelConfig
from nait_index.corpus import to_json
from nait_index.corpus.text_rows import refuse_repeated
from nait_index.errors import CorpusError, NaitError
from nait_index.files import atomic_write, hash_bytes
from nait_index.quality.score import QualityRow, Score
from nait_index.spelling import did_you_mean_path


class Imported:
    """A request for the scores in a file of ids and values, and the quality that looks them up.

    The whole file is held in memory, at a few hundred bytes per line.

    :param column: the field that holds the scores; by default ``value``, or the only other one with numbers.
    :raises CorpusError: the file cannot be read, is not a file of ids and scores, or has several fields with numbers.
    """

    def __init__(self, file: Path, column: str | None = None) -> None:
        self.file = file
        self._values: dict[str, float] = {}
        self._lines: dict[str, int] = {}
        self._set_aside: dict[int, dict[str, str]] = {}
        try:
            self._hash = hash_bytes(file.read_bytes())
            records = list(_records(file))
        except FileNotFoundError as error:
            raise CorpusError(f"{file}: no such file{did_you_mean_path(file)}") from error
        except (OSError, UnicodeDecodeError) as error:
            raise CorpusError(f"{file}: cannot be read as scores: {error}") from error
        if not records:
            raise CorpusError(f"{file}: holds no score")
        self.column = _score_column([record for _, record in records], file, column)
        for line, record in records:
            self._take(line, record.get("id"), record.get(self.column))

    @property
    def default_name(self) -> str:
        """The name of the column, made from the name of the file.

        :raises NaitError: the file name makes no valid name.
        """
        if not self.file.stem.isidentifier():
            raise NaitError(f"the file name {self.file.name} makes no name for a column; choose one with --name")
        return self.file.stem.lower()

    def open(self, defaults: ModelConfig) -> "Imported":
        """Return the same object, which needs no model."""
        return self

    @property
    def settings(self) -> Mapping[str, Any]:
        """Everything that affects the numbers: the content of the file, and the field that is read."""
        return {"kind": "import", "file": self._hash, "column": self.column}

    def score(self, rows: Iterable[QualityRow]) -> Generator[Score, None, None]:
        """Score the rows that the file has a value for."""
        for row in rows:
            if row.id in self._values:
                yield Score.of(row, self._values[row.id])

    def write_set_aside(self, path: Path, known: Iterable[str]) -> int:
        """Write the lines that could not be used, one JSON object per line, and return how many there are.

        :param known: the ids in the index; lines with another id are set aside too.
        :raises NaitError: the file cannot be written.
        """
        unknown = self._lines.keys() - set(known)
        reason = "the index has no row with this id"
        lines = self._set_aside | {self._lines[row_id]: {"id": row_id, "reason": reason} for row_id in unknown}
        with atomic_write(path) as file:
            file.writelines(to_json({"line": number} | lines[number]).encode() + b"\n" for number in sorted(lines))
        return len(lines)

    def _take(self, line: int, raw_id: object, raw_value: object) -> None:
        row_id, value = _text(raw_id), _number(raw_value)
        if row_id is None:
            self._set_aside[line] = {"id": "", "reason": "no id"}
        elif row_id in self._lines:
            self._set_aside[line] = {"id": row_id, "reason": f"repeated, first in line {self._lines[row_id]}"}
        elif value is None:
            self._set_aside[line] = {"id": row_id, "reason": f"the value {raw_value!r:.80} is not a finite number"}
        else:
            self._values[row_id], self._lines[row_id] = value, line


def _score_column(records: Sequence[Mapping[str, object]], path: Path, column: str | None) -> str:
    """Return the field that holds the scores.

    :raises CorpusError: there is none, or several fields hold numbers and none of them was named.
    """
    names = list(dict.fromkeys(name for record in records for name in record if name != "id"))
    if column is None and "value" in names:
        column = "value"
    if column is not None:
        if column not in names:
            raise CorpusError(f"{path}: has no field '{column}'; it has {', '.join(names) or 'only ids'}")
        return column
    numeric = [name for name in names if any(_number(record.get(name)) is not None for record in records)]
    if len(numeric) == 1:
        return numeric[0]
    if numeric:
        raise CorpusError(f"{path}: several fields hold numbers: {', '.join(numeric)}; choose one with --column")
    raise CorpusError(f"{path}: no field beside id holds numbers; it has {', '.join(names) or 'only ids'}")


def _records(path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    """Yield line number and fields of every record."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        if path.suffix.lower() == ".csv":
            yield from _csv_records(path, file)
        elif path.suffix.lower() in (".jsonl", ".json", ".ndjson"):
            yield from _json_records(path, file)
        else:
            raise CorpusError(f"{path}: unknown file type; its name must end in .csv or .jsonl")


def _csv_records(path: Path, file: Iterable[str]) -> Iterator[tuple[int, dict[str, object]]]:
    # Strict, since a stray quote must not join lines unnoticed.
    reader = csv.DictReader(file, strict=True)
    try:
        names = reader.fieldnames or ()
        if "id" not in names:
            raise CorpusError(f"{path}: its first line must name a column id, and one of scores")
        refuse_repeated(names, str(path))
        # What is beyond the header has the name None.
        yield from ((reader.line_num, {k: v for k, v in record.items() if k is not None}) for record in reader)
    except csv.Error as error:
        raise CorpusError(f"{path}, line {reader.line_num + 1}: not CSV: {error}; look for a stray quote") from error


def _json_records(path: Path, file: Iterable[str]) -> Iterator[tuple[int, dict[str, object]]]:
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise CorpusError(f"{path}, line {number}: not valid JSON ({error})") from error
        if not isinstance(record, dict) or "id" not in record or len(record) == 1:
            raise CorpusError(f'{path}, line {number}: not an object such as {{"id": "row-1", "value": 0.5}}')
        yield number, record


def _text(value: object) -> str | None:
    """Read an id as the corpus does: text, or a whole number."""
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) and value != "" else None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
