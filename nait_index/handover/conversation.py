"""A row of any format → its conversation: its turns and its tools.

Nothing is left out here except blank system texts; what a format cannot hold is refused when the row is written.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nait_index.corpus.columns import answer_name, question_name
from nait_index.corpus.formats import (
    PAIRED,
    ROLES,
    is_call,
    is_media,
    joined_pieces,
    listed,
    name_of,
    required,
    turn_reasoning,
)
from nait_index.corpus.media import media_columns
from nait_index.corpus.reasoning import FIELDS, reasoning_of, reasoning_text
from nait_index.corpus.rows import RowError, json_kind
from nait_index.handover.rows import CONVERSATIONS
from nait_index.types import Role, RowFormat, lookup

Fields = Mapping[str, Any]
Call = dict[str, Any]
"""One call of a tool in the form of OpenAI's messages, with the arguments as an object."""

_ROLE_KEYS, _TEXT_KEYS = ("role", "from"), ("content", "value")
_CALL_KEYS = ("tool_calls", "function_call")
_CALLING = "function_call"  # in ShareGPT, the role of a turn whose text is a call


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn.

    :param calls: its calls of tools. :param reasoning: the fields that hold its reasoning.
    :param more: its other fields, such as ``name``, ``tool_call_id`` or ``weight``.
    """

    role: Role
    text: str
    calls: tuple[Call, ...] = ()
    reasoning: Mapping[str, Any] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Conversation:
    """The conversation of a row, whatever the row's format.

    :param tools: definitions, each ``{"type": "function", "function": {…}}``.
    :param columns: the columns of the row that it was read from.
    """

    turns: tuple[Turn, ...]
    tools: tuple[dict[str, Any], ...]
    columns: tuple[str, ...]


def read_conversation(row: Fields, row_format: RowFormat) -> Conversation:
    """Read the conversation of a row.

    :raises RowError: the row is plain text, or malformed.
    """
    if row_format is RowFormat.TEXT:
        raise RowError("plain text has no turns")
    if row_format is RowFormat.ALPACA:
        more, answer = name_of(row, "input", "context"), name_of(row, "output", "response")
        columns, turns = ["system", "history", "instruction", more, answer], tuple(_alpaca(row, more, answer))
        columns += _reasoning_fields(row)
    elif row_format is RowFormat.PROMPT_COMPLETION:
        answer = answer_name(row)
        columns, turns = ["system", question_name(row), answer], tuple(_prompt_completion(row))
        columns += [] if isinstance(lookup(row, answer), list) else _reasoning_fields(row)
    else:
        name = name_of(row, *CONVERSATIONS[row_format])
        columns, turns = ["system", name], (*_system(row), *_turns(required(row, name), name))
    if not turns:
        raise RowError("it has no turns")
    return Conversation(
        turns, _tools(row.get("tools")), tuple(column for column in (*columns, "tools") if column in row)
    )


def _alpaca(row: Fields, more: str, answer: str) -> Iterator[Turn]:
    yield from _system(row)
    for number, pair in enumerate(listed(row.get("history"), "field 'history'"), start=1):
        where = f"field 'history', turn {number}"
        if not isinstance(pair, list) or len(pair) != 2:
            raise RowError(f"{where} is not a pair of question and answer")
        yield Turn(Role.USER, _text(pair[0], where))
        yield Turn(Role.ASSISTANT, _text(pair[1], where))
    asked = [_text(row.get(name), f"field {name!r}") for name in ("instruction", more)]
    yield Turn(Role.USER, "\n".join(text for text in asked if text.strip()) or asked[0])
    reasoning = _reasoning_fields(row)
    if row.get(answer) is not None or reasoning:
        yield Turn(Role.ASSISTANT, _text(row.get(answer), f"field {answer!r}"), reasoning=reasoning)


def _prompt_completion(row: Fields) -> Iterator[Turn]:
    yield from _system(row)
    for name, role in ((question_name(row), Role.USER), (answer_name(row), Role.ASSISTANT)):
        value = required(row, name) if role is Role.USER else lookup(row, name)
        if isinstance(value, list):
            yield from _turns(value, name)
        else:
            reasoning = _reasoning_fields(row) if role is Role.ASSISTANT else {}
            yield Turn(role, _text(value, f"field {name!r}"), reasoning=reasoning)


def _system(row: Fields) -> Iterator[Turn]:
    text = _text(row.get("system"), "field 'system'")
    if text.strip():
        yield Turn(Role.SYSTEM, text)


def _turns(turns: object, name: str) -> Iterator[Turn]:
    for number, turn in enumerate(listed(turns, f"field {name!r}"), start=1):
        where = f"field {name!r}, turn {number}"
        if not isinstance(turn, dict):
            raise RowError(f"{where} is {json_kind(turn)}, expected an object")
        word = turn.get(name_of(turn, *_ROLE_KEYS))
        if word is None and ("human" in turn or "assistant" in turn):
            yield from _pair(turn, where)
        elif not isinstance(word, str) or word not in ROLES:
            raise RowError(f"{where} has {'no role' if word is None else f'an unknown role: {word!r:.40}'}")
        else:
            yield _turn(turn, word, where)


def _pair(turn: Fields, where: str) -> Iterator[Turn]:
    """Read a question and its answer from one object; either may be empty, and other fields go with the last turn."""
    needed = ("human", "assistant")
    texts = {word: _text(turn[word], where) for word in PAIRED if turn.get(word) or (word in turn and word in needed)}
    more = _other_fields(turn, PAIRED)
    for number, (word, text) in enumerate(texts.items(), start=1):
        reasoning = _reasoning_fields(turn) if ROLES[word] is Role.ASSISTANT else {}
        left = {key: value for key, value in more.items() if key not in reasoning}
        yield Turn(ROLES[word], text, reasoning=reasoning, more=left if number == len(texts) else {})


def _turn(turn: Fields, word: str, where: str) -> Turn:
    text_key = name_of(turn, *_TEXT_KEYS)
    value = turn.get(text_key)
    if media_columns(turn) or (isinstance(value, list) and any(map(is_media, value))):
        raise RowError(f"{where} holds images, video or audio, which cannot be converted")
    if isinstance(value, list):
        value = joined_pieces(value, where, with_reasoning=ROLES[word] is Role.ASSISTANT)
    text, calls = _text(value, where), [call for key in _CALL_KEYS for call in _calls(turn.get(key), where)]
    if word == _CALLING:
        calls, text = [*_as_list(_json(text, f"{where} is a call of a tool that")), *calls], ""
    reasoning = _reasoning_fields(turn) if ROLES[word] is Role.ASSISTANT else {}
    read = _reasoned(turn) if reasoning else {}
    more = _other_fields(turn, (name_of(turn, *_ROLE_KEYS), text_key, *_CALL_KEYS, *read))
    return Turn(ROLES[word], text, tuple(_call(call, where) for call in calls), reasoning, more)


def _reasoning_fields(fields: Fields) -> dict[str, Any]:
    """Return the fields of reasoning as text; of reasoning in pieces of the content, the usual field is made."""
    if turn_reasoning(fields) != reasoning_of(fields):
        return {FIELDS[0]: turn_reasoning(fields)}
    return {name: reasoning_text(value) for name, value in _reasoned(fields).items()}


def _reasoned(fields: Fields) -> dict[str, Any]:
    """Return the fields that hold reasoning."""
    return {name: fields[name] for name in FIELDS if reasoning_of({name: fields.get(name)})}


def _other_fields(fields: Fields, known: Sequence[str]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key not in known and value is not None}


def _calls(value: object, where: str) -> list[Any]:
    if isinstance(value, str) and value.strip():
        value = _json(value, f"{where} calls a tool with text, which")
    return list(filter(is_call, _as_list(value)))


def _call(call: object, where: str) -> Call:
    """Return a call in the form of OpenAI's messages; ShareGPT has name and arguments in the outer object."""
    outer = call if isinstance(call, dict) else {}
    inner = outer.get("function", outer)
    if not isinstance(inner, dict) or not isinstance(inner.get("name"), str):
        raise RowError(f"{where} calls a tool without a name")
    arguments = {} if inner.get("arguments") is None else inner["arguments"]
    if isinstance(arguments, str):
        arguments = _json(arguments, f"{where} calls a tool with text as arguments, which")
    more = _other_fields(outer, ("type", "function", "name", "arguments"))
    inner_more = {} if inner is outer else _other_fields(inner, ("name", "arguments"))
    function = {"name": inner["name"], "arguments": arguments} | inner_more
    return more | {"type": outer.get("type") or "function", "function": function}


def _tools(value: object) -> tuple[dict[str, Any], ...]:
    if isinstance(value, str):
        value = _json(value, "field 'tools'") if value.strip() else None
    tools = [_json(tool, "field 'tools'") if isinstance(tool, str) else tool for tool in _as_list(value)]
    if not all(isinstance(tool, dict) for tool in tools):
        raise RowError("field 'tools' is not a list of definitions")
    return tuple(tool if "function" in tool else {"type": "function", "function": tool} for tool in tools)


def _as_list(value: object) -> list[Any]:
    """Return a list as it is, ``None`` as an empty list, and anything else as a list of one."""
    return value if isinstance(value, list) else [] if value is None else [value]


def _json(text: str, subject: str) -> Any:  # noqa: ANN401
    try:
        return json.loads(text)
    except ValueError:
        raise RowError(f"{subject} is not JSON") from None


def _text(value: object, where: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise RowError(f"{where} is {json_kind(value)}, expected text")
    return value
