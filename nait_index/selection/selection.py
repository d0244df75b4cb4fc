"""The outcome of a query or a core: ranked rows with scores and provenance."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nait_index.corpus.export import write_json, write_rows


@dataclass(frozen=True)
class Selection:
    """Chosen rows, best first; ties are in the order of their ids.

    :param ids: (k,) sample ids; :param scores: (k,) higher is better; :param details: what else is known of each row,
        by column (the capability that chose it, its votes, …).
    :param provenance: what it was chosen from and how, enough to choose it again.
    :param fetch: reads the original rows of some ids, as JSON text.
    """

    ids: tuple[str, ...]
    scores: tuple[float, ...]
    provenance: Mapping[str, Any]
    fetch: Callable[[Sequence[str]], list[str]] = field(repr=False)
    details: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)

    def rows(self, limit: int | None = None) -> list[str]:
        """Give the original rows, as JSON text, best first."""
        return self.fetch(self.ids[:limit])

    def records(self) -> list[dict[str, Any]]:
        """Give rank, id, score and details of every row."""
        return [
            {"rank": rank, "id": sample_id, "score": score} | {name: values[rank - 1] for name, values in self.details.items()}
            for rank, (sample_id, score) in enumerate(zip(self.ids, self.scores, strict=True), start=1)
        ]

    def to_jsonl(self, path: str | Path, *, force: bool = False) -> Path:
        """Write the original rows unchanged, best first, and ``PATH.meta.json`` with provenance and scores beside them.

        :returns: the path of the second file.
        :raises OutputExistsError: one of the files is there and ``force`` was not given.
        """
        target = Path(path)
        sidecar = target.with_name(target.name + ".meta.json")
        write_rows(target, self.rows(), force=force)
        write_json(sidecar, dict(self.provenance) | {"rows": len(self), "selected": self.records()}, force=force)
        return sidecar
