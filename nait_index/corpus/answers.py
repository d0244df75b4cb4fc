"""Whether a row has an answer: without one it teaches nothing, however good its question is."""

from collections.abc import Sequence
from typing import Any

from nait_index.corpus.columns import Fields, answer_name
from nait_index.corpus.formats import ROLES, known_fields, name_of, row_parts
from nait_index.corpus.reasoning import segments
from nait_index.corpus.rows import RowError
from nait_index.corpus.words import is_visible
from nait_index.types import DEFAULT_READING, Reading, Reasoning, Role, RowFormat, Side, lookup

_NAMED_FIELDS = 3  # fields that a reason names at most
_ANSWERS = frozenset(
    "answer answers best_answer chosen completion completions correct_answer final_answer gold ground_truth label "
    "labels model_answer output outputs reference rejected reply response responses solution solutions target "
    "targets".split()
)
"""Names under which data sets hold answers, in lower case."""
_ANSWER_FIELDS = {
    RowFormat.ALPACA: ("output", "response"),
    RowFormat.MESSAGES: ("messages",),
    RowFormat.SHAREGPT: ("conversations", "conversation"),
}
_NO_QUESTION = {"instruction": "", "prompt": ""} | dict.fromkeys(("input", "context", "system", "history", "tools"))


def missing_answer(row: Fields, row_format: RowFormat, reading: Reading = DEFAULT_READING) -> str | None:
    """Return why a row has no answer, or ``None`` if it has one. Text without roles is its own answer.

    A call of a tool is an answer, and so is reasoning that is read. An earlier answer that is empty would be trained on
    as well. The reason names fields in which an answer may lie instead.

    :param row: one that :func:`~nait_index.corpus.formats.row_parts` can split.
    """
    preferred = row_format is RowFormat.PREFERENCE
    row, row_format = known_fields(row, row_format, reading)
    reasoning = reading.reasoning
    if row_format is RowFormat.TEXT:
        return None
    is_pair = row_format is RowFormat.PROMPT_COMPLETION
    field = answer_name(row) if is_pair else name_of(row, *_ANSWER_FIELDS[row_format])
    value = lookup(row, field)
    turns = value if isinstance(value, list) else None
    if turns:
        role = _last_role(turns[-1], {"messages": turns[-1:]}, RowFormat.MESSAGES, reasoning)
    else:
        role = _last_role({"assistant": value}, {**row, **_NO_QUESTION}, row_format, reasoning)
    if role is not Role.ASSISTANT:
        is_reasoned = reasoning is Reasoning.DROP and missing_answer(row, row_format) is None
        dropped = " without its reasoning" if is_reasoned else ""
        named = repr(field if not preferred else "rejected" if reading.side is Side.REJECTED else "chosen")
        return f"no answer: {_problem(value, named, role)}{dropped}{_elsewhere(row, field)}"
    if row_format is RowFormat.ALPACA:
        field, turns = "history", [{"assistant": pair[1]} for pair in row.get("history") or ()]
    number = _empty_turn(turns or (), reasoning)
    return None if number is None else f"no answer: turn {number} of {field!r} is the assistant's and empty"


def _last_role(turn: object, row: Fields, row_format: RowFormat, reasoning: Reasoning) -> Role | None:
    """Return the role of the last part of a row that says something.

    :param turn: the row's last, whose text alone is enough in most rows.
    """
    if reasoning is Reasoning.KEEP and _is_plain(_answer_text(turn)):
        return Role.ASSISTANT
    try:
        last = row_parts(row, row_format, Reading(reasoning))[-1]
    except RowError:  # no text: any other fault of the row would have been raised before
        return None
    # A block of reasoning with nothing in it, and nothing after it, is no answer.
    return last.role if any(is_visible(text) for _, text in segments(last.text)) else None


def _empty_turn(turns: Sequence[Any], reasoning: Reasoning) -> int | None:
    """Return the number of the first of the assistant's turns that says nothing."""
    for number, turn in enumerate(turns, start=1):
        row = {"messages": [turn]}
        if _is_answer(turn) and _last_role(turn, row, RowFormat.MESSAGES, reasoning) is not Role.ASSISTANT:
            return number
    return None


def _is_answer(turn: object) -> bool:
    if not isinstance(turn, dict):
        return False
    role = turn.get(name_of(turn, "role", "from"))
    return "assistant" in turn if role is None else ROLES.get(str(role)) is Role.ASSISTANT


def _answer_text(turn: object) -> object:
    """Return the text of a turn if it is the assistant's."""
    if not isinstance(turn, dict) or not _is_answer(turn):
        return None
    return turn.get(name_of(turn, "content", "value", "assistant"))


def _is_plain(value: object) -> bool:
    """Return whether a value is text that surely says something: most answers, which need not be read again."""
    first = value.lstrip()[:1] if isinstance(value, str) else ""
    return first not in ("<", "[", "◁") and is_visible(first)


def _problem(value: object, field: str, role: Role | None) -> str:
    if value is None:
        return f"no {field}"
    if role is not None:
        return f"the last turn of {field} is the {'system' if role is Role.TOOLS else role}'s"
    return f"the last turn of {field} is empty" if isinstance(value, list) and value else f"{field} is empty"


def _elsewhere(row: Fields, field: str) -> str:
    names = [name for name, value in row.items() if name != field and name.lower() in _ANSWERS and value]
    named = " and ".join(repr(name) for name in names[:_NAMED_FIELDS])
    return f"; the row has {named}" if names else ""
