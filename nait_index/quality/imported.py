"""Scores that were computed elsewhere: a file of ids and values becomes a column.

CSV with a header that has ``id`` and ``value``, or JSON lines ``{"id": …, "value": …}``. What cannot be used is set
aside with the reason, never guessed at: ids that the index does not have, ids given twice (the first counts), values
that are no finite number. Rows of the index that the file does not have get no score.
"""

import csv
import json
import math
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nait_index.corpus import to_json
from nait_index.errors import CorpusError
from nait_index.files import atomic_write, hash_bytes
from nait_index.quality.score import Row, Score
from nait_index.spelling import did_you_mean_path


@dataclass(frozen=True, slots=True)
class SetAside:
    """A line of the file that could not be used."""

    line: int
    id: str
    reason: str


class ImportedScorer:
    """Gives rows the values that a file has for them.

    Read whole when made: some hundred bytes for every line.

    :raises CorpusError: the file cannot be read, or is no file of ids and values.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._values: dict[str, float] = {}
        self._lines: dict[str, int] = {}
        self.set_aside: list[SetAside] = []
        try:
            self._hash = hash_bytes(path.read_bytes())
            for line, row_id, value in _records(path):
                self._take(line, row_id, value)
        except FileNotFoundError as error:
            raise CorpusError(f"{path}: no such file{did_you_mean_path(path)}") from error
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise CorpusError(f"{path}: cannot be read as scores: {error}") from error
        if not self._lines and not self.set_aside:
            raise CorpusError(f"{path}: there is not one score in it")

    @property
    def settings(self) -> Mapping[str, Any]:
        """Everything that changes a number: the content of the file."""
        return {"kind": "import", "file": self._hash}

    def score(self, rows: Iterable[Row]) -> Generator[Score, None, None]:
        """Give their values to the rows that have one."""
        for row in rows:
            if row.id in self._values:
                yield Score.of(row, self._values[row.id])

    def set_aside_unknown(self, known: Iterable[str]) -> None:
        """Set aside every id of the file that is not among the known ones."""
        unknown = self._lines.keys() - set(known)
        found = [SetAside(self._lines[own], own, "the index has no row with this id") for own in unknown]
        self.set_aside = sorted([*self.set_aside, *found], key=lambda own: own.line)

    def _take(self, line: int, row_id: object, value: object) -> None:
        own_id, number = _text(row_id), _number(value)
        if own_id is None:
            self.set_aside.append(SetAside(line, "", "there is no id"))
        elif own_id in self._lines:
            self.set_aside.append(SetAside(line, own_id, f"given before, in line {self._lines[own_id]}"))
        elif number is None:
            self.set_aside.append(SetAside(line, own_id, f"the value {value!r:.80} is no finite number"))
        else:
            self._values[own_id], self._lines[own_id] = number, line


def _records(path: Path) -> Iterator[tuple[int, object, object]]:
    """Give line number, id and value of every record."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        if path.suffix.lower() == ".csv":
            yield from _csv_records(path, file)
        elif path.suffix.lower() in (".jsonl", ".json", ".ndjson"):
            yield from _json_records(path, file)
        else:
            raise CorpusError(f"{path}: name it .csv or .jsonl, so that it is known what it is")


def _csv_records(path: Path, file: Iterable[str]) -> Iterator[tuple[int, object, object]]:
    reader = csv.DictReader(file)
    if not {"id", "value"} <= set(reader.fieldnames or ()):
        raise CorpusError(f"{path}: its first line must name the columns id and value")
    for record in reader:
        yield reader.line_num, record["id"], record["value"]


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


def write_set_aside(path: Path, lines: Iterable[SetAside]) -> None:
    """Write what was set aside, one JSON object a line.

    :raises NaitError: it cannot be written.
    """
    with atomic_write(path) as file:
        for own in lines:
            record = {"line": own.line, "id": own.id, "reason": own.reason}
            file.write(to_json(record).encode() + b"\n")
