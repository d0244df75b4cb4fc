"""A row of any shape -> its conversation: who says what, with which tools.

Nothing is left out here but blank system texts: what a shape cannot hold is found out when it is written.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from nait_index.corpus.formats import ROLES, content_text, listed, name_of, required
from nait_index.corpus.rows import RowError, json_kind
from nait_index.types import Role, RowFormat

Fields = Mapping[str, Any]
Call = dict[str, Any]
"""One call of a tool, as OpenAI's messages have it, with the arguments as an object."""

_ROLE_KEYS, _TEXT_KEYS = ("role", "from"), ("content", "value")
_CALL_KEYS = ("tool_calls", "function_call")
_CALLING = "function_call"  # ShareGPT's role of a turn whose text is a call


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn.

    :param role: system, user, assistant or tool. :param calls: of tools.
    :param more: what else the turn holds, such as ``name``, ``tool_call_id`` or ``weight``.
    """

    role: Role
    text: str
    calls: tuple[Call, ...] = ()
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a row says, whatever its shape.

    :param tools: definitions, each ``{"type": "function", "function": {…}}``.
    :param columns: the row's columns that it was read from.
    """

    turns: tuple[Turn, ...]
    tools: tuple[dict[str, Any], ...]
    columns: tuple[str, ...]


def read_conversation(row: Fields, row_format: RowFormat) -> Conversation:
    """Read what a row says.

    :raises RowError: it is plain text, or something in it is not what it should be.
    """
    if row_format is RowFormat.TEXT:
        raise RowError("plain text has no turns")
    if row_format is RowFormat.ALPACA:
        more, answer = name_of(row, "input", "context"), name_of(row, "output", "response")
        columns, turns = ["system", "history", "instruction", more, answer], tuple(_alpaca(row, more, answer))
    elif row_format is RowFormat.PROMPT_COMPLETION:
        columns, turns = ["prompt", "completion"], tuple(_prompt_completion(row))
    else:
        names = ("messages",) if row_format is RowFormat.MESSAGES else ("conversations", "conversation")
        name = name_of(row, *names)
        columns, turns = ["system", name], (*_system(row), *_turns(required(row, name), name))
    if not turns:
        raise RowError("there is not one turn in it")
    return Conversation(turns, _tools(row.get("tools")), tuple(own for own in (*columns, "tools") if own in row))


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
    if row.get(answer) is not None:
        yield Turn(Role.ASSISTANT, _text(row[answer], f"field {answer!r}"))


def _prompt_completion(row: Fields) -> Iterator[Turn]:
    for name, role in (("prompt", Role.USER), ("completion", Role.ASSISTANT)):
        value = required(row, name)
        if isinstance(value, list):
            yield from _turns(value, name)
        else:
            yield Turn(role, _text(value, f"field {name!r}"))


def _system(row: Fields) -> Iterator[Turn]:
    text = _text(row.get("system"), "field 'system'")
    if text.strip():
        yield Turn(Role.SYSTEM, text)


def _turns(turns: object, name: str) -> Iterator[Turn]:
    for number, turn in enumerate(listed(turns, f"field {name!r}"), start=1):
        where = f"field {name!r}, turn {number}"
        if not isinstance(turn, dict):
            raise RowError(f"{where} is {json_kind(turn)}, wanted an object")
        word = turn.get(name_of(turn, *_ROLE_KEYS))
        if word is None and ("human" in turn or "assistant" in turn):
            yield from _pair(turn, where)
        elif not isinstance(word, str) or word not in ROLES:
            raise RowError(f"{where} has {'no role' if word is None else f'an unknown role: {word!r:.40}'}")
        else:
            yield _turn(turn, word, where)


def _pair(turn: Fields, where: str) -> Iterator[Turn]:
    """Read a question and its answer, of which either may be empty; what else is said of them goes with the last."""
    words = ("system", "human", "assistant")
    texts = {own: _text(turn[own], where) for own in words if turn.get(own) or (own in turn and own != "system")}
    more = {key: own for key, own in turn.items() if key not in words and own is not None}
    for number, (word, text) in enumerate(texts.items(), start=1):
        yield Turn(ROLES[word], text, more=more if number == len(texts) else {})


def _turn(turn: Fields, word: str, where: str) -> Turn:
    value = turn.get(name_of(turn, *_TEXT_KEYS))
    if isinstance(value, list):
        value = "".join(content_text(piece, where) for piece in value)
    text, calls = _text(value, where), [*listed(turn.get("tool_calls"), where), *_of(turn.get("function_call"))]
    if word == _CALLING:
        calls, text = [*_of(_json(text, f"{where} is a call of a tool that")), *calls], ""
    known = (*_ROLE_KEYS, *_TEXT_KEYS, *_CALL_KEYS)
    more = {key: own for key, own in turn.items() if key not in known and own is not None}
    return Turn(ROLES[word], text, tuple(_call(own, where) for own in calls), more)


def _call(call: object, where: str) -> Call:
    """Give a call as OpenAI's messages have it, whether it came so or, as in ShareGPT, all in one object."""
    outer = call if isinstance(call, dict) else {}
    inner = outer.get("function", outer)
    if not isinstance(inner, dict) or not isinstance(inner.get("name"), str):
        raise RowError(f"{where} has a call of a tool without a name")
    arguments = {} if inner.get("arguments") is None else inner["arguments"]
    if isinstance(arguments, str):
        arguments = _json(arguments, f"{where} has arguments of a tool, and they are text that")
    known = ("type", "function", "name", "arguments")
    more = {key: own for key, own in outer.items() if key not in known and own is not None}
    return more | {"type": "function", "function": {"name": inner["name"], "arguments": arguments}}


def _tools(value: object) -> tuple[dict[str, Any], ...]:
    if isinstance(value, str):
        value = _json(value, "field 'tools'") if value.strip() else None
    tools = [_json(own, "field 'tools'") if isinstance(own, str) else own for own in _of(value)]
    if not all(isinstance(own, dict) for own in tools):
        raise RowError("field 'tools' is not a list of definitions")
    return tuple(own if "function" in own else {"type": "function", "function": own} for own in tools)


def _of(value: object) -> list[Any]:
    """Give what may be one thing, several or none as a list."""
    return value if isinstance(value, list) else [] if value is None else [value]


def _json(text: str, what: str) -> Any:  # noqa: ANN401
    try:
        return json.loads(text)
    except ValueError:
        raise RowError(f"{what} is not JSON") from None


def _text(value: object, where: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise RowError(f"{where} is {json_kind(value)}, wanted text")
    return value
