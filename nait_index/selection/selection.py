"""The outcome of a query or a core: ranked rows with scores and provenance."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nait_index.corpus import check_output, to_json, write_json, write_rows
from nait_index.errors import OutputExistsError


@dataclass(frozen=True)
class Selection:
    """Chosen rows, best first; ties are in the order of their ids.

    :param ids: (k,) sample ids; :param scores: (k,) higher is better; :param ordinals: (k,) places in table order.
    :param provenance: what it was chosen from and how, enough to choose it again.
    :param fetch: reads the original rows at some places of the table, as JSON text.
    :param details: what else is known of each row, by column (the capability that chose it, its votes, …).
    """

    ids: tuple[str, ...]
    scores: tuple[float, ...]
    ordinals: tuple[int, ...]
    provenance: Mapping[str, Any]
    fetch: Callable[[Sequence[int]], list[str]] = field(repr=False)
    details: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)

    def first(self, count: int, provenance: Mapping[str, Any]) -> "Selection":
        """Keep the best rows only.

        :param provenance: what the shorter selection was chosen from and how.
        """
        return Selection(
            self.ids[:count],
            self.scores[:count],
            self.ordinals[:count],
            provenance,
            self.fetch,
            {name: values[:count] for name, values in self.details.items()},
        )

    def rows(self, limit: int | None = None) -> list[str]:
        """Give the original rows, as JSON text, best first."""
        return self.fetch(self.ordinals[:limit])

    def records(self) -> list[dict[str, Any]]:
        """Give rank, id, score and details of every row."""
        columns = {"id": self.ids, "score": self.scores, **self.details}
        return [
            {"rank": rank} | dict(zip(columns, values, strict=True))
            for rank, values in enumerate(zip(*columns.values(), strict=True), start=1)
        ]

    def to_jsonl(self, path: str | Path, *, force: bool = False, scores: bool = False) -> Path:
        """Write the original rows unchanged, best first, and ``PATH.meta.json`` with provenance and scores beside them.

        :param scores: put ``nait_rank`` and ``nait_score`` into the written rows, which are then not quite unchanged.
        :returns: the path of the second file.
        :raises OutputExistsError: one of the files is there and ``force`` was not given.
        """
        target = Path(path)
        check_outputs(target, force=force)
        write_rows(target, self._scored_rows() if scores else self.rows(), force=force)
        write_json(
            sidecar(target), dict(self.provenance) | {"rows": len(self), "selected": self.records()}, force=force
        )
        return sidecar(target)

    def _scored_rows(self) -> Iterator[str]:
        for record, row in zip(self.records(), self.rows(), strict=True):
            added = {"nait_rank": record["rank"], "nait_score": record["score"]}
            yield to_json(json.loads(row) | added)


def sidecar(path: Path) -> Path:
    """Give the path of the file that says what a selection is."""
    return path.with_name(path.name + ".meta.json")


def check_outputs(path: Path, *, force: bool) -> None:
    """Check that a selection can be written, before any work is done for it.

    :raises OutputExistsError: one of its two files is there and ``force`` was not given.
    """
    check_output(path, force=force)
    if sidecar(path).exists() and not force:
        raise OutputExistsError(f"{sidecar(path)}: exists already; overwrite it with --force, or choose another name")
