"""OpenRLHF: a script that starts its trainer on the rows, or on their preferences.

It applies the chat template to the turns in one column, or in two for a prompt and its completion. It passes no tools
on, and separates data sets with commas and their folders with ``@``.
"""

from collections.abc import Sequence
from pathlib import Path
from shlex import quote

from nait_index.errors import NaitError
from nait_index.handover import preferences
from nait_index.handover.chat import check_column_is_empty, check_turns
from nait_index.handover.rows import Lengths, OutRow, Shape, UnreadableError, check_text, pair_names
from nait_index.handover.shell import script as shell_script
from nait_index.handover.trl import prompt_completion
from nait_index.handover.writers import OutputKind
from nait_index.types import RowFormat

LENGTHS = {"train_sft": 2048, "train_dpo": 512}
"""Tokens after which each of the trainers truncates a row by default."""


def script(rows: Sequence[OutRow], shape: Shape, out: Path, kind: OutputKind, lengths: Lengths) -> str:
    """Return the text of the script.

    :raises UnreadableError: OpenRLHF cannot read a row. :raises NaitError: nor the path.
    """
    path = str(out.resolve())
    if "," in path or "@" in path:
        raise NaitError(f"{path}: OpenRLHF cannot read a path with a comma or an @; choose another name")
    for row in rows:
        row.check_no_media()
    options, module = _options(rows, shape, kind), "train_sft"
    if shape.format is RowFormat.PREFERENCE:
        module = "train_dpo"
    length = LENGTHS[module]
    notes = [
        "Longer rows than data.max_len are truncated, or left out if the prompt alone is longer.",
        f"{lengths.over(length).capitalize()}.",
        "To mix in a general set, half and half: --data.dataset OUT,GENERAL --data.dataset_probs 0.5,0.5",
    ]
    words = [f"deepspeed --module openrlhf.cli.{module}", '--model.model_name_or_path "$model"']
    words += [f"--data.dataset {quote(path)}", *options, f"--data.max_len {length}"]
    return shell_script("OpenRLHF", "--OPTION VALUE", notes, words)


def _options(rows: Sequence[OutRow], shape: Shape, kind: OutputKind) -> list[str]:
    if shape.format is RowFormat.TEXT:
        check_text(rows, "text")
        return ["--data.input_key text", "--model.pretrain_mode_enable"]
    check_column_is_empty(rows, "tools", "use another trainer, or leave such rows out with --where")
    check_column_is_empty(rows, "system")
    if shape.format is RowFormat.PREFERENCE:
        return preferences.openrlhf(rows, kind)
    if shape.format is RowFormat.PROMPT_COMPLETION:
        asked, answered = _prompt_completion(rows, kind)
        return [f"--data.input_key {asked}", f"--data.output_key {answered}", "--data.apply_chat_template"]
    if shape.format is not RowFormat.MESSAGES:
        raise UnreadableError(rows[0], f"OpenRLHF does not read {shape.format} rows")
    for row in rows:
        check_turns(row, "messages", kind, "OpenRLHF")
    return ["--data.input_key messages", "--data.multiturn", "--data.apply_chat_template"]


def _prompt_completion(rows: Sequence[OutRow], kind: OutputKind) -> tuple[str, str]:
    """Return the columns of questions and answers: texts, which OpenRLHF makes turns of, or turns."""
    asked, answered = pair_names(rows)
    if not isinstance(rows[0].fields.get(asked), str):
        prompt_completion(rows, kind, "OpenRLHF")
        return "prompt", "completion"
    check_text(rows, asked, answered)
    for row in rows:
        row.check_no_reasoning()
    return asked, answered
