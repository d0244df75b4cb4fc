"""Rows with a preferred and a rejected answer, as trainers read them: unchanged, and named in their own way."""

from collections.abc import Sequence
from typing import Any

from nait_index.corpus.columns import question_name
from nait_index.handover.rows import OutRow, UnreadableError, check_text

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
    asked = "instruction" if isinstance(first.get("instruction"), str) else question_name(first)
    _check_texts(rows, asked)
    more = {"query": "input", "system": "system", "history": "history"} if asked == "instruction" else {}
    used = {key: name for key, name in more.items() if any(row.fields.get(name) for row in rows)}
    return {"ranking": True, "formatting": "alpaca", "columns": {"prompt": asked} | used | answers}


def axolotl(rows: Sequence[OutRow]) -> dict[str, Any]:
    """Return the reader of an entry of Axolotl, for ``rl: dpo``.

    :raises UnreadableError: a row has no question and two answers that are text.
    """
    asked = question_name(rows[0].fields)
    _check_texts(rows, asked)
    fields = {"field_prompt": asked, "field_chosen": "chosen", "field_rejected": "rejected"}
    formats = {"prompt_format": "{prompt}", "chosen_format": "{chosen}", "rejected_format": "{rejected}"}
    return {"type": fields | formats}


def trl(rows: Sequence[OutRow]) -> list[str]:
    """Return the columns that TRL's trainers of preferences read: with a question, or whole conversations.

    :raises UnreadableError: the columns of a row are of other types than the first one's.
    """
    columns = [*(["prompt"] if "prompt" in rows[0].fields else []), *ANSWERS]
    kinds = {name: type(rows[0].fields.get(name)) for name in columns}
    for row in rows:
        for name in columns:
            value = row.fields.get(name)
            if not isinstance(value, str | list) or type(value) is not kinds[name]:
                raise UnreadableError(row, f"its {name!r} is not text or turns as in the first row", REMEDY)
    return columns


def swift(rows: Sequence[OutRow]) -> dict[str, str]:
    """Return what ms-swift calls the columns of a question and two texts, or of two whole conversations.

    :raises UnreadableError: a row has neither.
    """
    if isinstance(rows[0].fields.get("chosen"), list):
        _check_conversations(rows)
        return {"chosen": "messages", "rejected": "rejected_messages"}
    asked = question_name(rows[0].fields)
    _check_texts(rows, asked)
    return {asked: "query", "chosen": "response", "rejected": "rejected_response"}


def openrlhf(rows: Sequence[OutRow]) -> list[str]:
    """Return the options of OpenRLHF's DPO. Texts are trained on as they are, without a chat template.

    :raises UnreadableError: a row has no question and two answers, or not of the types of the first one's.
    """
    keys = ["--data.chosen_key chosen", "--data.rejected_key rejected"]
    asked = question_name(rows[0].fields)
    if not isinstance(rows[0].fields.get("chosen"), list):
        _check_texts(rows, asked)
        return [f"--data.prompt_key {asked}", *keys]
    if not isinstance(rows[0].fields.get(asked), list):
        _check_conversations(rows)
        return [*keys, "--data.apply_chat_template"]
    for row in rows:
        if not all(isinstance(row.fields.get(name), list) for name in (asked, *ANSWERS)):
            raise UnreadableError(row, "its question and answers are not all turns as in the first row", REMEDY)
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


def _check_texts(rows: Sequence[OutRow], asked: str) -> None:
    try:
        check_text(rows, asked, *ANSWERS)
    except UnreadableError as error:
        raise UnreadableError(error.row, str(error), REMEDY) from None
