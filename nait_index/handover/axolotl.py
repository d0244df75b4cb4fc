"""Axolotl: a ``datasets:`` block for its configuration."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nait_index.corpus import to_json
from nait_index.corpus.formats import ROLES, name_of
from nait_index.handover import preferences
from nait_index.handover.chat import check_column_is_empty
from nait_index.handover.rows import OutRow, Shape, UnreadableError, check_text, first_with_role, pair_names
from nait_index.handover.writers import OutputKind
from nait_index.types import RowFormat

_ABOUT = """\
# Axolotl: add this to your configuration. To mix in a general set, add an entry for it below this one. Axolotl has no
# ratio of data sets and reads all of each; "split: train[:5000]" in its entry takes 5,000 of its rows.
"""


def block(rows: Sequence[OutRow], shape: Shape, out: Path, kind: OutputKind) -> str:
    """Return the text of the block.

    :raises UnreadableError: Axolotl cannot read a row.
    """
    for row in rows:
        row.check_no_media()
    file = {"path": str(out.resolve())} | ({"ds_type": kind.loader} if kind.loader else {})
    entry = "\n    ".join(f"{key}: {to_json(value)}" for key, value in (file | _reader(rows, shape)).items())
    kind_of_training = "rl: dpo\n" if shape.format is RowFormat.PREFERENCE else ""
    return f"{_ABOUT}{kind_of_training}datasets:\n  - {entry}\n"


def _reader(rows: Sequence[OutRow], shape: Shape) -> dict[str, Any]:
    if shape.format is RowFormat.ALPACA:
        return _alpaca(rows, shape)
    if shape.format is RowFormat.PROMPT_COMPLETION:
        asked, answered = pair_names(rows)
        check_text(rows, asked, answered)
        for row in rows:
            row.check_no_reasoning()
        names = {"field_instruction": asked, "field_output": answered}
        for name in ("system", "tools"):
            check_column_is_empty(rows, name)
        # The prompt unchanged; a column "input" is not added to it.
        return {"type": names | {"format": "{instruction}", "no_input_format": "{instruction}", "system_format": ""}}
    if shape.format is RowFormat.PREFERENCE:
        return preferences.axolotl(rows)
    if shape.format is RowFormat.TEXT:
        check_text(rows, "text")
        return {"type": "completion", "field": "text"}
    return _conversations(rows, shape)


def _alpaca(rows: Sequence[OutRow], shape: Shape) -> dict[str, Any]:
    check_text(rows, "instruction", "output")
    check_column_is_empty(rows, "tools")
    for row in rows:
        if row.fields.get("history"):
            raise UnreadableError(row, "it has a history, which Axolotl ignores in alpaca rows")
        if row.fields.get("context") and not row.fields.get("input"):
            raise UnreadableError(row, "its input is called 'context'")
        if name_of(row.fields, "output", "response") != "output":
            raise UnreadableError(row, "its answer is called 'response'")
        row.check_no_reasoning()
    return {"type": "alpaca_w_system" if "system" in shape.columns else "alpaca"}


def _conversations(rows: Sequence[OutRow], shape: Shape) -> dict[str, Any]:
    unknown = next((word for word in ("function_call", "observation", "function") if word in shape.words), None)
    if unknown is not None:
        row = first_with_role(rows, shape, unknown)
        raise UnreadableError(row, f"it has a turn of the role {unknown!r}, which no chat template knows")
    for row in rows:
        row.check_one_system(shape.name, shape.keys[0])
        row.check_turns_are_text(shape.name)
        row.check_calls(shape.name, reads_json=True)
        row.check_turns_have_text(shape.name, shape.keys[1])
    _check_systems(rows, shape)
    roles: dict[str, list[str]] = {}
    for word in sorted(shape.words):
        roles.setdefault(str(ROLES[word]), []).append(word)
    role, text = shape.keys
    tools = {"field_tools": "tools"} if "tools" in shape.columns else {}
    return {
        "type": "chat_template",
        "field_messages": shape.name,
        "message_property_mappings": {"role": role, "content": text},
        "roles": roles,
        "roles_to_train": ["assistant"],
    } | tools


def _check_systems(rows: Sequence[OutRow], shape: Shape) -> None:
    """Check that every row has a system text where any has a column for it: Axolotl makes a turn of an empty one.

    :raises UnreadableError: a row has none.
    """
    if not any("system" in row.fields for row in rows):
        return
    for row in rows:
        if not row.fields.get("system") and not row.begins_with_system(shape.name, shape.keys[0]):
            raise UnreadableError(row, "it has no 'system' where others have one, and would get an empty system turn")
