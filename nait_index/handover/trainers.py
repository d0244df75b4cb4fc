"""What each trainer needs beside the rows."""

from collections.abc import Sequence
from pathlib import Path

from nait_index.config import Trainer
from nait_index.errors import NaitError
from nait_index.handover import axolotl, llamafactory, trl
from nait_index.handover.lengths import Lengths
from nait_index.handover.rows import OutRow
from nait_index.handover.shape import UnreadableError, shape_of
from nait_index.handover.writers import Kind
from nait_index.types import RowFormat

_NAMES = {Trainer.LLAMAFACTORY: "LLaMA-Factory", Trainer.AXOLOTL: "Axolotl", Trainer.TRL: "TRL"}
_REMEDIES = {
    Trainer.LLAMAFACTORY: RowFormat.SHAREGPT,
    Trainer.AXOLOTL: RowFormat.MESSAGES,
    Trainer.TRL: RowFormat.MESSAGES,
}
_NEVER = {
    (Trainer.LLAMAFACTORY, RowFormat.PROMPT_COMPLETION),
    (Trainer.AXOLOTL, RowFormat.PROMPT_COMPLETION),
    (Trainer.TRL, RowFormat.ALPACA),
    (Trainer.TRL, RowFormat.SHAREGPT),
}


def check_trainers(trainers: Sequence[Trainer], kind: Kind, target: RowFormat | None) -> None:
    """Refuse what no row could change: a trainer that reads no such files, or no rows of such a format.

    :raises NaitError: there is one.
    """
    for trainer in trainers:
        if trainer is Trainer.LLAMAFACTORY and kind is Kind.FOLDER:
            raise NaitError(f"{_NAMES[trainer]} reads no folder of datasets; write .jsonl, .json or .parquet")
        if target is not None and (trainer, target) in _NEVER:
            raise NaitError(f"{_NAMES[trainer]} does not read rows --as {target}; use --as {_REMEDIES[trainer]}")


def companion(trainer: Trainer, out: Path) -> Path:
    """Give the file that a trainer gets beside the rows."""
    if trainer is Trainer.LLAMAFACTORY:
        return out.with_name(llamafactory.FILE)
    return out.with_name(out.name + (".axolotl.yaml" if trainer is Trainer.AXOLOTL else ".trl.py"))


def configuration(
    trainer: Trainer, rows: Sequence[OutRow], out: Path, kind: Kind, lengths: Lengths, *, force: bool
) -> str:
    """Make that file's text.

    :raises NaitError: the trainer cannot read the rows as they lie; the message says which, and what helps.
    :raises OutputExistsError: another entry has the name in ``dataset_info.json``, and ``force`` is not set.
    """
    try:
        shape = shape_of(rows)
        if trainer is Trainer.LLAMAFACTORY:
            return llamafactory.merged(out, llamafactory.entry(rows, shape, out), force=force)
        if trainer is Trainer.AXOLOTL:
            return axolotl.block(rows, shape, out, kind)
        return trl.script(rows, shape, out, kind, lengths)
    except UnreadableError as error:
        raise NaitError(
            f"{_NAMES[trainer]} cannot read row {error.row.id!r} as it lies: {error}; "
            + (error.remedy or f"add --as {_REMEDIES[trainer]}")
        ) from None
