"""ms-swift: a configuration for ``swift sft``, ``swift pt`` or ``swift rlhf``.

ms-swift finds the columns by their names, of which it knows several for each thing; where there are two of them, it
uses neither. So the columns are named here. It drops rows that it cannot read, which ``strict`` forbids; and of a turn
it keeps role, content and calls of tools.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from nait_index.corpus import to_json
from nait_index.corpus.formats import name_of
from nait_index.handover import preferences
from nait_index.handover.rows import OutRow, Shape, UnreadableError, check_text, first_with_role, pair_names
from nait_index.types import RowFormat

READ_IN_TURNS = frozenset({"tool_calls", "loss", "loss_scale"})
"""Fields of a turn that ms-swift reads besides role and content."""

_ROLES = frozenset(
    "system user human assistant gpt bot tool tool_call tool_response function_call function_response observation "
    "observations".split()
)
_KINDS = {RowFormat.TEXT: "pt", RowFormat.PREFERENCE: "rlhf"}
_CONFIGURATION = """\
# ms-swift: swift {command} THIS-FILE --model MODEL
{settings}
# To mix in a general set, list it too: GENERAL#N takes N of its rows. Or by shares, in quotes as ms-swift reads them:
# dataset: [{path}, "GENERAL"]
# interleave_prob: ["0.5", "0.5"]
"""


def configuration(rows: Sequence[OutRow], shape: Shape, out: Path) -> str:
    """Return the text of the configuration.

    :raises UnreadableError: ms-swift cannot read a row, or would leave something out.
    """
    for row in rows:
        row.check_no_media()
    path = to_json(str(out.resolve()))
    settings = {"dataset": f"[{path}]", "strict": "true"}
    if columns := _columns(rows, shape):
        settings["columns"] = to_json(columns)
    if shape.format is RowFormat.PREFERENCE:
        settings["rlhf_type"] = "dpo"
    lines = "\n".join(f"{key}: {value}" for key, value in settings.items())
    return _CONFIGURATION.format(command=_KINDS.get(shape.format, "sft"), settings=lines, path=path)


def _columns(rows: Sequence[OutRow], shape: Shape) -> dict[str, str]:
    """Return the names that ms-swift is to read columns by, where these differ."""
    if shape.format is RowFormat.ALPACA:
        return _renamed(rows, _alpaca(rows))
    if shape.format is RowFormat.PROMPT_COMPLETION:
        asked, answered = pair_names(rows)
        check_text(rows, asked, answered)
        for row in rows:
            row.check_no_reasoning()
        return _renamed(rows, {asked: "query", answered: "response"})
    if shape.format is RowFormat.PREFERENCE:
        return _renamed(rows, preferences.swift(rows))
    if shape.format is RowFormat.TEXT:
        check_text(rows, "text")
        return _renamed(rows, {"text": "response"})
    _check_conversations(rows, shape)
    return _renamed(rows, {shape.name: "messages"})


def _alpaca(rows: Sequence[OutRow]) -> dict[str, str]:
    """Return the names of an instruction and its input, which ms-swift joins only under these two names."""
    everything = dict.fromkeys((name for row in rows for name in row.fields), True)
    answered, more = name_of(everything, "output", "response"), name_of(everything, "input", "context")
    check_text(rows, "instruction", answered)
    for row in rows:
        if more == "input" and row.fields.get("context") and not row.fields.get("input"):
            raise UnreadableError(row, "it has 'context' where others have 'input'")
        if name_of(row.fields, "output", "response") != answered:
            raise UnreadableError(row, "it has 'response' where others have 'output'")
        row.check_no_reasoning()
    asked = {"instruction": "instruction", more: "input"} if more in everything else {"instruction": "query"}
    return asked | {answered: "response"}


def _renamed(rows: Sequence[OutRow], names: Mapping[str, str]) -> dict[str, str]:
    """Return the names that change; ms-swift stops if there is another column of a new name."""
    changed = {name: new for name, new in names.items() if name != new}
    for row in rows:
        taken = next((new for new in changed.values() if new in row.fields), None)
        if taken is not None:
            raise UnreadableError(row, f"it has another column {taken!r}")
    return changed


def _check_conversations(rows: Sequence[OutRow], shape: Shape) -> None:
    unknown = min(shape.words - _ROLES, default=None)
    if unknown is not None:
        row = first_with_role(rows, shape, unknown)
        raise UnreadableError(row, f"it has a turn of the role {unknown!r}, which ms-swift does not know")
    for row in rows:
        row.check_one_system(shape.name, shape.keys[0])
        row.check_turns_are_text(shape.name)
        row.check_no_reasoning(shape.name, "add --as sharegpt, which writes it into the answer")
        row.check_turns_have_text(shape.name, shape.keys[1])
