"""Whether a row has an answer: without one it teaches nothing, however good its question is."""

from collections.abc import Sequence
from typing import Any

from nait_index.corpus.formats import ROLES, Fields, name_of, row_parts
from nait_index.corpus.reasoning import segments
from nait_index.corpus.rows import RowError
from nait_index.types import Reasoning, Role, RowFormat

_NAMED_FIELDS = 3  # fields that a reason names at most
_ANSWERS = frozenset(
    "answer answers best_answer chosen completion completions correct_answer final_answer gold ground_truth label "
    "labels model_answer output outputs reference rejected reply response responses solution solutions target "
    "targets".split()
)
"""Names under which data sets hold answers, in lower case."""
_ANSWER_FIELDS = {
    RowFormat.ALPACA: ("output", "response"),
    RowFormat.PROMPT_COMPLETION: ("completion",),
    RowFormat.MESSAGES: ("messages",),
    RowFormat.SHAREGPT: ("conversations", "conversation"),
}
_NO_QUESTION = {"instruction": "", "prompt": ""} | dict.fromkeys(("input", "context", "system", "history", "tools"))


def missing_answer(row: Fields, row_format: RowFormat, reasoning: Reasoning = Reasoning.KEEP) -> str | None:
    """Return why a row has no answer, or ``None`` if it has one. Text without roles is its own answer.

    A call of a tool is an answer, and so is reasoning that is read. The reason names fields in which an answer may lie
    instead.

    :param row: one that :func:`~nait_index.corpus.formats.row_parts` can split.
    """
    if row_format is RowFormat.TEXT:
        return None
    field = name_of(row, *_ANSWER_FIELDS[row_format])
    value = row.get(field)
    turns = value if isinstance(value, list) else None
    if reasoning is Reasoning.KEEP and _is_plain(_answer_text(turns) if turns else value):
        return None
    if turns is None:
        alone, alone_format = {**row, **_NO_QUESTION}, row_format
    else:
        alone, alone_format = {"messages": turns[-1:]}, RowFormat.MESSAGES
    try:
        last = row_parts(alone, alone_format, reasoning)[-1]
        # A block of reasoning with nothing in it, and nothing after it, is no answer.
        role = last.role if any(text.strip() for _, text in segments(last.text)) else None
    except RowError:  # no text: any other fault of the row would have been raised before
        role = None
    if role is Role.ASSISTANT:
        return None
    return f"no answer: {_problem(value, field, role)}{_elsewhere(row, field)}"


def _answer_text(turns: Sequence[Any]) -> object:
    """Return the text of the last turn if it is the assistant's."""
    last = turns[-1]
    if not isinstance(last, dict) or ROLES.get(str(last.get(name_of(last, "role", "from")))) is not Role.ASSISTANT:
        return None
    return last.get(name_of(last, "content", "value"))


def _is_plain(value: object) -> bool:
    """Return whether a value is text that surely says something: most answers, which need not be read again."""
    return isinstance(value, str) and value.lstrip()[:1] not in ("", "<", "[", "◁")


def _problem(value: object, field: str, role: Role | None) -> str:
    if value is None:
        return f"no {field!r}"
    if role is not None:
        return f"the last turn of {field!r} is the {'system' if role is Role.TOOLS else role}'s"
    return f"the last turn of {field!r} is empty" if isinstance(value, list) and value else f"{field!r} is empty"


def _elsewhere(row: Fields, field: str) -> str:
    names = [name for name, value in row.items() if name != field and name.lower() in _ANSWERS and value]
    named = " and ".join(repr(name) for name in names[:_NAMED_FIELDS])
    return f"; the row has {named}" if names else ""
