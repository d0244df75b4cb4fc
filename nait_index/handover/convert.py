"""A row of one shape -> the same conversation in another, all other columns kept.

| to | what it cannot hold, so that the row is refused |
|---|---|
| ``messages`` | nothing |
| ``sharegpt`` | turns that do not alternate, as LLaMA-Factory wants them to; text beside a call of a tool |
| ``prompt-completion`` | a row that does not end with an answer to something |
| ``alpaca`` | calls of tools and their results; turns that are not questions and answers by turns |

Prompts and completions are always written as lists of messages: text and lists cannot stand in one column.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from nait_index.corpus import to_json
from nait_index.corpus.rows import RowError
from nait_index.errors import NaitError
from nait_index.handover.conversation import Call, Conversation, Fields, Turn, read_conversation
from nait_index.types import Role, RowFormat

_ASKING = (Role.USER, Role.TOOL)
_SHAREGPT = {Role.SYSTEM: "system", Role.USER: "human", Role.ASSISTANT: "gpt", Role.TOOL: "observation"}

TARGETS = tuple(own for own in RowFormat if own is not RowFormat.TEXT)
"""What rows can be converted to."""


def convert(row: Fields, source: RowFormat, target: RowFormat) -> tuple[dict[str, Any], frozenset[str]]:
    """Write a row in another shape.

    A column that has a name which the shape needs becomes ``original_NAME``.

    :returns: the row, and what its turns held that the shape has no place for.
    :raises RowError: the shape cannot hold what the row says; the message is the reason.
    :raises NaitError: rows cannot be converted to plain text.
    """
    if target not in _WRITERS:
        raise NaitError(f"rows are not converted to '{target}'; choose one of {', '.join(TARGETS)}")
    conversation = read_conversation(row, source)
    written = _WRITERS[target](conversation)
    if source is target is RowFormat.ALPACA and not conversation.tools:
        return _usual_names(row), frozenset()
    lost = {key for turn in conversation.turns for key in turn.more} if target is RowFormat.ALPACA else set()
    return _placed(row, conversation.columns, written), frozenset(lost)


def _usual_names(row: Fields) -> dict[str, Any]:
    """Leave an alpaca row as it is, its input beside its instruction, but for the other names of columns."""
    usual = {"context": "input", "response": "output"}
    return {name if usual.get(name, name) in row else usual[name]: value for name, value in row.items()}


def _placed(row: Fields, columns: Sequence[str], written: Mapping[str, Any]) -> dict[str, Any]:
    """Put the new columns where the first of the old ones was; the others keep their order."""
    placed: dict[str, Any] = {}
    first = next(name for name in row if name in columns)
    for name, value in row.items():
        if name == first:
            placed |= written
        if name not in columns:
            placed[_free(name, {*row, *written}) if name in written else name] = value
    return placed


def _free(name: str, taken: Collection[str]) -> str:
    while name in taken:
        name = f"original_{name}"
    return name


def _messages(conversation: Conversation) -> dict[str, Any]:
    tools = {"tools": list(conversation.tools)} if conversation.tools else {}
    return {"messages": [_message(turn) for turn in conversation.turns]} | tools


def _message(turn: Turn) -> dict[str, Any]:
    calls = {"tool_calls": list(turn.calls)} if turn.calls else {}
    return {"role": str(turn.role), "content": turn.text} | calls | dict(turn.more)


def _split(conversation: Conversation) -> tuple[tuple[Turn, ...], tuple[Turn, ...]]:
    """Split off the system's turn, where the first is one."""
    at = int(conversation.turns[0].role is Role.SYSTEM)
    return conversation.turns[:at], conversation.turns[at:]


def _sharegpt(conversation: Conversation) -> dict[str, Any]:
    system, spoken = _split(conversation)
    for number, turn in enumerate(spoken):
        if turn.role not in (_ASKING if number % 2 == 0 else (Role.ASSISTANT,)):
            raise RowError(
                f"turn {number + len(system) + 1} is the {turn.role}'s: asking and answering turns do not alternate"
            )
        if turn.calls and turn.text.strip():
            raise RowError(f"turn {number + len(system) + 1} both says something and calls a tool")
    if not spoken or spoken[-1].role in _ASKING:
        raise RowError("it does not end with an answer")
    return {"conversations": [_sharegpt_turn(turn) for turn in conversation.turns]} | _tools_text(conversation)


def _sharegpt_turn(turn: Turn) -> dict[str, Any]:
    if turn.calls:
        calls = [_bare(own) for own in turn.calls]
        return {"from": "function_call", "value": to_json(calls[0] if len(calls) == 1 else calls)} | dict(turn.more)
    return {"from": _SHAREGPT[turn.role], "value": turn.text} | dict(turn.more)


def _bare(call: Call) -> dict[str, Any]:
    return dict(call["function"]) | {key: own for key, own in call.items() if key not in ("type", "function")}


def _tools_text(conversation: Conversation) -> dict[str, Any]:
    """Tools as text, which LLaMA-Factory reads; of each only what OpenAI puts under ``function``."""
    bare = [own["function"] if set(own) <= {"type", "function"} else own for own in conversation.tools]
    return {"tools": to_json(bare)} if bare else {}


def _prompt_completion(conversation: Conversation) -> dict[str, Any]:
    *prompt, completion = conversation.turns
    if completion.role is not Role.ASSISTANT:
        raise RowError("it does not end with an answer")
    if not any(turn.role in _ASKING for turn in prompt):
        raise RowError("nothing is asked before the answer")
    tools = {"tools": list(conversation.tools)} if conversation.tools else {}
    return {"prompt": [_message(turn) for turn in prompt], "completion": [_message(completion)]} | tools


def _alpaca(conversation: Conversation) -> dict[str, Any]:
    if any(turn.calls or turn.role is Role.TOOL for turn in conversation.turns):
        raise RowError("it calls tools, for which alpaca has no place")
    system, spoken = _split(conversation)
    asked, answered = spoken[::2], spoken[1::2]
    alternating = {turn.role for turn in asked} == {Role.USER} and {turn.role for turn in answered} == {Role.ASSISTANT}
    if not alternating or len(asked) != len(answered):
        raise RowError("its turns are not questions and answers by turns")
    history = [[question.text, answer.text] for question, answer in zip(asked[:-1], answered[:-1], strict=True)]
    pair: dict[str, Any] = {"instruction": asked[-1].text, "input": "", "output": answered[-1].text}
    pair |= {"system": system[0].text} if system else {}
    return pair | ({"history": history} if history else {}) | _tools_text(conversation)


_WRITERS: dict[RowFormat, Callable[[Conversation], dict[str, Any]]] = {
    RowFormat.ALPACA: _alpaca,
    RowFormat.SHAREGPT: _sharegpt,
    RowFormat.MESSAGES: _messages,
    RowFormat.PROMPT_COMPLETION: _prompt_completion,
}
