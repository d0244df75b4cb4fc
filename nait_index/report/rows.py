"""Rows as text that a page can show: who says what, cut to the bytes there are for it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nait_index.corpus import restore_sample
from nait_index.errors import NaitError
from nait_index.index import NaitIndex
from nait_index.report.context import CapabilityChoice
from nait_index.types import Reading, RowRead

_MAX_ROW_BYTES = 30_000


@dataclass(frozen=True, slots=True)
class RowText:
    """The text of a row.

    :param parts: (role, text) of each turn or field.
    """

    parts: tuple[tuple[str, str], ...]

    @property
    def text(self) -> str:
        """All parts, a line break between them."""
        return "\n".join(text for _, text in self.parts)


@dataclass(frozen=True, slots=True)
class ShownRow:
    """One row to read.

    :param rank: among the rows that could be chosen, from 1. :param location: the file that it comes from, and where in
        it. :param is_cut: whether its text was cut for the page.
    :param read: what the model read of it, if that is another text; the text in it may be cut for the page as well.
    """

    id: str
    rank: int
    score: float
    source: str
    tokens: int
    location: str
    text: RowText
    is_cut: bool
    read: RowRead | None


class RowViewer:
    """Reads rows to be shown, each cut to its share of the page.

    :param source_of: returns where the row at a position comes from. :param text_bytes: for all rows together.
    :param rows: how many there will be.
    """

    def __init__(self, index: NaitIndex, source_of: Callable[[int], str], text_bytes: int, rows: int) -> None:
        self._index = index
        self._source_of = source_of
        self._row_bytes = min(_MAX_ROW_BYTES, text_bytes // max(rows, 1))
        #: Why it cannot be shown what the model read.
        self.problem = ""

    def ranks(self, choice: CapabilityChoice, start: int, stop: int) -> tuple[ShownRow, ...]:
        """Read the rows of a choice from rank ``start``, counted from 0, to before ``stop``."""
        ranked = enumerate(choice.order[start:stop].tolist(), start + 1)
        return tuple(self.row(position, rank, choice.scores[position]) for rank, position in ranked)

    def row(self, position: int, rank: int, score: float) -> ShownRow:
        """Read the row at a position of the table."""
        columns = self._index.columns.take([position], ["id", "file", "file_row", "n_tokens"])
        whole = read_texts(self._index, [position])[0]
        read = self._read(position, whole)
        text, is_cut = _cut(whole, self._row_bytes if read is None else self._row_bytes // 2)
        return ShownRow(
            id=printable(columns["id"][0]),
            rank=rank,
            score=float(score),
            source=self._source_of(position),
            tokens=columns["n_tokens"][0],
            location=printable(f"{columns['file'][0]}, row {columns['file_row'][0]:,}"),
            text=text,
            is_cut=is_cut,
            read=read,
        )

    def _read(self, position: int, whole: RowText) -> RowRead | None:
        """Return what the model read of a row, cut to half of its share of the page; ``None`` for its text as it is."""
        read = self._index.row_read(position)
        self.problem = self.problem or read.problem
        text = printable(read.text)
        if read.problem or (text == whole.text and not read.cut):
            return None
        return replace(read, text=cut_to_bytes(text, self._row_bytes // 2), rest=printable(read.rest))


def read_texts(index: NaitIndex, positions: Sequence[int] | np.ndarray) -> list[RowText]:
    """Read the text of the rows at some positions of the table; a row that cannot be parsed is shown as its JSON."""
    columns = index.columns.take(positions, ["id", "row", "format"])
    reading = index.manifest.reading
    return [_text(dict(zip(columns, values, strict=True)), reading) for values in zip(*columns.values(), strict=True)]


def _text(record: Mapping[str, Any], reading: Reading) -> RowText:
    try:
        parts = restore_sample(record, reading).parts
    except NaitError:
        return RowText((("row", printable(record["row"])),))
    return RowText(tuple((str(part.role), printable(part.text)) for part in parts))


def printable(text: str) -> str:
    """Replace what cannot be written as UTF-8, and all control characters but tab and line break."""
    whole = text.encode("utf-8", "replace").decode()
    return "".join(
        sign if sign in "\n\t" or (ord(sign) >= 32 and not 127 <= ord(sign) < 160) else "\ufffd" for sign in whole
    )


def cut_to_bytes(text: str, most: int) -> str:
    """Return the beginning of a text that takes at most about ``most`` bytes of a page, six an escaped character."""
    start = text[:most]
    while (size := len(start.encode()) + 5 * sum(map(start.count, "<>&\"'"))) > most:
        start = start[: min(len(start) * most // size, len(start) - 1)]
    return start


def _cut(row: RowText, most: int) -> tuple[RowText, bool]:
    """Keep the beginning of a row that fits, and report whether that is less than all of it."""
    kept: list[tuple[str, str]] = []
    for role, text in row.parts:
        start = cut_to_bytes(text, most)
        kept.append((role, start))
        if len(start) < len(text):
            return RowText(tuple(kept)), True
        most -= len(start.encode())
    return RowText(tuple(kept)), False
