"""The approximate searches of one version of the table: opened, or made from those of another version."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nait_index.errors import NaitError
from nait_index.search.approximate import Approximate, Stored
from nait_index.search.joint import JointScan
from nait_index.search.renewal import plan_renewal
from nait_index.store.engines import CELLS, drop_older, other_copies
from nait_index.store.fragments import Fragment
from nait_index.store.integrity import Looks
from nait_index.store.layout import Layout
from nait_index.store.samples import SampleTable

logger = logging.getLogger(__name__)


class CellCopies:
    """The approximate searches of the version that a table is read at."""

    def __init__(self, layout: Layout, table: SampleTable) -> None:
        self._layout = layout
        self._table = table
        self._folder = layout.engine(table.version)

    def open(self, columns: Sequence[str], exact: JointScan, steps: np.ndarray) -> Approximate | None:
        """Open the search of some columns, or make it from that of another version; ``None`` where neither can be done.

        :param exact: the scan of these columns. :param steps: (d,) what one unit of each code is worth.
        """
        stored = self._read(self._folder, "+".join(columns))
        if stored is not None and stored.stamp == exact.stamp:
            return Approximate(stored.cells, exact, steps, stored.queries, stored.recall)
        for folder in other_copies(self._layout.engines, "+".join(columns), self._table.version, CELLS)[:1]:
            try:
                return self._grow(folder, columns, exact, steps)
            except (NaitError, OSError, ValueError, RuntimeError) as error:
                logger.info("the approximate search cannot be made from %s: %s", folder, error)
        return None

    def make(self, columns: Sequence[str], exact: JointScan, steps: np.ndarray, queries: np.ndarray) -> Approximate:
        """Make the search of some columns anew.

        :param queries: (q, d), like those that will be asked; the recall is measured on them.
        """
        return self._saved(columns, Approximate.build(exact, steps, queries))

    def _grow(self, folder: Path, columns: Sequence[str], exact: JointScan, steps: np.ndarray) -> Approximate | None:
        stored = self._read(folder, "+".join(columns))
        if stored is None or (stored.stamp.dim, stored.stamp.dtype) != (exact.stamp.dim, exact.stamp.dtype):
            return None
        renewal = plan_renewal(stored.fragments, self._fragments(columns))
        if 2 * renewal.copied < stored.stamp.rows or sum(part.rows for part in stored.fragments) != stored.stamp.rows:
            return None
        logger.info("bringing the approximate search of %s up to date", " and ".join(columns))
        cells = stored.cells.grown(*renewal.moves(stored.stamp.rows), exact, steps)
        grown = Approximate.tuned(cells, exact, steps, stored.queries, stored.recall)
        return None if grown.is_outgrown else self._saved(columns, grown)

    def _saved(self, columns: Sequence[str], search: Approximate) -> Approximate:
        search.save(self._folder, "+".join(columns), self._fragments(columns))
        drop_older(self._layout.engines, "+".join(columns), self._table.version, CELLS)
        return search

    def _fragments(self, columns: Sequence[str]) -> list[Fragment]:
        """Return the fragments of the table, in which equal values are those of all columns."""
        of_columns = zip(*(self._table.fragments_of(column) for column in columns), strict=True)
        return [
            Fragment(parts[0].number, "|".join(values) if all(values) else "", parts[0].runs)
            for parts in of_columns
            if (values := [part.values for part in parts])
        ]

    def _read(self, folder: Path, name: str) -> Stored | None:
        looks = Looks(self._layout)
        stored = Stored.read(folder, name, looks.same)
        if stored is not None:
            for ending in CELLS[1:]:
                if not looks.same(path := folder / f"{name}{ending}"):
                    looks.remember(path)
            looks.save()
        return stored
