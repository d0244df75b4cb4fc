"""Rows with a preferred and a rejected answer, as trainers read them: unchanged, and named in their own way."""

from collections.abc import Sequence
from typing import Any

from nait_index.corpus.columns import CONVERSATIONS, asked_name, first_filled
from nait_index.corpus.formats import ROLES, name_of
from nait_index.handover.chat import check_turns
from nait_index.handover.rows import OutRow, UnreadableError, check_text
from nait_index.handover.writers import OutputKind
from nait_index.types import Role

ANSWERS = ("chosen", "rejected")

REMEDY = "convert them to rows of one answer, such as --as messages, or write them without --for"
"""What can be done with preferences that a trainer cannot read."""


def llamafactory(rows: Sequence[OutRow]) -> dict[str, Any]:
    """Return the columns of an entry of LLaMA-Factory for preferences (``ranking``).

    It reads a question as text with two texts, or a conversation with two single turns.

    :raises UnreadableError: a row is neither, or not as the first one.
    """
    first = rows[0].fields
    answers = {name: name for name in ANSWERS}
    if isinstance(first.get("conversations"), list):
        for row in rows:
            if not isinstance(row.fields.get("conversations"), list) or not all(map(row.fields.get, ANSWERS)):
                raise UnreadableError(row, "it has no conversation with two answers", REMEDY)
            turns = [row.fields[name] for name in ANSWERS]
            if not all(isinstance(turn, dict) and {"from", "value"} <= set(turn) for turn in turns):
                raise UnreadableError(row, "its answers are not each one turn of 'from' and 'value'", REMEDY)
        columns = {"messages": "conversations"} | answers
        columns |= {name: name for name in ("system", "tools") if any(row.fields.get(name) for row in rows)}
        return {"ranking": True, "formatting": "sharegpt", "columns": columns}
    asked = _question_of_texts(rows)
    if asked != "instruction":
        _check_lost(rows, asked)
    more = {"query": _input_name(rows), "history": "history"} if asked == "instruction" else {}
    more |= {"system": "system", "tools": "tools"}
    used = {key: name for key, name in more.items() if any(row.fields.get(name) for row in rows)}
    return {"ranking": True, "formatting": "alpaca", "columns": {"prompt": asked} | used | answers}


def axolotl(rows: Sequence[OutRow]) -> dict[str, Any]:
    """Return the reader of an entry of Axolotl, for ``rl: dpo``.

    :raises UnreadableError: a row has no question and two answers that are text.
    """
    asked = _question_of_texts(rows)
    _check_lost(rows, asked, "system", "tools")
    fields = {"field_prompt": asked, "field_chosen": "chosen", "field_rejected": "rejected"}
    formats = {"prompt_format": "{prompt}", "chosen_format": "{chosen}", "rejected_format": "{rejected}"}
    return {"type": fields | formats}


def trl(rows: Sequence[OutRow], kind: OutputKind) -> list[str]:
    """Return the columns that TRL's trainers of preferences read: with a question, or whole conversations.

    :raises UnreadableError: the columns of a row are of other types than the first one's, or its question would be
        lost.
    """
    usual, is_whole = type(rows[0].fields.get("chosen")), _is_whole(rows[0])
    columns = [*ANSWERS] if is_whole else ["prompt", *ANSWERS]
    for row in rows:
        asked = first_filled(row.fields, (asked_name(row.fields), *CONVERSATIONS))
        if not is_whole and asked != "prompt":
            raise UnreadableError(row, f"its question is in {asked!r}, and TRL reads 'prompt'", REMEDY)
        for name in columns:
            value = row.fields.get(name)
            if not isinstance(value, str | list) or type(value) is not usual or _is_whole(row) is not is_whole:
                problem = f"its {name!r} is not text or turns as 'chosen' in the first row"
                raise UnreadableError(row, problem, REMEDY)
            if isinstance(value, list):
                check_turns(row, name, kind, "TRL")
    _check_lost(rows, "prompt", "system", *(["tools"] if usual is str else []))
    return columns


def swift(rows: Sequence[OutRow]) -> dict[str, str]:
    """Return what ms-swift calls the columns of a question and two texts, or of two whole conversations.

    :raises UnreadableError: a row has neither.
    """
    if isinstance(rows[0].fields.get("chosen"), list):
        _check_conversations(rows)
        return {"chosen": "messages", "rejected": "rejected_messages"}
    asked = _question_of_texts(rows)
    _check_lost(rows, asked)
    return {asked: "query", "chosen": "response", "rejected": "rejected_response"}


def openrlhf(rows: Sequence[OutRow], kind: OutputKind) -> list[str]:
    """Return the options of OpenRLHF's DPO. Texts are trained on as they are, without a chat template.

    :raises UnreadableError: a row has no question and two answers, or not of the types of the first one's.
    """
    keys = ["--data.chosen_key chosen", "--data.rejected_key rejected"]
    asked = asked_name(rows[0].fields)
    if not isinstance(rows[0].fields.get("chosen"), list):
        _check_lost(rows, _question_of_texts(rows))
        return [f"--data.prompt_key {asked}", *keys]
    if not isinstance(rows[0].fields.get(asked), list):
        _check_conversations(rows)
        return [*keys, "--data.apply_chat_template"]
    for row in rows:
        if not all(isinstance(row.fields.get(name), list) for name in (asked, *ANSWERS)):
            raise UnreadableError(row, "its question and answers are not all turns as in the first row", REMEDY)
        for name in (asked, *ANSWERS):
            check_turns(row, name, kind, "OpenRLHF")
    return [f"--data.prompt_key {asked}", *keys, "--data.apply_chat_template"]


def _check_conversations(rows: Sequence[OutRow]) -> None:
    """Check that both answers are whole conversations of the usual turns."""
    for row in rows:
        for name in ANSWERS:
            turns = row.fields.get(name)
            if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
                raise UnreadableError(row, f"its {name!r} is not a conversation", REMEDY)
            roles = [turn.get("role") for turn in turns]
            if "user" not in roles or roles[-1] != "assistant":
                raise UnreadableError(row, f"its {name!r} is not a question with its answer", REMEDY)


def _is_whole(row: OutRow) -> bool:
    """Return whether the answers of a row are whole conversations, or texts that hold their question too."""
    chosen = row.fields.get("chosen")
    if isinstance(chosen, list) and chosen and isinstance(chosen[0], dict):
        return ROLES.get(str(chosen[0].get(name_of(chosen[0], "role", "from")))) is not Role.ASSISTANT
    names = (asked_name(row.fields), *CONVERSATIONS)
    return all(row.fields.get(name) in (None, "", []) for name in names)


def _input_name(rows: Sequence[OutRow]) -> str:
    """Return the column of what an instruction is about.

    :raises UnreadableError: rows have it in different ones.
    """
    names = {name_of(row.fields, "input", "context"): row for row in rows if _has_input(row)}
    if len(names) > 1:
        raise UnreadableError(names["context"], "it has 'context' where others have 'input'", REMEDY)
    return next(iter(names), "input")


def _has_input(row: OutRow) -> bool:
    return bool(row.fields.get("input") or row.fields.get("context"))


def _check_lost(rows: Sequence[OutRow], asked: str, *names: str) -> None:
    """Check that no row has something that a trainer would not read, such as the input of an instruction.

    :param names: columns that it does not read besides.
    """
    more = ("history", *(("input", "context") if asked == "instruction" else ()))
    for row in rows:
        lost = next((name for name in (*more, *names) if row.fields.get(name)), None)
        if lost is not None:
            raise UnreadableError(row, f"its column {lost!r} would be lost", REMEDY)


def _question_of_texts(rows: Sequence[OutRow]) -> str:
    """Return the column that holds the question, as text, beside two texts.

    :raises UnreadableError: a row has none, or in another column than the first.
    """
    asked = asked_name(rows[0].fields)
    for row in rows:
        if asked_name(row.fields) != asked:
            reason = f"its question is in {asked_name(row.fields)!r}, that of the first row in {asked!r}"
            raise UnreadableError(row, reason, REMEDY)
    try:
        check_text(rows, asked, *ANSWERS)
    except UnreadableError as error:
        raise UnreadableError(error.row, str(error), REMEDY) from None
    return asked
