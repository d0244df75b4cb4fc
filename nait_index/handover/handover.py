"""Chosen rows, what is known of them, and what is wanted -> files that appear together or not at all."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nait_index.config import Trainer
from nait_index.corpus import to_json
from nait_index.errors import NaitError
from nait_index.files import check_writable, together
from nait_index.handover.contamination import Likeness
from nait_index.handover.lengths import Lengths
from nait_index.handover.llamafactory import entry_name
from nait_index.handover.rows import ChosenRow, OutRow, Refused, converted
from nait_index.handover.trainers import check_trainers, companion, configuration
from nait_index.handover.trl import LENGTH
from nait_index.handover.writers import Kind, check_rows_place, kind_of, write_rows
from nait_index.types import RowFormat

WEIGHTS = "nait_weight of the i-th of n written rows is 2(n − i + 1)/(n + 1): linear in its place, with mean 1"


@dataclass(frozen=True, slots=True)
class Wanted:
    """How rows are written.

    :param format: what they are converted to; ``None`` leaves them as they are.
    :param trainers: whom the rows are for. :param scores: add ``nait_rank`` and ``nait_score``.
    :param weights: add ``nait_weight``, see :data:`WEIGHTS`. :param force: replace what is there.
    """

    format: RowFormat | None = None
    trainers: tuple[Trainer, ...] = ()
    scores: bool = False
    weights: bool = False
    force: bool = False


@dataclass(frozen=True, slots=True)
class Written:
    """What was written.

    :param rows: how many are in ``path``. :param refused: how many could not be converted, which lie in ``rejected``.
    :param configurations: files for trainers. :param notes: what else a user should hear.
    """

    path: Path
    rows: int
    sidecar: Path
    refused: int
    rejected: Path
    configurations: tuple[Path, ...]
    notes: tuple[str, ...]


def sidecar(path: Path) -> Path:
    """Give the path of the file that says what the rows are."""
    return path.with_name(path.name + ".meta.json")


def rejected(path: Path) -> Path:
    """Give the path of the file with rows that could not be converted."""
    return path.with_name(path.name + ".rejected.jsonl")


def check_output(path: str | Path, wanted: Wanted) -> None:
    """Check that rows can be written to a path, before any work is done for it.

    :raises OutputExistsError: something is there and ``force`` is not set. :raises NaitError: it cannot be written so.
    """
    kind, out = kind_of(path), Path(path)
    check_trainers(wanted.trainers, kind, wanted.format)
    check_rows_place(out, kind, force=wanted.force)
    others = [sidecar(out), *(companion(own, out) for own in wanted.trainers if own is not Trainer.LLAMAFACTORY)]
    if any(companion(own, out) == out for own in wanted.trainers):
        raise NaitError(f"{out}: the trainer needs a file of this name beside the rows; choose another name")
    for own in [*others, *([rejected(out)] if wanted.format else [])]:
        check_writable(own, force=wanted.force)


def hand_over(
    chosen: Sequence[ChosenRow],
    records: Sequence[Mapping[str, Any]],
    facts: Mapping[str, Any],
    path: str | Path,
    wanted: Wanted,
) -> Written:
    """Write rows, the sidecar, the rows that could not be converted, and what trainers need: all of it or nothing.

    :param records: what the sidecar says of each row; :param facts: and of all.
    :raises OutputExistsError: something is there and ``force`` is not set. :raises NaitError: it cannot be written so.
    """
    check_output(path, wanted)
    kind, out = kind_of(path), Path(path)
    rows, refused, lost = converted(chosen, wanted.format)
    if refused and not rows:
        first = f"{refused[0].row.id!r}, {refused[0].reason}"
        raise NaitError(f"{out}: not written, not one row can be written as {wanted.format}; the first: {first}")
    if not rows and (wanted.trainers or kind in (Kind.PARQUET, Kind.FOLDER)):
        raise NaitError(f"{out}: not written, no row was chosen")
    written = [chosen[own.number] for own in rows]
    lengths = Lengths([own.tokens for own in written], facts.get("max_length"), sum(own.cut for own in written))
    rows = [_with_columns(own, at, len(rows), records, wanted) for at, own in enumerate(rows)]
    settings = {own: configuration(own, rows, out, kind, lengths, force=wanted.force) for own in wanted.trainers}
    more = {
        "rows": len(rows),
        "format": None if wanted.format is None else str(wanted.format),
        "tokens": lengths.to_dict(),
        "rejected": [dict(records[own.number]) | {"reason": own.reason} for own in refused],
        "left_out": lost,
        "nait_weight": WEIGHTS if wanted.weights else None,
        "selected": [records[own.number] for own in rows],
    }
    with together() as batch:
        write_rows(rows, out, kind, batch)
        for trainer, text in settings.items():
            with batch.file(companion(trainer, out)) as file:
                file.write(text.encode())
        if refused:
            with batch.file(rejected(out)) as file:
                file.writelines(_refusal(own) for own in refused)
        elif wanted.force:
            batch.remove(rejected(out))
        with batch.file(sidecar(out)) as file:
            file.write(to_json(dict(facts) | more, indent=2).encode() + b"\n")
    return Written(
        path=out,
        rows=len(rows),
        sidecar=sidecar(out),
        refused=len(refused),
        rejected=rejected(out),
        configurations=tuple(companion(own, out) for own in settings),
        notes=(*_notes_on_rows(facts, refused, lost, wanted, out), *_notes_on_trainers(rows, wanted, lengths, out)),
    )


def _with_columns(row: OutRow, at: int, count: int, records: Sequence[Mapping[str, Any]], wanted: Wanted) -> OutRow:
    record = records[row.number]
    added: dict[str, Any] = {"nait_rank": record["rank"], "nait_score": record["score"]} if wanted.scores else {}
    if wanted.weights:
        added["nait_weight"] = 2 * (count - at) / (count + 1)
    return row.with_columns(added) if added else row


def _refusal(refused: Refused) -> bytes:
    line = {"id": refused.row.id, "reason": refused.reason, "content": refused.row.row}
    return to_json(line).encode() + b"\n"


def _notes_on_rows(
    facts: Mapping[str, Any], refused: Sequence[Refused], lost: Mapping[str, int], wanted: Wanted, out: Path
) -> Iterator[str]:
    if refused:
        count = f"{len(refused):,} {'row' if len(refused) == 1 else 'rows'}"
        first = f"{refused[0].row.id!r}, {refused[0].reason}"
        yield f"{count} cannot be written as {wanted.format} and went to {rejected(out)}; the first: {first}"
    if lost:
        names = ", ".join(f"{name} ({count:,} rows)" for name, count in lost.items())
        yield f"{wanted.format} has no place for these fields of turns, which were left out: {names}"
    if "contamination" in facts:
        found = facts["contamination"]
        likes = ", ".join(f"{own} {found[own]:,}" for own in Likeness)
        remedy = "; --decontaminate leaves them out" if found["rows"] else ""
        yield f"contaminated: {likes} (rows like one of the {found['examples']:,} examples){remedy}"


def _notes_on_trainers(rows: Sequence[OutRow], wanted: Wanted, lengths: Lengths, out: Path) -> Iterator[str]:
    if Trainer.LLAMAFACTORY in wanted.trainers:
        stage = ", stage: pt, for plain text" if rows[0].format is RowFormat.TEXT else ""
        yield f"LLaMA-Factory: dataset: {entry_name(out)}, dataset_dir: {out.parent}{stage}"
    if Trainer.TRL in wanted.trainers:
        yield f"TRL cuts rows at {LENGTH:,} tokens unless max_length is raised; {lengths.over(LENGTH)}"
