"""Unsloth: a script that trains adapters on the rows, by TRL, whose columns it takes.

A conversation becomes text by the chat template of the model, and only its answers are trained on. Unsloth's
``standardize_sharegpt`` is not used: it guesses from a few rows which key holds the role.
"""

from collections.abc import Sequence
from pathlib import Path

from nait_index.handover import trl
from nait_index.handover.rows import Lengths, OutRow, Shape
from nait_index.handover.writers import OutputKind
from nait_index.types import RowFormat

LENGTH = 2048
"""Tokens after which the script truncates a row."""

_SCRIPT = '''"""Fine-tune a model with Unsloth on the rows beside this script: python SCRIPT MODEL{hint}"""

import sys
from pathlib import Path

from unsloth import {unsloth}  # before trl, which it patches
{masking}from datasets import {loader}
from trl import {trainer}Config, {trainer}Trainer

ROWS = Path(__file__).resolve().with_name({name!r})
COLUMNS = {columns!r}
LENGTH = {length}  # Longer rows are truncated. {lengths}.
ADAPTERS = {{"r": 16, "lora_alpha": 16, "lora_dropout": 0, "use_gradient_checkpointing": "unsloth"}}
SETTINGS = {{"output_dir": {output!r}, "max_length": LENGTH}}  # arguments of {trainer}Config

{patch}
def trainer(name, **settings):
    """Return the trainer of a model; settings are more arguments of {trainer}Config."""
    model, tokenizer = FastLanguageModel.from_pretrained(name, max_seq_length=LENGTH, load_in_4bit=True)
    model = FastLanguageModel.get_peft_model(model, **ADAPTERS)
    rows = {loader}({arguments}).select_columns(COLUMNS)
    # To mix in a general set of the same columns, half and half, import datasets and add:
    # rows = datasets.interleave_datasets([rows, general], probabilities=[0.5, 0.5], seed=0)
{text}    config = {trainer}Config(**SETTINGS | settings)
    made = {trainer}Trainer(model=model, processing_class=tokenizer, args=config, train_dataset=rows)
    return {made}


if __name__ == "__main__":
    trainer(sys.argv[1]).train()
'''
_HINT = """

MODEL needs a chat template. If it has none, give its tokenizer one with get_chat_template of unsloth.chat_templates.
"""
_MASKING = "from unsloth.chat_templates import train_on_responses_only\n"
_RENDER = """
    def text_of(row):
        return {"text": tokenizer.apply_chat_template(without_nulls(row["messages"]), TOOLStokenize=False)}

    rows = rows.map(text_of, remove_columns=COLUMNS)
"""
_TOOLS = "tools=tools_of(row), "
_END = '    rows = rows.map(lambda row: {"text": row["text"] + tokenizer.eos_token})\n'
_PATCH = "PatchDPOTrainer()\n\n"
_WITHOUT_NULLS = '''
def without_nulls(value):
    """Return a value without the nulls that datasets adds where rows have different fields."""
    if isinstance(value, dict):
        return {name: without_nulls(part) for name, part in value.items() if part is not None}
    return [without_nulls(part) for part in value] if isinstance(value, list) else value

'''
_TOOLS_OF = '''
def tools_of(row):
    """Return the tools of a row, which may be JSON text."""
    return without_nulls(json.loads(row["tools"]) if isinstance(row["tools"], str) else row["tools"])

'''


def script(rows: Sequence[OutRow], shape: Shape, out: Path, kind: OutputKind, lengths: Lengths) -> str:
    """Return the text of the script.

    :raises UnreadableError: TRL cannot read a row.
    """
    columns, (loader, arguments) = trl.columns(rows, shape, kind), trl.loading(kind)
    is_talk, is_preference = shape.format is RowFormat.MESSAGES, shape.format is RowFormat.PREFERENCE
    tools = is_talk and "tools" in columns
    text = _RENDER.replace("TOOLS", _TOOLS if tools else "") if is_talk else ""
    made = _SCRIPT.format(
        hint=_HINT if is_talk or trl.has_turns(rows[0]) else "",
        unsloth="FastLanguageModel" + (", PatchDPOTrainer" if is_preference else ""),
        masking=_MASKING if is_talk else "",
        loader=loader,
        arguments=arguments,
        trainer="DPO" if is_preference else "SFT",
        name=out.name,
        columns=columns,
        length=LENGTH,
        lengths=lengths.over(LENGTH).capitalize(),
        output=f"{out.stem}-{'dpo' if is_preference else 'sft'}",
        patch=_PATCH if is_preference else (_WITHOUT_NULLS if is_talk else "") + (_TOOLS_OF if tools else ""),
        text=_END if shape.format is RowFormat.TEXT else text,
        made="train_on_responses_only(made)" if is_talk else "made",
    )
    return made.replace("import sys\n", "import json\nimport sys\n", 1) if tools else made
