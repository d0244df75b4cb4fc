"""What the rows to be handed over have in common, as far as a trainer must be told."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nait_index.corpus.formats import name_of
from nait_index.handover.rows import OutRow
from nait_index.types import RowFormat

CONVERSATIONS = {RowFormat.SHAREGPT: ("conversations", "conversation"), RowFormat.MESSAGES: ("messages",)}
"""The columns that may hold the conversation."""


class UnreadableError(Exception):
    """A row that a trainer cannot read.

    :param remedy: what to do, where it is not another format.
    """

    def __init__(self, row: OutRow, reason: str, remedy: str | None = None) -> None:
        super().__init__(reason)
        self.row = row
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Shape:
    """What all rows have in common.

    :param columns: those that hold something in some row.
    :param name: of the column with the conversation; :param keys: of role and text in its turns.
    :param words: what its turns call their roles.
    """

    format: RowFormat
    columns: frozenset[str]
    name: str = ""
    keys: tuple[str, str] = ("role", "content")
    words: frozenset[str] = frozenset()


def shape_of(rows: Sequence[OutRow]) -> Shape:
    """Find it.

    :raises UnreadableError: rows differ in what they should have in common.
    """
    first = rows[0]
    for row in rows:
        if row.format is not first.format:
            raise UnreadableError(row, f"it is {row.format} where row {first.id!r} is {first.format}")
    columns = frozenset(name for row in rows for name, value in row.fields.items() if value not in (None, "", [], {}))
    if first.format not in CONVERSATIONS:
        return Shape(first.format, columns)
    name = name_of(first.fields, *CONVERSATIONS[first.format])
    keys = ("from", "value") if any("from" in turn for turn in turns_of(first, name)) else ("role", "content")
    words = set()
    for row in rows:
        for turn in turns_of(row, name):
            if not isinstance(turn.get(keys[0]), str):
                raise UnreadableError(row, f"a turn has no {keys[0]!r}")
            words.add(turn[keys[0]])
    return Shape(first.format, columns, name, keys, frozenset(words))


def turns_of(row: OutRow, name: str) -> Iterator[Mapping[str, Any]]:
    """Give the turns of a row.

    :raises UnreadableError: there are none.
    """
    turns = row.fields.get(name)
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        raise UnreadableError(row, f"it has no list of turns in {name!r}")
    yield from turns


def calls_tools(row: OutRow, name: str) -> bool:
    """Tell whether a turn calls a tool as OpenAI's messages do."""
    return any(turn.get("tool_calls") or turn.get("function_call") for turn in turns_of(row, name))


def check_text(rows: Sequence[OutRow], *names: str) -> None:
    """Check that some columns hold text in every row.

    :raises UnreadableError: in one row, one does not.
    """
    for row in rows:
        for name in names:
            if not isinstance(row.fields.get(name), str):
                raise UnreadableError(row, f"it has no text in {name!r}")
