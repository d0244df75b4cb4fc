"""What is handed over: a row, where it comes from, and what is said of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from nait_index.corpus import to_json
from nait_index.corpus.rows import RowError
from nait_index.handover.convert import convert
from nait_index.types import RowFormat


@dataclass(frozen=True, slots=True)
class ChosenRow:
    """One chosen row as it lies in the index.

    :param row: the original, as JSON text. :param tokens: as the index counted them; :param cut: not all of them.
    """

    id: str
    row: str
    format: RowFormat
    tokens: int
    cut: bool


@dataclass(frozen=True)
class OutRow:
    """One row as it is written.

    :param number: its place among the chosen rows, from 0. :param text: JSON on one line.
    """

    id: str
    number: int
    text: str
    format: RowFormat

    @cached_property
    def fields(self) -> dict[str, Any]:
        """What the text says."""
        fields: dict[str, Any] = json.loads(self.text)
        return fields

    def with_columns(self, added: Mapping[str, Any]) -> "OutRow":
        """Give the row with more columns, which take the place of those it has."""
        return replace(self, text=to_json({**self.fields, **added}))


@dataclass(frozen=True, slots=True)
class Refused:
    """One row that could not be converted, and why."""

    row: ChosenRow
    number: int
    reason: str


def converted(
    rows: Sequence[ChosenRow], target: RowFormat | None
) -> tuple[list[OutRow], list[Refused], dict[str, int]]:
    """Convert rows; those that are so already, and all of them where nothing is asked for, stay byte for byte.

    :returns: the rows, those that cannot be converted, and in how many rows something in a turn was left out, by name.
    """
    done: list[OutRow] = []
    refused: list[Refused] = []
    lost: dict[str, int] = {}
    for number, row in enumerate(rows):
        if target is None:
            done.append(OutRow(row.id, number, _one_line(row.row), row.format))
            continue
        fields = json.loads(row.row)
        try:
            new, keys = convert(fields, row.format, target)
        except RowError as error:
            refused.append(Refused(row, number, str(error)))
            continue
        for key in sorted(keys):
            lost[key] = lost.get(key, 0) + 1
        same = new == fields and list(new) == list(fields)
        done.append(OutRow(row.id, number, _one_line(row.row) if same else to_json(new), target))
    return done, refused, lost


def _one_line(row: str) -> str:
    """Only a row that is spread over lines is written anew, for a line must hold all of it."""
    return to_json(json.loads(row)) if "\n" in row else row
