"""verl: a script that starts its trainer on the rows.

Its trainer on conversations reads ``messages`` from Parquet; that of reinforcement learning reads ``prompt``,
``data_source`` and ``reward_model.ground_truth``, from JSON too. It passes tools on to the chat template as they are,
and in a table they are text, so it gets none.
"""

from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import Any

from nait_index.handover import preferences
from nait_index.handover.chat import check_column_is_empty, check_turns
from nait_index.handover.rows import Lengths, OutRow, Shape, UnreadableError
from nait_index.handover.shell import script as shell_script
from nait_index.handover.writers import OutputKind
from nait_index.types import RowFormat

LENGTH = 1024
"""Tokens that verl allows a row by default."""

_LEAVE_OUT = "use another trainer, or leave such rows out with --where"
_BATCH = 256
"""Rows of a batch by default."""
_NO_RATIO = 'verl has no ratio of data sets; it reads all of each: data.train_files=\'["OUT","GENERAL"]\''


def script(rows: Sequence[OutRow], shape: Shape, out: Path, kind: OutputKind, lengths: Lengths) -> str:
    """Return the text of the script.

    :raises UnreadableError: verl cannot read a row.
    """
    for row in rows:
        row.check_no_media()
    files = quote(f"data.train_files={_quoted(str(out.resolve()))}")
    if all(_has_reward(row.fields) for row in rows):
        for row in rows:
            check_turns(row, "prompt", kind, "verl")
        for name in ("system", "tools"):
            check_column_is_empty(rows, name, _LEAVE_OUT)
        words = ["python3 -m verl.trainer.main_ppo", "algorithm.adv_estimator=grpo", files, "data.prompt_key=prompt"]
        words += ['actor_rollout_ref.model.path="$model"', "actor_rollout_ref.rollout.name=vllm"]
        need = "It also needs data.val_files=FILE; data_source decides how answers are rewarded."
        return shell_script("verl", "SETTING=VALUE", [need, _NO_RATIO], words)
    _check_messages(rows, shape, kind)
    words = ['torchrun --standalone --nnodes=1 --nproc_per_node="${NPROC_PER_NODE:-1}" -m verl.trainer.sft_trainer']
    words += [files, "data.messages_key=messages", f"data.max_length={LENGTH}", 'model.path="$model"']
    length = f"A longer row than data.max_length stops the run. {lengths.over(LENGTH).capitalize()}."
    batch = f"An incomplete batch is left out: data.train_batch_size is {_BATCH}, and there are {len(rows):,} rows."
    return shell_script("verl", "SETTING=VALUE", [length, batch, _NO_RATIO], words)


def _has_reward(row: dict[str, Any]) -> bool:
    """Return whether a row is one of reinforcement learning, as verl's own scripts prepare them."""
    reward = row.get("reward_model")
    known = isinstance(reward, dict) and reward.get("ground_truth") is not None
    return known and isinstance(row.get("prompt"), list) and isinstance(row.get("data_source"), str)


def _check_messages(rows: Sequence[OutRow], shape: Shape, kind: OutputKind) -> None:
    if shape.format is RowFormat.PREFERENCE:
        raise UnreadableError(rows[0], "verl has no trainer on preferences", preferences.REMEDY)
    if shape.format is not RowFormat.MESSAGES:
        remedy = "use another trainer" if shape.format is RowFormat.TEXT else None
        raise UnreadableError(rows[0], f"verl does not read {shape.format} rows", remedy)
    if kind is not OutputKind.PARQUET:
        raise UnreadableError(rows[0], "verl reads conversations from Parquet only", "write .parquet")
    check_column_is_empty(rows, "system")
    for row in rows:
        if row.fields.get("tools") or row.calls_tools("messages"):
            reason = "in a table its tools are text, which verl does not parse"
            raise UnreadableError(row, reason, _LEAVE_OUT)
        check_turns(row, "messages", kind, "verl")


def _quoted(path: str) -> str:
    """Quote a path for Hydra, which reads some characters of an unquoted value as its own syntax."""
    return '"' + path.replace('"', '\\"') + '"'
