"""Checks for trainers that pass the turns of a row to the chat template of the model, as they are."""

from collections.abc import Sequence

from nait_index.handover.rows import OutRow, UnreadableError
from nait_index.handover.writers import OutputKind

ROLES = ("system", "user", "assistant", "tool")


def check_turns(row: OutRow, name: str, kind: OutputKind, trainer: str) -> None:
    """Check that a chat template can render the turns in a column.

    :raises UnreadableError: a turn holds pieces or no text, has another role, or calls a tool with arguments that are
        text.
    """
    row.check_turns_are_text(name)
    for turn in row.turns(name):
        if turn.get("role") not in ROLES:
            raise UnreadableError(row, f"a turn has the role {turn.get('role')!r}, and {trainer} does not rename roles")
    if kind in (OutputKind.PARQUET, OutputKind.FOLDER) and row.calls_tools(name):
        raise UnreadableError(
            row, "in a table the arguments of its calls are text, which templates quote", "write .jsonl"
        )
    row.check_calls(name)
    row.check_turns_have_text(name, "content")


def check_column_is_empty(rows: Sequence[OutRow], name: str, remedy: str | None = None) -> None:
    """Check that no row has anything in a column that the trainer does not read.

    :param remedy: see :class:`UnreadableError`.
    :raises UnreadableError: a row has.
    """
    row = next((row for row in rows if row.fields.get(name)), None)
    if row is not None:
        raise UnreadableError(row, f"its column {name!r} would be lost", remedy)
