"""The trainers that rows are written for: which files and formats each reads, and what it gets beside the rows."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nait_index.config import Trainer
from nait_index.errors import NaitError
from nait_index.handover import axolotl, llamafactory, openrlhf, swift, trl, unsloth, verl
from nait_index.handover.rows import TRAINING_FLAGS, Lengths, OutRow, UnreadableError, shape_of
from nait_index.handover.writers import OutputKind
from nait_index.types import RowFormat

_FILES = frozenset({OutputKind.JSONL, OutputKind.JSON, OutputKind.PARQUET})


@dataclass(frozen=True, slots=True)
class TrainerFormats:
    """What a trainer reads.

    :param suffix: of the file that it gets beside the rows.
    :param never: formats that it cannot read at all. :param remedy: the one to convert unreadable rows to.
    :param kinds: of files. No trainer gets ``.csv``, since ``datasets`` makes numbers of texts such as 007 there.
    :param all_fields: whether it passes all fields of a turn on to the chat template. :param reads: those that it reads
        besides, if it does not.
    """

    name: str
    suffix: str
    never: frozenset[RowFormat]
    remedy: RowFormat = RowFormat.MESSAGES
    kinds: frozenset[OutputKind] = _FILES
    all_fields: bool = True
    reads: frozenset[str] = frozenset()

    def check(self, kind: OutputKind, target: RowFormat | None) -> None:
        """Refuse a kind of file, or a format that rows are converted to, that the trainer cannot read.

        :raises NaitError: it cannot.
        """
        if kind not in self.kinds:
            what = {OutputKind.FOLDER: "a folder of datasets", OutputKind.CSV: "types and turns from .csv"}[kind]
            raise NaitError(f"{self.name} cannot read {what}; write .jsonl, .json or .parquet")
        if target in self.never:
            raise NaitError(f"{self.name} does not read rows --as {target}; use --as {self.remedy}")


_ANY = _FILES | {OutputKind.FOLDER}
_NO_CHAT = frozenset({RowFormat.ALPACA, RowFormat.SHAREGPT})
_PAIRS = frozenset({RowFormat.PROMPT_COMPLETION})

TRAINERS = {
    Trainer.LLAMAFACTORY: TrainerFormats("LLaMA-Factory", "", _PAIRS, remedy=RowFormat.SHAREGPT, all_fields=False),
    Trainer.AXOLOTL: TrainerFormats("Axolotl", ".yaml", _PAIRS, kinds=_ANY),
    Trainer.TRL: TrainerFormats("TRL", ".py", _NO_CHAT, kinds=_ANY),
    Trainer.MS_SWIFT: TrainerFormats("ms-swift", ".yaml", _PAIRS, all_fields=False, reads=swift.READ_IN_TURNS),
    Trainer.VERL: TrainerFormats("verl", ".sh", _NO_CHAT | _PAIRS),
    Trainer.OPENRLHF: TrainerFormats("OpenRLHF", ".sh", _NO_CHAT, kinds=_ANY),
    Trainer.UNSLOTH: TrainerFormats("Unsloth", ".py", _NO_CHAT, kinds=_ANY),
}


def configuration(
    trainer: Trainer, rows: Sequence[OutRow], lengths: Lengths, out: Path, kind: OutputKind, *, force: bool
) -> str:
    """Return the text of the file for a trainer.

    :raises NaitError: the trainer cannot read the rows; the message names the row, the reason, and what helps.
    :raises OutputExistsError: ``dataset_info.json`` has another entry of this name, and ``force`` is not set.
    """
    try:
        shape = shape_of(rows)
        match trainer:
            case Trainer.LLAMAFACTORY:
                return llamafactory.merged(out, llamafactory.entry(rows, shape, out), force=force)
            case Trainer.AXOLOTL:
                return axolotl.block(rows, shape, out, kind)
            case Trainer.MS_SWIFT:
                return swift.configuration(rows, shape, out)
            case Trainer.TRL:
                return trl.script(rows, shape, out, kind, lengths)
            case Trainer.VERL:
                return verl.script(rows, shape, out, kind, lengths)
            case Trainer.OPENRLHF:
                return openrlhf.script(rows, shape, out, kind, lengths)
            case Trainer.UNSLOTH:
                return unsloth.script(rows, shape, out, kind, lengths)
    except UnreadableError as error:
        known = TRAINERS[trainer]
        remedy = error.remedy or f"add --as {known.remedy}"
        raise NaitError(f"{known.name} cannot read row {error.row.id!r}: {error}; {remedy}") from None


def ignored_fields(trainer: Trainer, rows: Sequence[OutRow]) -> Counter[str]:
    """Count the rows that have a field of turns which a trainer ignores, such as ``weight``, by the field's name."""
    known, counts = TRAINERS[trainer], Counter[str]()
    for row in rows:
        fields = row.turn_fields()
        counts.update(sorted(fields & TRAINING_FLAGS if known.all_fields else fields - known.reads))
    return counts
