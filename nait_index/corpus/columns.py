"""A row as it comes → the fields that a format is read from: columns of other names, and rows with two answers."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from nait_index.corpus.rows import RowError, json_kind
from nait_index.corpus.words import is_visible
from nait_index.errors import NaitError
from nait_index.spelling import did_you_mean
from nait_index.types import RowFormat, Side, lookup

Fields = Mapping[str, Any]

QUESTIONS = ("prompt", "question", "problem", "query", "input")
"""Columns that hold the question of a pair: the first that is not empty."""

ANSWERS = ("completion", "response", "output", "solution", "answer", "reward_model.ground_truth", "label")
"""Columns that hold its answer, likewise; a dot leads into an object."""

CONVERSATIONS = ("messages", "conversations", "conversation")
FIELDS = frozenset(
    "instruction input output context response system history tools prompt completion messages conversations text "
    "chosen rejected".split()
)
"""Fields of known formats, which ``--columns`` can name others for."""

ANSWER_ROLES = ("assistant", "gpt", "model", "chatbot", "function_call")
"""What the assistant is called in turns."""

_BETWEEN = "\n\n"
_SPEAKERS = re.compile(r"(?:^|\n\n)(Human|Assistant):")
_ROLE_OF = {"Human": "user", "Assistant": "assistant"}


def parse_columns(text: str) -> tuple[tuple[str, str], ...]:
    """Parse pairs of a field of a known format and the column that holds it: ``instruction=ask,output=reply``.

    :raises NaitError: it is not of this form, or there is no such field.
    """
    pairs = [tuple(part.strip() for part in pair.split("=", 1)) for pair in text.split(",")] if text.strip() else []
    columns = []
    for pair in pairs:
        if len(pair) != 2 or not all(pair):
            raise NaitError(
                "--columns is not of the form FIELD=COLUMN,FIELD=COLUMN, such as instruction=ask,output=reply"
            )
        if pair[0] not in FIELDS:
            hint = did_you_mean(pair[0], FIELDS) or f"; choose one of: {', '.join(sorted(FIELDS))}"
            raise NaitError(f"--columns: there is no field '{pair[0]}'{hint}")
        columns.append((pair[0], pair[1]))
    if len({field for field, _ in columns}) < len(columns):
        raise NaitError("--columns names a field twice")
    return tuple(columns)


def with_columns(row: Fields, columns: Sequence[tuple[str, str]]) -> Fields:
    """Return a row with the fields of a known format instead of columns of other names.

    :param columns: pairs of a field and the column that holds it.
    """
    named = {field: value for field, column in columns if (value := lookup(row, column)) is not None}
    if not named:
        return row
    moved = {column for field, column in columns if field in named}
    return {name: value for name, value in row.items() if name not in moved} | named


def question_name(row: Fields) -> str:
    """Return the column that holds the question of a pair."""
    return first_filled(row, QUESTIONS)


def answer_name(row: Fields) -> str:
    """Return the column that holds the answer of a pair, text or turns if there is any; ``label: true`` is none.

    A label in words is an answer where there is no other.
    """
    asked = question_name(row)
    values = {name: value for name in ANSWERS if name != asked and (value := lookup(row, name)) is not None}
    label = values.pop("label", None)
    texts = {name: value for name, value in values.items() if isinstance(value, str | list)}
    return first_filled(texts or values or ({"label": label} if isinstance(label, str | list) else {}), ANSWERS)


def first_filled(row: Fields, names: Sequence[str]) -> str:
    """Return the first of some columns that is not empty, else the first that is not null, else the first."""
    present = [name for name in names if row.get(name) is not None]
    if len(present) < 2:
        return present[0] if present else names[0]
    return next((name for name in present if not _is_blank(row[name])), present[0])


def _is_blank(value: object) -> bool:
    """Return whether a value is an empty text or list, as tables have it for what a row lacks."""
    return value == [] or (isinstance(value, str) and not is_visible(value))


def asked_name(row: Fields) -> str:
    """Return the column that holds the question of two answers."""
    name = first_filled(row, ("instruction", *QUESTIONS))
    return name if row.get(name) is not None else QUESTIONS[0]


def is_pair(row: Fields) -> bool:
    """Return whether a row has a question and an answer."""
    return row.get(question_name(row)) is not None and lookup(row, answer_name(row)) is not None


def one_answer(row: Fields, side: Side) -> tuple[Fields, RowFormat]:
    """Return a row with a preferred and a rejected answer as a row with one, and the format of that.

    Each answer is text, a turn, a list of turns, or a whole conversation.

    :param side: which answer; of both, one follows the other.
    :raises RowError: an answer is something else.
    """
    answers = [_turns(row[name], name) for name in ("chosen", "rejected") if side in (name, Side.BOTH)]
    rest = {name: value for name, value in row.items() if name not in ("chosen", "rejected")}
    whole = next((answer for answer in answers if _is_whole(answer)), None)
    if whole is not None:
        kept = {name: value for name, value in rest.items() if name not in (asked_name(rest), *CONVERSATIONS)}
        question = whole[: len(whole) - len(_end(whole))]
        ends = [_end(answer) if _is_whole(answer) else _as_turns(answer) for answer in answers]
        return kept | {"messages": [*question, *_joined(ends)]}, RowFormat.MESSAGES
    name = next((name for name in CONVERSATIONS if isinstance(rest.get(name), list)), None)
    if name is not None:
        form = RowFormat.MESSAGES if name == "messages" else RowFormat.SHAREGPT
        return rest | {name: [*rest[name], *_joined([*map(_as_turns, answers)])]}, form
    asked = asked_name(rest)
    texts = [answer for answer in answers if isinstance(answer, str)]
    if rest.get(asked) is None:
        talks = [_dialogue(text) for text in texts]
        if talks and len(talks) == len(answers) and all(talks):
            return rest | {"messages": [*talks[0][:-1], *_joined([talk[-1:] for talk in talks])]}, RowFormat.MESSAGES
        if len(texts) == len(answers):
            return {"text": _BETWEEN.join(texts)}, RowFormat.TEXT
        raise RowError("answers without a question: there is no 'prompt'")
    if all(map(_is_blank, answers)):  # another column is not the preferred answer
        rest = {name: value for name, value in rest.items() if name == asked or name not in ANSWERS}
    answer: Any = _BETWEEN.join(texts) if len(texts) == len(answers) else _joined([*map(_as_turns, answers)])
    if asked == "instruction":
        if not isinstance(answer, str) and not all(map(_is_plain, answer)):
            raise RowError("an answer to 'instruction' is not text, nor turns of text alone")
        text = answer if isinstance(answer, str) else _BETWEEN.join(turn[_text_name(turn)] for turn in answer)
        return rest | {"output": text}, RowFormat.ALPACA
    kept = {name: value for name, value in rest.items() if name != asked}
    return kept | {"prompt": rest[asked], "completion": answer}, RowFormat.PROMPT_COMPLETION


def _dialogue(text: str) -> list[dict[str, str]]:
    """Split a text of ``Human:`` and ``Assistant:`` paragraphs into turns, none if it is not one."""
    pieces = _SPEAKERS.split(text)
    roles = [_ROLE_OF[speaker] for speaker in pieces[1::2]]
    if pieces[0].strip() or not roles or roles[-1] != "assistant":
        return []
    return [{"role": role, "content": content.strip()} for role, content in zip(roles, pieces[2::2], strict=True)]


def _turns(answer: object, name: str) -> str | list[Any]:
    if isinstance(answer, dict):
        return [answer]
    if isinstance(answer, list) and answer and all(isinstance(turn, dict) for turn in answer):
        return answer
    if not isinstance(answer, str):
        raise RowError(f"field {name!r} is {json_kind(answer)}, expected text or turns")
    return answer


def _as_turns(answer: str | list[Any]) -> list[Any]:
    return [{"role": "assistant", "content": answer}] if isinstance(answer, str) else answer


def _is_answer(turn: Fields) -> bool:
    return turn.get(_role_name(turn)) in ANSWER_ROLES


def _is_whole(answer: str | list[Any]) -> bool:
    """Return whether an answer is a whole conversation, which begins with its question."""
    return isinstance(answer, list) and not _is_answer(answer[0])


def _end(turns: Sequence[Any]) -> Sequence[Any]:
    """Return the assistant's turns at the end of a conversation."""
    last = next((number for number in range(len(turns), 0, -1) if not _is_answer(turns[number - 1])), 0)
    return turns[last:]


def _role_name(turn: Fields) -> str:
    return first_filled(turn, ("role", "from"))


def _text_name(turn: Fields) -> str:
    return first_filled(turn, ("content", "value"))


def _joined(answers: Sequence[Sequence[Any]]) -> list[Any]:
    """Join the turns of one or two answers.

    Many chat templates refuse two turns of the assistant in a row, so where the answers meet, one turn is made of two
    that hold nothing but text.
    """
    first, *others = answers
    if not others or not first or not others[0]:
        return [turn for answer in answers for turn in answer]
    last, following = first[-1], others[0][0]
    if not _is_plain(last) or not _is_plain(following) or last[_role_name(last)] != following[_role_name(following)]:
        return [*first, *others[0]]
    texts = last[_text_name(last)], following[_text_name(following)]
    return [*first[:-1], last | {_text_name(last): _BETWEEN.join(texts)}, *others[0][1:]]


def _is_plain(turn: Fields) -> bool:
    """Return whether a turn is the assistant's and holds nothing but text, besides fields that a table filled in."""
    role, text = _role_name(turn), _text_name(turn)
    others = [value for name, value in turn.items() if name not in (role, text)]
    return _is_answer(turn) and isinstance(turn.get(text), str) and all(value in (None, "", [], {}) for value in others)
