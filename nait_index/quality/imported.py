"""Scores that were computed elsewhere: a file of ids and values becomes a column.

The file is CSV with the columns ``id`` and ``value``, or JSON lines ``{"id": …, "value": …}``. Lines that cannot be
used are set aside with the reason: ids that are not in the index, repeated ids (the first counts), values that are not
finite numbers. Rows of the index that the file does not name get no score.
"""

import csv
import json
import math
from collections.abc import Generator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from nait_index.config import ModelConfig
from nait_index.corpus import to_json
from nait_index.errors import CorpusError, NaitError
from nait_index.files import atomic_write, hash_bytes
from nait_index.quality.score import QualityRow, Score
from nait_index.spelling import did_you_mean_path


class Imported:
    """A request for the scores in a file of ids and values, and the quality that looks them up.

    The whole file is held in memory, at a few hundred bytes per line.

    :raises CorpusError: the file cannot be read, or is not a file of ids and values.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._values: dict[str, float] = {}
        self._lines: dict[str, int] = {}
        self._set_aside: dict[int, dict[str, str]] = {}
        try:
            self._hash = hash_bytes(file.read_bytes())
            for line, row_id, value in _records(file):
                self._take(line, row_id, value)
        except FileNotFoundError as error:
            raise CorpusError(f"{file}: no such file{did_you_mean_path(file)}") from error
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise CorpusError(f"{file}: cannot be read as scores: {error}") from error
        if not self._lines and not self._set_aside:
            raise CorpusError(f"{file}: holds no score")

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
        """Everything that affects the numbers: the content of the file."""
        return {"kind": "import", "file": self._hash}

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


def _records(path: Path) -> Iterator[tuple[int, object, object]]:
    """Yield line number, id and value of every record."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        if path.suffix.lower() == ".csv":
            reader = csv.DictReader(file)
            if not {"id", "value"} <= set(reader.fieldnames or ()):
                raise CorpusError(f"{path}: its first line must name the columns id and value")
            yield from ((reader.line_num, record["id"], record["value"]) for record in reader)
        elif path.suffix.lower() in (".jsonl", ".json", ".ndjson"):
            yield from _json_records(path, file)
        else:
            raise CorpusError(f"{path}: unknown file type; its name must end in .csv or .jsonl")


def _json_records(path: Path, file: Iterable[str]) -> Iterator[tuple[int, object, object]]:
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise CorpusError(f"{path}, line {number}: not valid JSON ({error})") from error
        if not isinstance(record, dict) or not {"id", "value"} <= record.keys():
            raise CorpusError(f'{path}, line {number}: not an object such as {{"id": "row-1", "value": 0.5}}')
        yield number, record["id"], record["value"]


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
