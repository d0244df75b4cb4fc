"""Selected rows → files that appear together or not at all: the rows, a sidecar, and what trainers need beside them."""

import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nait_index.config import Trainer
from nait_index.corpus import to_json
from nait_index.corpus.media import media_columns
from nait_index.errors import NaitError
from nait_index.files import Together, abandoned, check_writable, remove_abandoned, together
from nait_index.handover import llamafactory, trl
from nait_index.handover.contamination import Contamination, Likeness, Match
from nait_index.handover.convert import Refused
from nait_index.handover.order import Order
from nait_index.handover.rows import ChosenRow, OutRow
from nait_index.handover.taken import Taken, write_sidecar
from nait_index.handover.trainers import TRAINERS, configuration, ignored_fields
from nait_index.handover.writers import OutputKind, check_rows_path, kind_of, write_rows
from nait_index.spelling import parse_enum
from nait_index.types import RowFormat

WEIGHTS = "nait_weight of the i-th of n written rows is 2(n − i + 1)/(n + 1): linear in the row's position, with mean 1"


class OutputOptions:
    """Where and how rows are written, checked before any work is done.

    :param path: ``.jsonl``, ``.json``, ``.parquet``, ``.csv``, or a folder; a slash at its end is significant.
    :param format: what rows are converted to; ``None`` leaves them unchanged.
    :param trainers: those that get a configuration. :param scores: add ``nait_rank`` and ``nait_score``.
    :param weights: add ``nait_weight``, see :data:`WEIGHTS`. :param force: replace existing files.
    :param shuffle: write the rows in random order instead of best first. :param validation: how many of them, as a
        number or a share, drawn at random, go to a file of their own; :param seed: of both.
    :param command: what the user typed, for the sidecar.
    :raises OutputExistsError: a file exists already and ``force`` is not set.
    :raises NaitError: an option is unknown, or a file cannot be written.

    ``sidecar`` is the file that describes the rows, ``rejected`` that of the rows that could not be written, and
    ``held_out`` that of the rows for validation.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        format: RowFormat | str | None = None,
        trainers: Sequence[Trainer | str] = (),
        scores: bool = False,
        weights: bool = False,
        force: bool = False,
        shuffle: bool = False,
        validation: str | int | None = None,
        seed: int = 0,
        command: str | None = None,
    ) -> None:
        self.order = Order.parse(shuffle, validation, seed)
        self.format = None if format is None else parse_enum(RowFormat, format, "format")
        self.trainers = tuple(parse_enum(Trainer, name, "trainer") for name in trainers)
        self.path, self.kind = Path(path), kind_of(path)
        self.scores, self.weights, self.force, self.command = scores, weights, force, command
        for trainer in self.trainers:
            TRAINERS[trainer].check(self.kind, self.format)
        check_rows_path(self.path, self.kind)  # afterwards, the path has a name
        self.sidecar, self.rejected = self._beside(".meta.json"), self._beside(".rejected.jsonl")
        self.held_out = self.path.with_name(f"{self.path.stem}.validation{self.path.suffix}")
        if any(self.companion(trainer) == self.path for trainer in self.trainers):
            raise NaitError(f"{path}: the trainer needs a file of this name beside the rows; choose another name")
        for file in (self.path, *self.files_beside):
            check_writable(file, force=force or self._may_be_same())

    def keep_for_validation(self, ids: Collection[str], seed: int) -> None:
        """Keep rows for validation that an earlier output kept, unless others are to be drawn.

        :param seed: with which they were drawn.
        :raises OutputExistsError: their file exists already and ``force`` is not set.
        """
        if ids and self.order.validation is None:
            seed = self.order.seed if self.order.shuffle else seed
            self.order = replace(self.order, kept=frozenset(ids), seed=seed)
            check_writable(self.held_out, force=self.force or self._may_be_same())

    def has_written(self, path: Path) -> bool:
        """Return whether an earlier output of this name left one of its files, as the sidecar says."""
        if path == self.held_out:
            return self._held_out_before() == path.name
        return os.path.lexists(self.sidecar)

    def _held_out_before(self) -> str | None:
        """Return the name of the file of rows for validation that the sidecar of an earlier output names."""
        try:
            name = json.loads(self.sidecar.read_bytes())["validation"]["file"]
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return None
        return name if isinstance(name, str) else None

    @property
    def obsolete(self) -> list[Path]:
        """The files that an earlier output of this name may have left, and this one does not write."""
        left = not self.order.is_split and self._held_out_before() == self.held_out.name
        return [self.held_out] if left else []

    def _may_be_same(self) -> bool:
        """Return whether what is there may be what is to be written, as when a command is repeated.

        Only then is it worth the work to find out.
        """
        if not os.path.lexists(self.sidecar):
            return bool(abandoned(self.path.parent))  # a writer may have been killed before all was in place
        try:
            return "selected" in json.loads(self.sidecar.read_bytes())
        except (OSError, ValueError, TypeError, RecursionError):
            return False

    @property
    def is_streamed(self) -> bool:
        """Whether each row is written without a look at the others."""
        is_ordered = self.order.shuffle or self.order.is_split
        return self.kind is OutputKind.JSONL and not (self.trainers or self.weights or is_ordered)

    @property
    def files_beside(self) -> list[Path]:
        """The files that may appear beside the rows, without ``dataset_info.json``, which is added to."""
        companions = [self.companion(trainer) for trainer in self.trainers if trainer is not Trainer.LLAMAFACTORY]
        held_out = [self.held_out] if self.order.is_split else []
        return [self.sidecar, *companions, self.rejected, *held_out]

    def companion(self, trainer: Trainer) -> Path:
        """Return the path of the file that a trainer gets beside the rows."""
        if trainer is Trainer.LLAMAFACTORY:
            return self.path.with_name(llamafactory.FILE)
        return self._beside(f".{trainer}{TRAINERS[trainer].suffix}")

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)


@dataclass(frozen=True, slots=True)
class WrittenFiles:
    """What was written.

    :param rows: how many rows are in ``path``.
    :param refused: how many have no answer or could not be converted; those are in ``rejected``.
    :param configurations: the files for trainers. :param notes: sentences to show to the user.
    :param unchanged: whether all of it was there already. :param hub: the data set of the Hub that holds the files.
    """

    path: Path
    rows: int
    sidecar: Path
    refused: int
    rejected: Path
    configurations: tuple[Path, ...]
    notes: tuple[str, ...]
    unchanged: bool = False
    hub: str | None = None


def hand_over(
    chosen: Iterable[ChosenRow],
    records: Sequence[Mapping[str, Any]],
    facts: Mapping[str, Any],
    options: OutputOptions,
    contamination: Contamination | None = None,
) -> WrittenFiles:
    """Write rows, the sidecar, the rows that could not be written, and what trainers need: all of it or nothing.

    Rows are read once. JSON lines are written as they are read, unless something has to be known of all rows before.

    :param records: one entry of the sidecar per row. :param facts: what the sidecar records of the whole selection.
    :param contamination: finds rows that are like an example, for the sidecar.
    :raises OutputExistsError: a file is there with other content, and ``force`` is not set.
    :raises NaitError: the rows cannot be converted, or a trainer cannot read them.
    """
    out, taken, matches = options.path, Taken(facts.get("max_length")), dict[str, Match]()
    if contamination is not None and "decontaminated" not in facts:  # else every row was compared when it was chosen
        chosen = contamination.watch(chosen, matches)
    rows = taken.convert(chosen, options.format, records if options.scores else None)
    with together() as batch:
        if options.is_streamed:
            write_rows(rows, out, options.kind, batch)
            _check_not_empty(taken, options)
            more = _facts_of(taken, (), (), options)
        else:
            more = _write_all(list(rows), taken, batch, options)
        if contamination is not None:
            more = {"contamination": contamination.report(matches)} | more
        if taken.refused:
            with batch.file(options.rejected) as file:
                lines = ({"id": row.id, "reason": row.reason, "content": row.row} for row in taken.refused)
                file.writelines(to_json(line).encode() + b"\n" for line in lines)
        elif options.force:
            batch.remove(options.rejected)
        for path in options.obsolete if options.force else ():
            batch.remove(path)
        rejected = [dict(records[row.number]) | {"reason": row.reason} for row in taken.refused]
        facts = dict(facts) | more | {"rejected": rejected}
        with batch.file(options.sidecar) as file:
            write_sidecar(file, facts, (records[number] for number in taken.numbers))
        unchanged = not options.force and batch.leave_same((out, *options.files_beside))
    remove_abandoned(out.parent)
    return WrittenFiles(
        out,
        more["rows"],
        options.sidecar,
        len(taken.refused),
        options.rejected,
        tuple(map(options.companion, options.trainers)),
        tuple(_notes(taken, facts, options)),
        unchanged,
    )


def _write_all(rows: list[OutRow], taken: Taken, batch: Together, options: OutputOptions) -> dict[str, Any]:
    """Write rows of which something has to be known before the first is written, and return the facts about them."""
    _check_not_empty(taken, options)
    if options.weights:
        rows = [_with_weight(row, number, len(rows)) for number, row in enumerate(rows)]
    taken.has_media = Trainer.LLAMAFACTORY in options.trainers and any(media_columns(row.fields) for row in rows)
    taught, held_out = options.order.split(rows)
    if Trainer.LLAMAFACTORY in options.trainers:
        batch.lock(options.path.parent)  # its file is read, added to, and replaced
    configurations = {
        options.companion(trainer): configuration(
            trainer, taught, taken.lengths, options.path, options.kind, force=options.force
        )
        for trainer in options.trainers
    }
    write_rows(taught, options.path, options.kind, batch)
    if held_out:
        write_rows(held_out, options.held_out, options.kind, batch)
    for path, text in configurations.items():
        with batch.file(path) as file:
            file.write(text.encode())
    return _facts_of(taken, rows, held_out, options)


def _facts_of(
    taken: Taken, rows: Sequence[OutRow], held_out: Sequence[OutRow], options: OutputOptions
) -> dict[str, Any]:
    """Return what the sidecar says of the rows.

    :param rows: all that are written, where a trainer needs something. :param held_out: those for validation.
    """
    more: dict[str, Any] = {} if options.command is None else {"command": options.command}
    return more | {
        "rows": len(taken.numbers) - len(held_out),
        **options.order.facts(options.held_out.name, held_out),
        "format": None if options.format is None else str(options.format),
        "tokens": taken.lengths.to_dict(),
        "rejected": [],
        "left_out": taken.lost,
        "ignored": {str(trainer): dict(ignored_fields(trainer, rows)) for trainer in options.trainers},
        "nait_weight": WEIGHTS if options.weights else None,
        "scores": options.scores,
    }


def _check_not_empty(taken: Taken, options: OutputOptions) -> None:
    if taken.refused and not taken.numbers:
        first = _first(taken.refused)
        raise NaitError(f"{options.path}: not written, no row can be {_verb(options)}; the first is {first}")
    is_table = options.kind in (OutputKind.PARQUET, OutputKind.CSV, OutputKind.FOLDER)
    if not taken.numbers and (options.trainers or is_table):
        raise NaitError(f"{options.path}: not written, no row was selected")


def _with_weight(row: OutRow, position: int, count: int) -> OutRow:
    return replace(row, text=to_json({**row.fields, "nait_weight": 2 * (count - position) / (count + 1)}))


def _verb(options: OutputOptions) -> str:
    return "written" if options.format is None else f"converted to {options.format}"


def _first(refused: Sequence[Refused]) -> str:
    return f"{refused[0].id!r}: {refused[0].reason}"


def _notes(taken: Taken, facts: Mapping[str, Any], options: OutputOptions) -> Iterator[str]:
    target, refused = options.format, taken.refused
    if held_out := facts.get("validation"):
        kept = held_out["rows"]
        are = "row for validation is" if kept == 1 else "rows for validation are"
        yield f"{kept:,} {are} in {options.held_out}"
    if refused:
        count = f"{len(refused):,} {'row' if len(refused) == 1 else 'rows'}"
        yield f"{count} cannot be {_verb(options)}, see {options.rejected}; the first is {_first(refused)}"
    if facts["left_out"]:
        names = ", ".join(
            f"{name} ({count:,} {'row' if count == 1 else 'rows'})" for name, count in facts["left_out"].items()
        )
        yield f"{target} has no place for these fields of turns, which were left out: {names}"
    for trainer, fields in facts["ignored"].items():
        if fields:
            names = ", ".join(
                f"{name} ({count:,} {'row' if count == 1 else 'rows'})" for name, count in sorted(fields.items())
            )
            yield f"{TRAINERS[Trainer(trainer)].name} ignores these fields of turns: {names}"
    if "contamination" in facts:
        report = facts["contamination"]
        counts = ", ".join(f"{likeness} {report[likeness]:,}" for likeness in Likeness)
        remedy = "; --decontaminate leaves them out" if report["rows"] else ""
        yield f"contaminated: {counts} (rows like one of the {report['examples']:,} examples){remedy}"

    if Trainer.LLAMAFACTORY in options.trainers:
        stage = ", stage: pt, for plain text" if taken.format is RowFormat.TEXT else ""
        name, folder = llamafactory.entry_name(options.path), options.path.parent
        yield f"LLaMA-Factory: dataset: {name}, dataset_dir: {folder}{stage}"
        if taken.has_media:
            yield "LLaMA-Factory: images, video and audio have the paths of the corpus; set media_dir to their folder"
    if Trainer.TRL in options.trainers:
        over = taken.lengths.over(trl.LENGTH)
        yield f"TRL truncates rows at {trl.LENGTH:,} tokens unless you raise max_length; {over}"
