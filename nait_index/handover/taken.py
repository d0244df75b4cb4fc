"""Rows on their way to a file: converted one by one, with what the sidecar and trainers must know of all of them."""

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, BinaryIO

from nait_index.corpus import to_json
from nait_index.handover.convert import Refused, convert_row
from nait_index.handover.rows import ChosenRow, Lengths, OutRow
from nait_index.types import RowFormat


class Taken:
    """What is known of the rows that were taken so far.

    :param limit: where the index cut rows.
    """

    def __init__(self, limit: int | None) -> None:
        #: Positions among the selected rows of those that are written, a few bytes each.
        self.numbers = array("q")
        self.refused: list[Refused] = []
        #: In how many rows a field of turns was left out, by name.
        self.lost: Counter[str] = Counter()
        #: The format of the first row.
        self.format: RowFormat | None = None
        self.has_media = False
        self._tokens = array("q")
        self._limit, self._cut = limit, 0

    @property
    def lengths(self) -> Lengths:
        """The lengths of the rows that are written."""
        return Lengths(self._tokens, self._limit, self._cut)

    def convert(
        self, chosen: Iterable[ChosenRow], target: RowFormat | None, records: Sequence[Mapping[str, Any]] | None
    ) -> Iterator[OutRow]:
        """Yield the rows that can be written.

        :param records: of each row, the rank and score that are added to it; ``None`` to add none.
        """
        for number, row in enumerate(chosen):
            converted = convert_row(row, number, target, self.lost)
            if isinstance(converted, Refused):
                self.refused.append(converted)
                continue
            self.numbers.append(number)
            self._tokens.append(row.tokens)
            self._cut += row.cut
            self.format = self.format or converted.format
            yield converted if records is None else _with_scores(converted, records[number])


def _with_scores(row: OutRow, record: Mapping[str, Any]) -> OutRow:
    return replace(row, text=to_json({**row.fields, "nait_rank": record["rank"], "nait_score": record["score"]}))


def write_sidecar(file: BinaryIO, facts: Mapping[str, Any], selected: Iterable[Mapping[str, Any]]) -> None:
    """Write a sidecar: facts, and one line per selected row."""
    file.write(to_json({**facts, "selected": []}, indent=2).removesuffix("]\n}").encode())
    for number, record in enumerate(selected):
        file.write((b",\n    " if number else b"\n    ") + to_json(record).encode())
    file.write(b"\n  ]\n}\n")
