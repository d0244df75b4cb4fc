"""Fields of rows that hold text which the model does not read, counted by file.

A field is named if its values are not part of what is read (many corpora repeat the conversation in another column) and
have at least three words on average, or twenty if its name is one that describes the row: see :data:`DESCRIPTIVE`.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from nait_index.corpus.columns import CONVERSATIONS, answer_name, asked_name, question_name
from nait_index.corpus.formats import ROLES, name_of
from nait_index.corpus.reasoning import FIELDS, reasoning_text
from nait_index.corpus.templates import plain_text
from nait_index.corpus.words import words
from nait_index.types import Role, RowFormat, Sample

DESCRIPTIVE = frozenset(
    """
    annotator annotators author authors category categories checksum class classes cluster config copyright count
    counts created creator dataset datasets date difficulty domain domains embedding embeddings engine file filename
    filepath fold format generator guid hash href id idx ids index key keys kind label labels lang language languages
    length level licence license link links locale meta metadata model name names num number origin path quality rank
    rating ratings revision reward rewards score scores script seed sha256 size source sources split state stats status
    step subject subjects subset tag tags task tasks temperature time timestamp tokens topic topics type types updated
    uri url urls usage user username uuid version weight weights
    """.split()
)
"""Last words of names whose fields describe a row: ``id``, ``source``, ``created_at`` and the like."""

_READ = {
    RowFormat.ALPACA: {"history", "tools"},
    RowFormat.SHAREGPT: {"conversations", "conversation", "tools"},
    RowFormat.MESSAGES: {"messages", "tools"},
    RowFormat.PROMPT_COMPLETION: {"tools"},  # and the question and answer of each row
    RowFormat.PREFERENCE: {*CONVERSATIONS, "prompt", "chosen", "rejected", "history", "tools"},
    RowFormat.TEXT: {"text"},
}
_READ_OF_TURNS = {"role", "from", "content", "value", "tool_calls", "function_call"}
_FEWEST_WORDS = 3
_FEWEST_IN_DESCRIPTIONS = 20
_OF_TURNS = " of turns"
_LOOKED_AT = 1000  # characters of a value whose words are counted
_NAME_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_A-Za-z]+")

Unread = dict[str, dict[str, int]]
"""By file, the fields that are not read, each with the number of rows that have text in it."""


class UnreadFields:
    """Counts the rows and words of the fields that are not read."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], list[int]] = {}

    def add(self, sample: Sample) -> None:
        """Count the fields of one row."""
        for name, count in unread_fields(sample).items():
            rows_and_words = self._counts.setdefault((sample.origin.file, name), [0, 0])
            rows_and_words[0] += 1
            rows_and_words[1] += count

    def by_file(self, earlier: Mapping[str, Mapping[str, int]] | None = None) -> Unread:
        """Return the fields whose values are long enough to be text.

        :param earlier: of other rows, which are counted too.
        """
        files: Unread = {}
        for (file, name), (rows, count) in sorted(self._counts.items()):
            described = _is_descriptive(name.removesuffix(_OF_TURNS))
            if count >= rows * (_FEWEST_IN_DESCRIPTIONS if described else _FEWEST_WORDS):
                before = (earlier or {}).get(file, {})
                files.setdefault(file, dict(before))[name] = rows + before.get(name, 0)
        return files


def unread_sentences(unread: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Return a sentence on each file with fields that are not read."""
    return [
        f"{file}: not read: "
        + ", ".join(f"{name} ({rows:,} {'row' if rows == 1 else 'rows'})" for name, rows in fields.items())
        for file, fields in unread.items()
    ]


def unread_fields(sample: Sample) -> dict[str, int]:
    """Return the fields of a row, and of its turns, that hold text which is not read, each with its number of words."""
    row = json.loads(sample.row)
    columns = _read_columns(row, sample.format)
    names = [name for name in row if name not in columns and name != "id"]
    turns = list(_turns(row, columns))
    if not names and not any(set(turn) - _READ_OF_TURNS for turn in turns):
        return {}
    read = plain_text(sample.parts)
    parts = [part.text.strip() for part in sample.parts if part.role is not Role.TOOLS]
    counts: dict[str, int] = {}
    is_answer = sample.format in (RowFormat.ALPACA, RowFormat.PROMPT_COMPLETION)
    for name in names:
        if not (is_answer and name in FIELDS and reasoning_text(row[name])):
            counts[repr(name)] = _words(row[name], read, parts)
    for turn in turns:
        role = ROLES.get(str(turn.get(name_of(turn, "role", "from"))), Role.ASSISTANT)
        for name in set(turn) - _READ_OF_TURNS:
            if not (role is Role.ASSISTANT and name in FIELDS and reasoning_text(turn[name])):
                label = f"{name!r}{_OF_TURNS}"
                counts[label] = counts.get(label, 0) + _words(turn[name], read, parts)
    return {name: counts[name] for name in sorted(counts) if counts[name]}


def _read_columns(row: Mapping[str, Any], row_format: RowFormat) -> set[str]:
    if row_format is RowFormat.PREFERENCE and asked_name(row) != "instruction":
        return _READ[row_format] - {"history"}
    if row_format is not RowFormat.PROMPT_COMPLETION:
        return _READ[row_format]
    return {question_name(row), answer_name(row).partition(".")[0], *_READ[row_format]}


def _turns(row: Mapping[str, Any], names: set[str]) -> Iterator[Mapping[str, Any]]:
    for name in sorted(names - {"history", "tools"}):
        value = row.get(name)
        yield from (turn for turn in (value if isinstance(value, list) else ()) if isinstance(turn, dict))


def _words(value: object, read: str, parts: list[str]) -> int:
    """Count the words at the beginning of a value, without those of texts that are read or that repeat what is read."""
    texts = [text for text in map(str.strip, _texts(value)) if text and text not in read]
    if not texts:
        return 0
    most = 2 * sum(map(len, parts))
    if sum(map(len, texts)) <= most and all(any(part in text for text in texts) for part in parts):
        return 0
    return sum(
        word.isalpha() for text in texts if " " in text or not text.isascii() for word in words(text[:_LOOKED_AT])
    )


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict):
        for name, item in value.items():
            if not _is_descriptive(name):
                yield from _texts(item)


def _is_descriptive(name: str) -> bool:
    """Return whether the last word of a name is one of fields that describe a row."""
    parts = [part.lower() for part in _NAME_PARTS.findall(name)]
    while len(parts) > 1 and parts[-1] in ("at", "on", "by", "of"):
        parts.pop()
    return bool(parts) and parts[-1] in DESCRIPTIVE
