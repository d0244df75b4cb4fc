"""Convert rows: the same conversation in another format, with all other columns kept.

| target | rows that it cannot hold, which are refused |
|---|---|
| ``messages`` | none |
| ``sharegpt`` | turns that do not alternate, as LLaMA-Factory requires; a turn with both text and a call of a tool |
| ``prompt-completion`` | rows that do not end with an answer to something |
| ``alpaca`` | calls of tools and their results; turns that do not alternate between question and answer |

Prompts and completions are always written as lists of messages, because one column cannot mix text and lists.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nait_index.corpus import to_json
from nait_index.corpus.answers import missing_answer
from nait_index.corpus.formats import known_fields
from nait_index.corpus.reasoning import inlined, reasoning_of
from nait_index.corpus.rows import RowError, one_line
from nait_index.errors import NaitError
from nait_index.handover.conversation import Call, Conversation, Fields, Turn, read_conversation
from nait_index.handover.rows import SHAREGPT_ROLES, ChosenRow, OutRow
from nait_index.types import Role, RowFormat

_ASKING = (Role.USER, Role.TOOL)
_MESSAGE_KEYS = frozenset({"role", "content", "tool_calls"})
_TURN_KEYS = {
    RowFormat.MESSAGES: _MESSAGE_KEYS,
    RowFormat.PROMPT_COMPLETION: _MESSAGE_KEYS,
    RowFormat.SHAREGPT: frozenset({"from", "value"}),
}
"""Keys of the turns of each format, which no other field of a turn can have."""


@dataclass(frozen=True, slots=True)
class Refused:
    """One row that cannot be written as a training row of the target format, and the reason.

    :param row: as JSON text. :param number: its position among the selected rows, from 0.
    """

    id: str
    row: str
    number: int
    reason: str


def convert_row(row: ChosenRow, number: int, target: RowFormat | None, lost: Counter[str]) -> OutRow | Refused:
    """Convert a row. One that is in the target format already, or any without a target, keeps its bytes.

    A row without an answer is refused, whatever the target: it is no training row.

    :param number: its position among the selected rows. :param lost: counts, by name, in how many rows a field of
        turns was left out.
    """
    try:
        text, keys = _converted(row, target)
    except RowError as error:
        return Refused(row.id, row.row, number, str(error))
    lost.update(sorted(keys))
    return OutRow(row.id, number, text, row.format if target is None else target)


def _converted(row: ChosenRow, target: RowFormat | None) -> tuple[str, frozenset[str]]:
    """Return a row in the target format as JSON on one line, and the fields of turns that were left out.

    :raises RowError: it has no answer, or the target cannot hold it.
    """
    fields, reading = row.fields, row.reading.for_training
    _check_answered(missing_answer(fields, row.format, reading))
    if target is None:
        return one_line(row.row), frozenset()
    new, keys = convert(*known_fields(fields, row.format, reading), target)
    _check_answered(missing_answer(new, target))
    same = new == fields and list(new) == list(fields)
    return one_line(row.row) if same else to_json(new), keys


def _check_answered(missing: str | None) -> None:
    if missing is not None:
        raise RowError(missing)


def convert(row: Fields, source: RowFormat, target: RowFormat) -> tuple[dict[str, Any], frozenset[str]]:
    """Convert one row.

    Another column with a name that the target needs becomes ``original_NAME``.

    :returns: the row, and the fields of its turns that the target has no place for.
    :raises RowError: the target cannot hold the row; the message is the reason.
    :raises NaitError: the target is plain text, to which rows cannot be converted.
    """
    if target not in _WRITERS:
        raise NaitError(f"rows cannot be converted to '{target}'; choose one of {', '.join(TARGETS)}")
    conversation = read_conversation(row, source)
    written = _WRITERS[target](conversation)
    if source is target is RowFormat.ALPACA and not conversation.tools and not conversation.turns[-1].reasoning:
        # Only renamed, so that the input stays separate from the instruction.
        usual = {"context": "input", "response": "output"}
        renamed = {name if usual.get(name, name) in row else usual[name]: value for name, value in row.items()}
        return renamed, frozenset()
    lost = frozenset(key for turn in conversation.turns for key in turn.more if not _has_place(key, target))
    return _placed(row, conversation.columns, written), lost


def _has_place(key: str, target: RowFormat) -> bool:
    """Return whether a turn of a format can have a field besides its own."""
    return target in _TURN_KEYS and key not in _TURN_KEYS[target]


def _more(turn: Turn, target: RowFormat) -> dict[str, Any]:
    return {key: value for key, value in turn.more.items() if _has_place(key, target)}


def _placed(row: Fields, columns: Sequence[str], written: Mapping[str, Any]) -> dict[str, Any]:
    """Put the new columns where the first replaced one was; all others keep their order."""
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
    return {"messages": [_message(turn) for turn in conversation.turns]} | _tools(conversation)


def _message(turn: Turn) -> dict[str, Any]:
    calls = {"tool_calls": list(turn.calls)} if turn.calls else {}
    message = {"role": str(turn.role), "content": turn.text} | calls | dict(turn.reasoning)
    return message | _more(turn, RowFormat.MESSAGES)


def _spoken(turn: Turn) -> str:
    """Return the text of a turn, with its reasoning as a block where the target has no field for that."""
    return inlined(reasoning_of(turn.reasoning), turn.text)


def _tools(conversation: Conversation) -> dict[str, Any]:
    return {"tools": list(conversation.tools)} if conversation.tools else {}


def _split(conversation: Conversation) -> tuple[tuple[Turn, ...], tuple[Turn, ...]]:
    """Split off a system turn at the beginning."""
    start = int(conversation.turns[0].role is Role.SYSTEM)
    return conversation.turns[:start], conversation.turns[start:]


def _sharegpt(conversation: Conversation) -> dict[str, Any]:
    system, spoken = _split(conversation)
    for number, turn in enumerate(spoken):
        if turn.role not in (_ASKING if number % 2 == 0 else (Role.ASSISTANT,)):
            raise RowError(
                f"turn {number + len(system) + 1} has the role {turn.role}: asking and answering turns do not alternate"
            )
        if turn.calls and _spoken(turn).strip():
            raise RowError(f"turn {number + len(system) + 1} has both text and a call of a tool")
    if not spoken or spoken[-1].role in _ASKING:
        raise RowError("it does not end with an answer")
    return {"conversations": [_sharegpt_turn(turn) for turn in conversation.turns]} | _tools_text(conversation)


def _sharegpt_turn(turn: Turn) -> dict[str, Any]:
    if turn.calls:
        calls = [_bare(call) for call in turn.calls]
        written = {"from": "function_call", "value": to_json(calls[0] if len(calls) == 1 else calls)}
    else:
        written = {"from": SHAREGPT_ROLES[turn.role], "value": _spoken(turn)}
    return written | _more(turn, RowFormat.SHAREGPT)


def _bare(call: Call) -> dict[str, Any]:
    more = {key: value for key, value in call.items() if key != "function" and (key, value) != ("type", "function")}
    return dict(call["function"]) | more


def _tools_text(conversation: Conversation) -> dict[str, Any]:
    """Write tools as text, as LLaMA-Factory reads them: of each only what OpenAI puts under ``function``."""
    bare = [tool["function"] if set(tool) <= {"type", "function"} else tool for tool in conversation.tools]
    return {"tools": to_json(bare)} if bare else {}


def _prompt_completion(conversation: Conversation) -> dict[str, Any]:
    *prompt, completion = conversation.turns
    if completion.role is not Role.ASSISTANT:
        raise RowError("it does not end with an answer")
    if not any(turn.role in _ASKING for turn in prompt):
        raise RowError("nothing is asked before the answer")
    messages = {"prompt": [_message(turn) for turn in prompt], "completion": [_message(completion)]}
    return messages | _tools(conversation)


def _alpaca(conversation: Conversation) -> dict[str, Any]:
    if any(turn.calls or turn.role is Role.TOOL for turn in conversation.turns):
        raise RowError("it calls tools, which alpaca cannot hold")
    system, spoken = _split(conversation)
    asked, answered = spoken[::2], spoken[1::2]
    alternating = {turn.role for turn in asked} == {Role.USER} and {turn.role for turn in answered} == {Role.ASSISTANT}
    if not alternating or len(asked) != len(answered):
        raise RowError("its turns do not alternate between question and answer")
    history = [[question.text, _spoken(answer)] for question, answer in zip(asked[:-1], answered[:-1], strict=True)]
    pair: dict[str, Any] = {"instruction": asked[-1].text, "input": "", "output": _spoken(answered[-1])}
    pair |= {"system": system[0].text} if system else {}
    return pair | ({"history": history} if history else {}) | _tools_text(conversation)


_WRITERS: dict[RowFormat, Callable[[Conversation], dict[str, Any]]] = {
    RowFormat.ALPACA: _alpaca,
    RowFormat.SHAREGPT: _sharegpt,
    RowFormat.MESSAGES: _messages,
    RowFormat.PROMPT_COMPLETION: _prompt_completion,
}

TARGETS = tuple(_WRITERS)
"""The formats that rows can be converted to."""
