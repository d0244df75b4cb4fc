"""TRL: a script that trains on the rows.

TRL infers the type of the rows from their columns, so the script keeps only the columns to train on. TRL does not
rename roles, and truncates rows at 1,024 tokens by default.
"""

from collections.abc import Sequence
from pathlib import Path

from nait_index.handover import preferences
from nait_index.handover.rows import Lengths, OutRow, Shape, UnreadableError, check_text
from nait_index.handover.writers import OutputKind
from nait_index.types import RowFormat

LENGTH = 1024
"""Tokens after which TRL truncates a row by default."""

_SCRIPT = '''"""Fine-tune a model with TRL on the rows beside this script: python SCRIPT MODEL{hint}"""

import sys
from pathlib import Path

from datasets import {loader}
from trl import {trainer}Config, {trainer}Trainer

ROWS = Path(__file__).resolve().with_name({name!r})
COLUMNS = {columns!r}
SETTINGS = {{  # arguments of {trainer}Config
    "output_dir": {output!r},
    # Longer rows are truncated. {lengths}.
    "max_length": {length},
}}


def trainer(model, **settings):
    """Return the trainer; settings are more arguments of {trainer}Config."""
    rows = {loader}({arguments}).select_columns(COLUMNS)
    return {trainer}Trainer(model=model, args={trainer}Config(**SETTINGS | settings), train_dataset=rows)


if __name__ == "__main__":
    trainer(sys.argv[1]).train()
'''
_HINT = """

MODEL needs a chat template. If it has none, add "chat_template_path" to SETTINGS, with a model that has one.
"""


def script(rows: Sequence[OutRow], shape: Shape, out: Path, kind: OutputKind, lengths: Lengths) -> str:
    """Return the text of the script.

    :raises UnreadableError: TRL cannot read a row.
    """
    for row in rows:
        row.check_no_media()
    columns = _columns(rows, shape, kind)
    return _SCRIPT.format(
        hint=_HINT if shape.format is RowFormat.MESSAGES or _has_turns(rows[0]) else "",
        name=out.name,
        loader="load_dataset" if kind.loader else "load_from_disk",
        arguments=f'"{kind.loader}", data_files=str(ROWS), split="train"' if kind.loader else "str(ROWS)",
        columns=columns + (["tools"] if "tools" in shape.columns and "text" not in columns else []),
        trainer="DPO" if shape.format is RowFormat.PREFERENCE else "SFT",
        output=f"{out.stem}-{'dpo' if shape.format is RowFormat.PREFERENCE else 'sft'}",
        lengths=lengths.over(LENGTH).capitalize(),
        length=LENGTH,
    )


def _columns(rows: Sequence[OutRow], shape: Shape, kind: OutputKind) -> list[str]:
    if shape.format is RowFormat.TEXT:
        check_text(rows, "text")
        return ["text"]
    if shape.format is RowFormat.PROMPT_COMPLETION:
        return _prompt_completion(rows, kind)
    if shape.format is RowFormat.PREFERENCE:
        return preferences.trl(rows)
    if shape.format is not RowFormat.MESSAGES:
        raise UnreadableError(rows[0], f"TRL does not read {shape.format} rows")
    if "system" in shape.columns:
        row = next(row for row in rows if row.fields.get("system"))
        raise UnreadableError(row, "its column 'system' would be lost")
    for row in rows:
        _check_turns(row, "messages", kind)
    return ["messages"]


def _prompt_completion(rows: Sequence[OutRow], kind: OutputKind) -> list[str]:
    lists = isinstance(rows[0].fields.get("prompt"), list)
    for row in rows:
        for name in ("prompt", "completion"):
            if not isinstance(row.fields.get(name), list if lists else str):
                reason = f"its {name!r} is not {'a list' if lists else 'text'} as in the first row"
                raise UnreadableError(row, reason, "add --as prompt-completion")
            if lists:
                _check_turns(row, name, kind)
        if not lists:
            row.check_no_reasoning()
    return ["prompt", "completion"]


def _check_turns(row: OutRow, name: str, kind: OutputKind) -> None:
    row.check_turns_are_text(name)
    for turn in row.turns(name):
        if turn.get("role") not in ("system", "user", "assistant", "tool"):
            raise UnreadableError(row, f"a turn has the role {turn.get('role')!r}, and TRL does not rename roles")
    if kind in (OutputKind.PARQUET, OutputKind.FOLDER) and row.calls_tools(name):
        raise UnreadableError(
            row, "in a table the arguments of its calls are text, which templates quote", "write .jsonl"
        )


def _has_turns(row: OutRow) -> bool:
    return any(isinstance(row.fields.get(name), list) for name in ("prompt", "chosen"))
