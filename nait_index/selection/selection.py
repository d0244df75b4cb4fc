"""What a query, a core or a cover returns: ranked rows with scores and provenance."""

from array import array
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from nait_index.config import Trainer
from nait_index.errors import NaitError, SelectionError
from nait_index.handover.contamination import Contamination, Match
from nait_index.handover.handover import OutputOptions, WrittenFiles, hand_over
from nait_index.handover.hub import HubOptions, output_options
from nait_index.handover.rows import ChosenRow
from nait_index.handover.taken import Taken
from nait_index.handover.writers import OutputKind, kind_of, to_dataset, to_table
from nait_index.selection.provenance import Provenance
from nait_index.spelling import parse_enum
from nait_index.types import DEFAULT_READING, Reading, RowFormat

if TYPE_CHECKING:
    import datasets

_BLOCK = 16_384
"""Rows that are read at a time."""

_CHOSEN_COLUMNS = ("row", "format", "n_tokens", "truncated", "content_hash")

_CONTENT_DIGITS = 16
"""Digits of a row's content hash that a sidecar holds."""


@dataclass(frozen=True)
class Selection:
    """Chosen rows, best first; ties are in the order of their ids.

    :param ids: (k,) sample ids; :param ordinals: (k,) positions in table order.
    :param scores: (k,) higher is better; empty if nothing ranks the rows, because all were taken.
    :param provenance: what the rows were chosen from and how: enough to choose them again.
    :param fetch: reads columns of the rows with some ordinals.
    :param details: what else is known of each row, by column (the capability that chose it, its votes, …).
    :param missed: the next best rows, which just missed the cut, if they were asked for. :param before: how many rows
        rank before these.
    :param asked: the question of each example, by capability, if known. :param reading: what the index reads of rows.
    :param held_out: the ids of those that were kept for validation when the selection was written before, and the seed.
    """

    ids: tuple[str, ...]
    scores: tuple[float, ...]
    ordinals: tuple[int, ...]
    provenance: Provenance
    fetch: Callable[[Sequence[int], Sequence[str]], Mapping[str, list[Any]]] = field(repr=False)
    details: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    asked: Mapping[str, Sequence[str]] = field(default_factory=dict, repr=False)
    missed: "Selection | None" = field(default=None, repr=False)
    before: int = field(default=0, repr=False)
    reading: Reading = field(default=DEFAULT_READING, repr=False)
    held_out: tuple[frozenset[str], int] = field(default=(frozenset(), 0), repr=False)

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        best = ", ".join(map(repr, self.ids[:3])) + (", …" if len(self) > 3 else "")
        names = ", ".join(self.provenance.capabilities or ())
        by = (f" for {names}" if names else "") + (f" by {self.provenance.method}" if self.provenance.method else "")
        return f"<Selection of {len(self):,} of {self.provenance.available:,} rows{by}: {best}>"

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)

    def first(self, count: int) -> "Selection":
        """Return the best rows only, with the provenance of all."""
        details = {name: values[:count] for name, values in self.details.items()}
        ids, scores, ordinals = self.ids[:count], self.scores[:count], self.ordinals[:count]
        return replace(self, ids=ids, scores=scores, ordinals=ordinals, details=details)

    def rows(self, limit: int | None = None) -> list[str]:
        """Return the original rows, as JSON text, best first."""
        return self.fetch(self.ordinals[:limit], ["row"])["row"]

    def records(self) -> list[dict[str, Any]]:
        """Return rank, id, score and details of every row."""
        return list(_Records(self))

    def like_examples(self, without: Collection[str] = ()) -> dict[str, Match]:
        """Return the chosen rows that repeat one of the examples, exactly or nearly, by id.

        :param without: ids of rows that are not looked at.
        """
        return Contamination(self.asked).find(self.chosen_rows(without))

    def write(
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
    ) -> WrittenFiles:
        """Write the rows, best first, and ``PATH.meta.json`` with provenance and scores beside them: all or nothing.

        :param path: ``.jsonl``, ``.json``, ``.parquet``, ``.csv``, a folder that ``datasets.load_from_disk`` opens, or
            ``hf://datasets/OWNER/NAME``, a data set of the Hub, which is private if it is new.
        :param format: what the rows are converted to; by default they stay unchanged, byte for byte, but for NaN and
            infinity, which are left out. Rows that cannot be converted go to ``PATH.rejected.jsonl``.
        :param trainers: those that get what they need to read the rows, such as ``trl``.
        :param scores: add ``nait_rank`` and ``nait_score`` to the rows; :param weights: add ``nait_weight``, linear in
            the rank, with mean 1.
        :param shuffle: write the rows in random order; :param validation: put this number or share of them, drawn at
            random, into ``PATH`` with ``.validation`` before its suffix; :param seed: of both.
        :raises OutputExistsError: a file exists and ``force`` is not set. :raises NaitError: it cannot be written.
        """
        return self.write_output(
            output_options(
                path,
                format=format,
                trainers=trainers,
                scores=scores,
                weights=weights,
                force=force,
                shuffle=shuffle,
                validation=validation,
                seed=seed,
            )
        )

    def write_output(self, options: OutputOptions | HubOptions) -> WrittenFiles:
        """Write the rows with options that are parsed already; see :meth:`write`."""
        if (options.scores or options.weights) and not self.scores:
            raise SelectionError("nothing ranks these rows, so there are no scores or weights; choose with -c or -e")
        facts, contamination = self.provenance.to_dict(), Contamination(self.asked) if self.asked else None
        if self.missed is not None:
            facts["missed"] = self.missed.records()

        def write(options: OutputOptions) -> WrittenFiles:
            contents = array("Q")
            options.keep_for_validation(*self.held_out)
            return hand_over(self._noting(contents), _Records(self, contents), facts, options, contamination)

        return options.push(write) if isinstance(options, HubOptions) else write(options)

    def _noting(self, contents: "array[int]") -> Iterator[ChosenRow]:
        """Yield the chosen rows, and note the content of each before, in eight bytes."""
        for row in self.chosen_rows():
            contents.append(int(content_key(row.content_hash), 16))
            yield row

    def to_jsonl(self, path: str | Path, *, force: bool = False, scores: bool = False) -> Path:
        """Write the original rows unchanged, as JSON lines; see :meth:`write`.

        :returns: the path of the sidecar.
        """
        if kind_of(path) is not OutputKind.JSONL:
            raise NaitError(f"{path}: JSON lines end in .jsonl; use write() for other kinds")
        return self.write(path, force=force, scores=scores).sidecar

    def to_dataset(self, format: RowFormat | str | None = None) -> "datasets.Dataset":
        """Return the rows as a dataset of the library ``datasets``, best first.

        :param format: what they are converted to.
        :raises NaitError: a row has no answer, cannot be converted, or does not fit in one table with the others.
        """
        target = None if format is None else parse_enum(RowFormat, format, "format")
        taken = Taken(None)
        rows = list(taken.convert(self.chosen_rows(), target, None))
        if taken.refused:
            what, first = "a training row" if format is None else f"converted to {format}", taken.refused[0]
            raise NaitError(f"row {first.id!r} cannot be {what}: {first.reason}")
        return to_dataset(to_table(rows, "a dataset"))

    def chosen_rows(self, without: Collection[str] = ()) -> Iterator[ChosenRow]:
        """Yield the chosen rows as the index stores them, best first, except those with some ids."""
        reading = self.reading.whole
        for start in range(0, len(self), _BLOCK):
            block = zip(self.ids[start : start + _BLOCK], self.ordinals[start : start + _BLOCK], strict=True)
            wanted = [pair for pair in block if pair[0] not in without]
            columns = self.fetch([ordinal for _, ordinal in wanted], _CHOSEN_COLUMNS) if wanted else {}
            for (row_id, _), row, form, tokens, cut, content in zip(wanted, *columns.values(), strict=True):
                yield ChosenRow(row_id, row, RowFormat(form), tokens, cut, reading, content)


def content_key(content_hash: str) -> str:
    """Return the 16 hex digits by which a sidecar knows the content of a row."""
    return content_hash[:_CONTENT_DIGITS]


class _Records(Sequence[dict[str, Any]]):
    """Rank, id, score and details of every row of a selection, put together when they are asked for.

    :param contents: the content of each row that has been read so far, where the records are to hold it.
    """

    def __init__(self, selection: Selection, contents: "array[int] | None" = None) -> None:
        self._contents = contents
        scores = {"score": selection.scores} if selection.scores else {}
        self._columns = {"id": selection.ids, **scores, **selection.details}
        self._first = selection.before + 1

    def __len__(self) -> int:
        return len(self._columns["id"])

    @overload
    def __getitem__(self, position: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, position: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, position: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        if isinstance(position, slice):
            return [self[number] for number in range(len(self))[position]]
        values = {name: column[position] for name, column in self._columns.items()}
        if self._contents is not None:
            values["content"] = f"{self._contents[position]:0{_CONTENT_DIGITS}x}"
        return {"rank": self._first + position} | values
