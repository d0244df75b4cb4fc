"""Row -> parts: role and text of each, for every format of instruction-tuning rows.

A part of which nothing can be seen is left out; other text is used unchanged. A value that is not text where text
belongs is never converted silently: such a row is refused.
"""

import reprlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from nait_index.corpus.columns import (
    ANSWER_ROLES,
    ANSWERS,
    QUESTIONS,
    Fields,
    answer_name,
    first_filled,
    is_pair,
    one_answer,
    question_name,
    with_columns,
)
from nait_index.corpus.media import media_of_piece
from nait_index.corpus.reasoning import PIECES, inlined, reasoning_of, reasoning_text, without_blocks
from nait_index.corpus.rows import RowError, json_kind, refuse_surrogates, to_json
from nait_index.corpus.words import is_visible
from nait_index.errors import CorpusError
from nait_index.types import DEFAULT_READING, Part, Reading, ReadPart, Reasoning, Role, RowFormat, canonical, lookup

ROLES = {
    "system": Role.SYSTEM,
    "developer": Role.SYSTEM,
    "user": Role.USER,
    "human": Role.USER,
    **dict.fromkeys(ANSWER_ROLES, Role.ASSISTANT),
    "tool": Role.TOOL,
    "observation": Role.TOOL,
    "function": Role.TOOL,
}
PAIRED = ("system", "human", "user", "assistant")
"""Keys of an object that holds a question and its answer, in reading order."""
_NAMED_FIELDS = 20  # fields that a message lists at most
# What identifies a format. If a row has the fields of several, the first listed wins: two answers before the copy of
# one, conversations before their flattened copies, and `text` last because it often repeats the others rendered.
_IDENTIFIED: dict[RowFormat, Callable[[Fields], bool]] = {
    RowFormat.PREFERENCE: lambda row: _has(row, "chosen") and _has(row, "rejected"),
    RowFormat.MESSAGES: lambda row: _has(row, "messages"),
    RowFormat.SHAREGPT: lambda row: _has(row, "conversations") or _has(row, "conversation"),
    RowFormat.ALPACA: lambda row: _has(row, "instruction"),
    RowFormat.PROMPT_COMPLETION: is_pair,
    RowFormat.TEXT: lambda row: _has(row, "text"),
}
_KNOWN = (
    "messages; conversations; instruction; chosen and rejected; text; or a question "
    f"({', '.join(QUESTIONS)}) and its answer ({', '.join(ANSWERS)})"
)


def detect_format(rows: Iterable[Fields], name: str, columns: Sequence[tuple[str, str]] = ()) -> RowFormat:
    """Return the format that most of a file's first rows have.

    :param name: the file's name, for the message. :param columns: as for :func:`with_columns`.
    :raises CorpusError: no row has the fields of any format.
    """
    votes = dict.fromkeys(_IDENTIFIED, 0)
    seen: set[str] = set()
    asked = False
    for row in rows:
        seen.update(row)
        row = with_columns(row, columns)
        asked = asked or _has(row, question_name(row))
        matching = next((form for form, is_of in _IDENTIFIED.items() if is_of(row)), None)
        if matching:
            votes[matching] += 1
    if not any(votes.values()) and asked:
        return RowFormat.PROMPT_COMPLETION  # without answers, or with answers of another name
    if not any(votes.values()):
        fields = ", ".join(map(repr, sorted(seen)[:_NAMED_FIELDS])) or "none"
        raise CorpusError(
            f"{name}: the fields of the first rows ({fields}) match no row format. Known are: {_KNOWN}. Say which is "
            "which, as in 'build --columns instruction=ask,output=reply'"
        )
    return max(votes, key=votes.__getitem__)


def parts_of(row: Fields, reading: Reading = DEFAULT_READING) -> tuple[Part, ...]:
    """Split a row by the format that its fields have.

    :raises CorpusError: they have none, or it cannot be read.
    """
    return row_parts(row, detect_format([row], "this row", reading.columns), reading)


def row_parts(row: Fields, row_format: RowFormat, reading: Reading = DEFAULT_READING) -> tuple[Part, ...]:
    """Split a row into its non-empty parts, in reading order.

    :param reading: which of them are read.
    :raises RowError: a field is missing or of the wrong type, a role is unknown, or there is no text to read.
    """
    return read_parts(_whole_parts(row, row_format, reading), reading.read)


def _whole_parts(row: Fields, row_format: RowFormat, reading: Reading) -> tuple[Part, ...]:
    row, row_format = known_fields(row, row_format, reading)
    read = _with_reasoning if reading.reasoning is Reasoning.KEEP else without_blocks
    parts = tuple(part for part in map(read, _FORMATS[row_format](row)) if is_visible(part.text))
    if not parts:
        raise RowError("no text: every text field is empty")
    return parts


def known_fields(row: Fields, row_format: RowFormat, reading: Reading) -> tuple[Fields, RowFormat]:
    """Return a row with the fields of a format under their own names and with one answer, and that format.

    :raises RowError: one of two answers is of the wrong type.
    """
    row = with_columns(row, reading.columns)
    if row_format is not RowFormat.PREFERENCE:
        return row, row_format
    for field in ("chosen", "rejected"):
        required(row, field)
    return one_answer(row, reading.side)


def read_parts(parts: tuple[Part, ...], read: ReadPart) -> tuple[Part, ...]:
    """Return those parts of a row that are read: all, those before its last answer, or that answer.

    An answer alone is text without a role. Text without roles is read whole.

    :raises RowError: there is no such part.
    """
    if read is ReadPart.ALL or {part.role for part in parts} == {Role.TEXT}:
        return parts
    end = len(parts) - 1 if parts[-1].role is Role.ASSISTANT else len(parts)
    if read is ReadPart.PROMPT:
        if not end:
            raise RowError("no question, and the index reads questions alone")
        return parts[:end]
    if end == len(parts):
        raise RowError("no answer, and the index reads answers alone")
    return (Part(Role.TEXT, parts[-1].text),)


def _with_reasoning(part: Part) -> Part:
    text = inlined(part.reasoning, part.text)
    return Part(part.role, part.text) if text == part.text else replace(part, text=text, answer=part.text)


def _has(row: Fields, field: str) -> bool:
    return row.get(field) is not None


def _alpaca(row: Fields) -> Iterator[Part]:
    """Yield the parts of Alpaca's fields, of which Dolly names the last two ``context`` and ``response``."""
    yield from _text(Role.SYSTEM, row.get("system"), "field 'system'")
    yield from _tools(row)
    for number, pair in enumerate(listed(row.get("history"), "field 'history'"), start=1):
        where = f"field 'history', turn {number}"
        if not isinstance(pair, list) or len(pair) != 2:
            raise RowError(f"{where} is not a pair of question and answer")
        yield from _text(Role.USER, pair[0], where)
        yield from _text(Role.ASSISTANT, pair[1], where)
    yield from _text(Role.USER, required(row, "instruction"), "field 'instruction'")
    for role, names in ((Role.INPUT, ("input", "context")), (Role.ASSISTANT, ("output", "response"))):
        field, reasoning = name_of(row, *names), reasoning_of(row) if role is Role.ASSISTANT else ""
        yield from _text(role, row.get(field), f"field {field!r}", reasoning)


def _prompt_completion(row: Fields) -> Iterator[Part]:
    yield from _text(Role.SYSTEM, row.get("system"), "field 'system'")
    yield from _tools(row)
    for field, role in ((question_name(row), Role.USER), (answer_name(row), Role.ASSISTANT)):
        value = required(row, field) if role is Role.USER else lookup(row, field)
        if isinstance(value, list):
            yield from _turns(value, field)
        else:
            yield from _text(role, value, f"field {field!r}", reasoning_of(row) if role is Role.ASSISTANT else "")


_FORMATS: dict[RowFormat, Callable[[Fields], Iterator[Part]]] = {
    RowFormat.ALPACA: _alpaca,
    RowFormat.SHAREGPT: lambda row: _conversation(row, name_of(row, "conversations", "conversation")),
    RowFormat.MESSAGES: lambda row: _conversation(row, "messages"),
    RowFormat.PROMPT_COMPLETION: _prompt_completion,
    RowFormat.TEXT: lambda row: _text(Role.TEXT, required(row, "text"), "field 'text'"),
}


def _conversation(row: Fields, field: str) -> Iterator[Part]:
    yield from _text(Role.SYSTEM, row.get("system"), "field 'system'")
    yield from _tools(row)
    yield from _turns(required(row, field), field)


def _tools(row: Fields) -> Iterator[Part]:
    """Yield tool definitions as JSON, whether the row has a list or JSON text; other text unchanged."""
    tools = canonical(row.get("tools"), "tools")
    if isinstance(tools, list) or (isinstance(tools, dict) and isinstance(row["tools"], str)):
        tools = to_json(tools) if tools else None
    yield from _text(Role.TOOLS, tools, "field 'tools'")


def _turns(turns: object, field: str) -> Iterator[Part]:
    for number, turn in enumerate(listed(turns, f"field {field!r}"), start=1):
        where = f"field {field!r}, turn {number}"
        if not isinstance(turn, dict):
            raise RowError(f"{where} is {json_kind(turn)}, expected an object")
        role = turn.get(name_of(turn, "role", "from"))
        if role is None and ("human" in turn or "assistant" in turn):
            for role in PAIRED:
                reasoning = reasoning_of(turn) if ROLES[role] is Role.ASSISTANT else ""
                yield from _text(ROLES[role], turn.get(role), f"{where}, {role!r}", reasoning)
        elif isinstance(role, str) and role in ROLES:
            reasoning = turn_reasoning(turn) if ROLES[role] is Role.ASSISTANT else ""
            yield from _text(ROLES[role], _content(turn, where), where, reasoning)
        else:
            raise RowError(f"{where} has {'no role' if role is None else f'an unknown role: {reprlib.repr(role)}'}")


def _content(turn: Fields, where: str) -> object:
    """Return the content of a turn; tool calls follow its text as JSON, each on its own line."""
    content = turn.get(name_of(turn, "content", "value"))
    if isinstance(content, list):
        role = turn.get(name_of(turn, "role", "from"))
        content = joined_pieces(content, where, with_reasoning=ROLES[str(role)] is Role.ASSISTANT)
    calls = [to_json(call) for field in ("tool_calls", "function_call") if (call := _calls(turn.get(field), field))]
    if not calls or not isinstance(content, str | None):
        return content
    return "\n".join([content, *calls] if content else calls)


def _calls(value: object, field: str) -> Any:  # noqa: ANN401
    calls = canonical(value, field)
    return list(filter(is_call, calls)) if isinstance(calls, list) else calls if is_call(calls) else None


def is_call(call: object) -> bool:
    """Return whether a call of a tool holds anything besides its id and type, as those that a table fills in do not."""
    if isinstance(call, dict):
        return any(is_call(value) for name, value in call.items() if name not in ("id", "type", "index"))
    return any(map(is_call, call)) if isinstance(call, list) else call not in (None, "", "null", "{}", "[]")


def turn_reasoning(turn: Fields) -> str:
    """Return the reasoning of a turn, from its fields and from pieces of its content; what both hold counts once."""
    field = reasoning_of(turn)
    content = turn.get(name_of(turn, "content", "value"))
    pieces = map(reasoning_text, filter(_is_reasoning, content)) if isinstance(content, list) else ()
    return "\n\n".join(dict.fromkeys([*([field] if field else []), *(text for text in pieces if text not in field)]))


def joined_pieces(content: list[Any], where: str, *, with_reasoning: bool) -> str:
    """Join the pieces of a turn's content that are text, without reasoning, images and the like.

    :param with_reasoning: whether there may be some that are reasoning.
    :raises RowError: a piece is of an unknown type.
    """
    left = (piece for piece in content if not is_media(piece) and not (with_reasoning and _is_reasoning(piece)))
    return "".join(_content_text(piece, where) for piece in left)


def is_media(piece: object) -> bool:
    """Return whether a piece of a turn's content is an image, a video or sound."""
    return isinstance(piece, dict) and media_of_piece(piece) is not None


def _is_reasoning(piece: object) -> bool:
    return isinstance(piece, dict) and piece.get("type") in PIECES and bool(reasoning_text(piece))


def _content_text(piece: object, where: str) -> str:
    if not isinstance(piece, dict):
        raise RowError(f"{where} has a piece of content that is {json_kind(piece)}, expected an object")
    if piece.get("type") != "text":
        raise RowError(f"{where} has content of type {reprlib.repr(piece.get('type'))}, only text can be used")
    if not isinstance(piece.get("text"), str):
        raise RowError(f"{where} has text content that is {json_kind(piece.get('text'))}, expected text")
    return str(piece["text"])


def name_of(row: Fields, *names: str) -> str:
    """Return which of the names of a field a row uses, the first if it uses none; an empty one only without another."""
    return first_filled(row, names)


def required(row: Fields, field: str) -> object:
    """Return a field.

    :raises RowError: it is missing.
    """
    if row.get(field) is None:
        raise RowError(f"field {field!r} is missing")
    return row[field]


def listed(value: object, where: str) -> list[Any]:
    """Return a list, or an empty one for null.

    :raises RowError: the value is something else.
    """
    if value is None:
        return []
    if not isinstance(value, list):
        raise RowError(f"{where} is {json_kind(value)}, expected a list")
    return value


def _text(role: Role, value: object, where: str, reasoning: str = "") -> Iterator[Part]:
    """Yield the part of a value that is not empty, or whose reasoning is not."""
    if value is None:
        value = ""
    if not isinstance(value, str):
        raise RowError(f"{where} is {json_kind(value)}, expected text")
    refuse_surrogates(value, where)
    refuse_surrogates(reasoning, where)
    if is_visible(value) or is_visible(reasoning):
        yield Part(role, value, reasoning)
