"""TRL: a script that trains on the rows.

TRL infers the type of the rows from their columns, so the script keeps only the columns to train on. TRL does not
rename roles, and truncates rows at 1,024 tokens by default.
"""

from collections.abc import Sequence
from pathlib import Path

from nait_index.handover import preferences
from nait_index.handover.chat import check_column_is_empty, check_turns
from nait_index.handover.rows import Lengths, OutRow, Shape, UnreadableError, check_text, pair_names
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
    # To mix in a general set of the same columns, half and half, import datasets and add:
    # rows = datasets.interleave_datasets([rows, general], probabilities=[0.5, 0.5], seed=0)
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
    loader, arguments = loading(kind)
    return _SCRIPT.format(
        hint=_HINT if shape.format is RowFormat.MESSAGES or has_turns(rows[0]) else "",
        name=out.name,
        loader=loader,
        arguments=arguments,
        columns=columns(rows, shape, kind),
        trainer="DPO" if shape.format is RowFormat.PREFERENCE else "SFT",
        output=f"{out.stem}-{'dpo' if shape.format is RowFormat.PREFERENCE else 'sft'}",
        lengths=lengths.over(LENGTH).capitalize(),
        length=LENGTH,
    )


def loading(kind: OutputKind) -> tuple[str, str]:
    """Return the function of ``datasets`` that loads the file ``ROWS``, and its arguments, as code."""
    if kind.loader is None:
        return "load_from_disk", "str(ROWS)"
    return "load_dataset", f'"{kind.loader}", data_files=str(ROWS), split="train"'


def columns(rows: Sequence[OutRow], shape: Shape, kind: OutputKind) -> list[str]:
    """Return the columns that TRL is to see.

    :raises UnreadableError: TRL cannot read a row.
    """
    for row in rows:
        row.check_no_media()
    names = _columns(rows, shape, kind)
    return names + (["tools"] if "tools" in shape.columns and "text" not in names else [])


def _columns(rows: Sequence[OutRow], shape: Shape, kind: OutputKind) -> list[str]:
    if shape.format is RowFormat.TEXT:
        check_text(rows, "text")
        return ["text"]
    if shape.format is RowFormat.PROMPT_COMPLETION:
        return prompt_completion(rows, kind, "TRL")
    if shape.format is RowFormat.PREFERENCE:
        return preferences.trl(rows, kind)
    if shape.format is not RowFormat.MESSAGES:
        raise UnreadableError(rows[0], f"TRL does not read {shape.format} rows")
    check_column_is_empty(rows, "system")
    for row in rows:
        check_turns(row, "messages", kind, "TRL")
    return ["messages"]


def prompt_completion(rows: Sequence[OutRow], kind: OutputKind, trainer: str) -> list[str]:
    """Return the columns of prompts and completions, which must all be texts or all be turns.

    :raises UnreadableError: a row has neither, or not what the first one has.
    """
    lists = isinstance(rows[0].fields.get("prompt"), list)
    check_column_is_empty(rows, "system")
    for row in rows:
        for name, used in zip(("prompt", "completion"), pair_names([row]), strict=True):
            if name != used:
                raise UnreadableError(row, f"it has {used!r} for {name!r}", "add --as prompt-completion")
        for name in ("prompt", "completion"):
            if not isinstance(row.fields.get(name), list if lists else str):
                reason = f"its {name!r} is not {'a list' if lists else 'text'} as in the first row"
                raise UnreadableError(row, reason, "add --as prompt-completion")
            if lists:
                check_turns(row, name, kind, trainer)
        if not lists:
            row.check_no_reasoning()
    if not lists:
        check_column_is_empty(rows, "tools")
    return ["prompt", "completion"]


def has_turns(row: OutRow) -> bool:
    """Return whether a row of prompts or preferences holds turns, which need a chat template."""
    return any(isinstance(row.fields.get(name), list) for name in ("prompt", "chosen"))
