"""The rows to be written: each one, and what a trainer must know about all of them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from nait_index.corpus.columns import answer_name, question_name
from nait_index.corpus.formats import PAIRED, ROLES, name_of, row_parts
from nait_index.corpus.media import carried_media
from nait_index.corpus.reasoning import FIELDS, reasoning_of
from nait_index.types import DEFAULT_READING, Part, Reading, Role, RowFormat

CONVERSATIONS = {RowFormat.SHAREGPT: ("conversations", "conversation"), RowFormat.MESSAGES: ("messages",)}
"""The columns that may hold the conversation."""

_HALVES = ("prompt", "completion")

TRAINING_FLAGS = frozenset({"loss", "mask", "train", "trainable", "training", "weight"})
"""Fields of a turn that say whether, or how much, it is to be trained on."""

SHAREGPT_ROLES = {Role.SYSTEM: "system", Role.USER: "human", Role.ASSISTANT: "gpt", Role.TOOL: "observation"}
"""The usual names of the roles in ShareGPT."""


@dataclass(frozen=True)
class ChosenRow:
    """One selected row as the index stores it.

    :param row: the original row as JSON text.
    :param tokens: its length as the index counted it. :param cut: whether the index read only the beginning.
    :param reading: how its columns are read. :param content_hash: of the row, as the index stores it.
    """

    id: str
    row: str
    format: RowFormat
    tokens: int
    cut: bool
    reading: Reading = DEFAULT_READING
    content_hash: str = ""

    @cached_property
    def fields(self) -> dict[str, Any]:
        """The columns of the row, parsed from its text; to be copied before they are changed."""
        fields: dict[str, Any] = json.loads(self.row)
        return fields

    def parts(self) -> tuple[Part, ...]:
        """Split the row into the parts that are read."""
        return row_parts(self.fields, self.format, self.reading)


@dataclass(frozen=True)
class OutRow:
    """One row as it is written.

    :param number: its position among the selected rows, from 0. :param text: the row as JSON on one line.
    """

    id: str
    number: int
    text: str
    format: RowFormat

    @cached_property
    def fields(self) -> dict[str, Any]:
        """The columns of the row, parsed from its text."""
        fields: dict[str, Any] = json.loads(self.text)
        return fields

    def turns(self, name: str) -> Iterator[Mapping[str, Any]]:
        """Yield the turns in a column.

        :raises UnreadableError: the column holds no list of objects.
        """
        turns = self.fields.get(name)
        if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
            raise UnreadableError(self, f"it has no list of turns in {name!r}")
        yield from turns

    def calls_tools(self, name: str) -> bool:
        """Report whether a turn in a column calls a tool in the way of OpenAI's messages."""
        return any(turn.get("tool_calls") or turn.get("function_call") for turn in self.turns(name))

    def turn_fields(self) -> set[str]:
        """Return the names of the fields that turns have besides role and text, in all columns that may hold turns."""
        names = (*CONVERSATIONS.get(self.format, ()), *_HALVES) if self.format is not RowFormat.TEXT else ()
        columns = (self.fields.get(name) for name in names)
        turns = (turn for column in columns if isinstance(column, list) for turn in column if isinstance(turn, dict))
        present = {key for turn in turns for key, value in turn.items() if value is not None}
        return present - {"role", "content", "from", "value", *PAIRED}

    def check_no_media(self) -> None:
        """Refuse a row that carries images, video or audio.

        :raises UnreadableError: it carries some.
        """
        if carried_media(self.fields) is not None:
            remedy = "write the rows without --for"
            raise UnreadableError(self, "it carries images, video or audio, which would be lost", remedy)

    def check_no_reasoning(self, name: str | None = None, remedy: str | None = None) -> None:
        """Refuse a row whose reasoning is in a field, which a trainer would pass over.

        :param name: the column with the turns; ``None`` for a row without turns. :param remedy: see
            :class:`UnreadableError`.
        :raises UnreadableError: it has one.
        """
        if any(map(reasoning_of, [self.fields] if name is None else self.turns(name))):
            raise UnreadableError(self, "its reasoning is in a field that would be lost", remedy)

    def check_turns_are_text(self, name: str) -> None:
        """Refuse a row whose turns hold text or reasoning in pieces, which chat templates pass over or print as code.

        :raises UnreadableError: one does.
        """
        for turn in self.turns(name):
            pieces = [
                turn[field] for field in (*FIELDS, "content", "value") if isinstance(turn.get(field), list | dict)
            ]
            if any(pieces):
                raise UnreadableError(self, "a turn holds text or reasoning in pieces")

    def check_turns_have_text(self, name: str, key: str) -> None:
        """Refuse a row with a turn that holds no text, no call of a tool and no reasoning, as null or in another field.

        :param key: the key of a turn's text.
        :raises UnreadableError: it has one.
        """
        for turn in self.turns(name):
            if not (isinstance(turn.get(key), str) or turn.get("tool_calls") or reasoning_of(turn)):
                raise UnreadableError(self, f"a turn has no text in {key!r}")

    def check_calls(self, name: str, *, reads_json: bool = False) -> None:
        """Refuse a row whose calls of tools are in ``function_call`` or in JSON text, which chat templates misread.

        :param reads_json: whether the trainer parses arguments that are JSON text.
        :raises UnreadableError: it has such calls.
        """
        for turn in self.turns(name):
            calls = turn.get("tool_calls") or []
            if turn.get("function_call") or isinstance(calls, str):
                raise UnreadableError(self, "it calls tools in 'function_call' or in text, which templates misread")
            arguments = [(call.get("function") or call).get("arguments") for call in calls if isinstance(call, dict)]
            if not reads_json and any(isinstance(each, str) for each in arguments):
                raise UnreadableError(self, "the arguments of its calls are text, which templates quote")

    def begins_with_system(self, name: str, role: str) -> bool:
        """Report whether the first turn in a column is a system text.

        :param role: the key of a turn's role.
        """
        return ROLES.get(str(next(self.turns(name), {}).get(role))) is Role.SYSTEM

    def check_one_system(self, name: str, role: str) -> None:
        """Refuse a row with a system text in a column and in its first turn, of which trainers read the turn alone.

        :param role: the key of a turn's role.
        :raises UnreadableError: it has both.
        """
        if self.fields.get("system") and self.begins_with_system(name, role):
            reason = "its column 'system' would be lost beside a system turn"
            raise UnreadableError(self, reason, "put both into the turn")


@dataclass(frozen=True, slots=True)
class Lengths:
    """Lengths of the written rows in tokens, as the index counted them with its own tokenizer and template.

    :param tokens: of every row. :param limit: where the index cut rows. :param cut: how many rows it cut.
    """

    tokens: Sequence[int]
    limit: int | None
    cut: int

    def over(self, length: int) -> str:
        """Describe how many rows are longer than a number of tokens."""
        if self.cut and self.limit is not None and self.limit <= length:
            return (
                f"the number of rows longer than {length:,} tokens is unknown: the index truncated {self.cut:,} of "
                f"{len(self.tokens):,} rows at {self.limit:,} tokens of its own tokenizer"
            )
        longer = sum(tokens > length for tokens in self.tokens)
        return f"{longer:,} of {len(self.tokens):,} rows are longer than {length:,} tokens of the index's tokenizer"

    def to_dict(self) -> dict[str, Any]:
        """Return a summary for the sidecar."""
        return {"total": sum(self.tokens), "longest": max(self.tokens, default=0), "limit": self.limit, "cut": self.cut}


class UnreadableError(Exception):
    """A row that a trainer cannot read.

    :param remedy: what the user can do, if it is not to convert the rows to another format.
    """

    def __init__(self, row: OutRow, reason: str, remedy: str | None = None) -> None:
        super().__init__(reason)
        self.row = row
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Shape:
    """What all rows have in common.

    :param columns: those that are not empty in every row.
    :param name: the column with the conversation. :param keys: the keys of role and text in its turns.
    :param words: the names that its turns use for the roles.
    """

    format: RowFormat
    columns: frozenset[str]
    name: str = ""
    keys: tuple[str, str] = ("role", "content")
    words: frozenset[str] = frozenset()


def shape_of(rows: Sequence[OutRow]) -> Shape:
    """Determine the shape of the rows.

    :raises UnreadableError: a row has another format than the first, or turns without a list or a role.
    """
    first = rows[0]
    for row in rows:
        if row.format is not first.format:
            raise UnreadableError(row, f"it is {row.format} where row {first.id!r} is {first.format}")
    columns = frozenset(name for row in rows for name, value in row.fields.items() if value not in (None, "", [], {}))
    if first.format not in CONVERSATIONS:
        return Shape(first.format, columns)
    name = name_of(first.fields, *CONVERSATIONS[first.format])
    keys = ("from", "value") if any("from" in turn for turn in first.turns(name)) else ("role", "content")
    words = set()
    for row in rows:
        for turn in row.turns(name):
            if not isinstance(turn.get(keys[0]), str):
                raise UnreadableError(row, f"a turn has no {keys[0]!r}")
            words.add(turn[keys[0]])
    return Shape(first.format, columns, name, keys, frozenset(words))


def first_with_role(rows: Sequence[OutRow], shape: Shape, word: str) -> OutRow:
    """Return the first row with a turn whose role has a certain name; there must be one."""
    role = shape.keys[0]
    return next(row for row in rows if any(turn[role] == word for turn in row.turns(shape.name)))


def pair_names(rows: Sequence[OutRow]) -> tuple[str, str]:
    """Return the columns that hold the question and the answer of every row.

    :raises UnreadableError: a row has them in others than the first row.
    """
    names = question_name(rows[0].fields), answer_name(rows[0].fields)
    for row in rows:
        for name, expected in zip((question_name(row.fields), answer_name(row.fields)), names, strict=True):
            if name != expected:
                raise UnreadableError(row, f"it has {name!r} where the first row has {expected!r}")
    return names


def check_text(rows: Sequence[OutRow], *names: str) -> None:
    """Check that some columns hold text in every row.

    :raises UnreadableError: a column of a row does not.
    """
    for row in rows:
        for name in names:
            if not isinstance(row.fields.get(name), str):
                raise UnreadableError(row, f"it has no text in {name!r}")
