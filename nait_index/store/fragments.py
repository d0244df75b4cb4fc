"""Which rows the files of a table hold at one version, so that the same rows are recognised in another version.

Lance never changes a data file, and never gives two the same name. A version lists fragments of rows: each has its data
files, of which one holds a given column, and the list of its rows that are deleted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

PIECE = 16_384
"""Rows of a file that a piece of a fragment holds, deleted ones included: few enough to share out a small index."""


@dataclass(frozen=True, slots=True, eq=False)
class Fragment:
    """The rows of one fragment of a table, as one column of it sees them.

    :param number: Lance's id of the fragment.
    :param values: the data file that holds the column, and where in it; equal ones mean equal values. Empty where that
        cannot be told.
    :param runs: (r, 2) int64, of each run of rows that are not deleted the first offset and the one after the last.
    :param skipped: of a piece, how many rows of Lance's fragment that are not deleted come before it.
    """

    number: int
    values: str
    runs: np.ndarray
    skipped: int | None = None

    @property
    def rows(self) -> int:
        """How many rows are not deleted."""
        return int((self.runs[:, 1] - self.runs[:, 0]).sum())

    def record(self) -> dict[str, Any]:
        """Return the fragment as JSON."""
        return {"number": self.number, "values": self.values, "runs": self.runs.tolist()}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Fragment":
        """Read what :meth:`record` returned.

        :raises ValueError: the runs are not in order. :raises KeyError: a field is missing.
        """
        runs = np.asarray(record["runs"], dtype=np.int64).reshape(-1, 2)
        bounds = runs.reshape(-1)
        if (bounds[:1] < 0).any() or (np.diff(bounds) <= 0).any():
            raise ValueError("the runs of a fragment are not in order")
        return cls(int(record["number"]), str(record["values"]), runs)


def list_fragments(dataset: Any, column: str) -> list[Fragment]:  # noqa: ANN401 - lance is not typed
    """Return the fragments of a Lance dataset in table order."""
    field = dataset.lance_schema.field(column).id()
    return [
        Fragment(fragment.fragment_id, _values(fragment.metadata, field), _runs(dataset, fragment))
        for fragment in dataset.get_fragments()
    ]


def cut(fragment: Fragment) -> list[Fragment]:
    """Cut a fragment into pieces of :data:`PIECE` rows, which stay the same pieces when rows are deleted."""
    if not len(fragment.runs) or fragment.runs[-1, 1] <= PIECE:
        return [fragment] if fragment.rows else []
    pieces, skipped = [], 0
    for start in range(0, int(fragment.runs[-1, 1]), PIECE):
        runs = np.clip(fragment.runs, start, start + PIECE)
        piece = replace(fragment, runs=runs[runs[:, 0] < runs[:, 1]], skipped=skipped)
        skipped += piece.rows
        pieces += [_named(piece)] if piece.rows else []
    return pieces


def revalued(dataset: Any, column: str, pieces: Sequence[Fragment]) -> list[Fragment]:  # noqa: ANN401
    """Return the same rows of a Lance dataset as another column of it sees them."""
    field = dataset.lance_schema.field(column).id()
    return [
        _named(replace(piece, values=_values(dataset.get_fragment(piece.number).metadata, field))) for piece in pieces
    ]


def position(piece: Fragment) -> int:
    """Return a number that is one higher for the next piece of a fragment, and for the next fragment."""
    return piece.number + int(piece.runs[0, 0]) // PIECE


def _named(piece: Fragment) -> Fragment:
    """Make the values of a piece others than those of the rest of its fragment."""
    if piece.skipped is None or not piece.values:
        return piece
    return replace(piece, values=f"{piece.values}:{int(piece.runs[0, 0]) // PIECE}")


def _values(metadata: Any, field: int) -> str:  # noqa: ANN401
    places = [
        f"{file.path}:{field}:{place}"
        for file in metadata.files
        for number, place in zip(file.fields, file.column_indices, strict=False)
        if number == field
    ]
    # An overlay, which newer versions of Lance have, replaces values of a data file.
    return places[0] if len(places) == 1 and not getattr(metadata, "overlays", None) else ""


def _runs(dataset: Any, fragment: Any) -> np.ndarray:  # noqa: ANN401
    """Return the runs of rows that are not deleted; of the table's files only the list of deleted ones is read."""
    rows = fragment.physical_rows
    if not fragment.num_deletions:
        return np.array([[0, rows]] if rows else [], dtype=np.int64).reshape(-1, 2)
    scanner = dataset.scanner(columns=[], with_row_address=True, fragments=[fragment], scan_in_order=True)
    offsets = scanner.to_table()["_rowaddr"].to_numpy().astype(np.int64) & 0xFFFFFFFF
    if not len(offsets):
        return np.empty((0, 2), dtype=np.int64)
    breaks = np.flatnonzero(np.diff(offsets) != 1)
    return np.stack([offsets[np.r_[0, breaks + 1]], offsets[np.r_[breaks, -1]] + 1], axis=1)
