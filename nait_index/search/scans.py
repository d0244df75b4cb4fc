"""What a search asks of the scans of an index's signatures, wherever their rows are held."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from nait_index.search.copies import ScanCopies
from nait_index.search.exact import ExactScan, ScanStamp
from nait_index.search.hits import Hits, best_of_each, rescored
from nait_index.search.placement import OnProcessor, Products
from nait_index.signatures.features import unit_rows
from nait_index.signatures.views import HIDDEN_MEAN
from nait_index.store.samples import SampleTable, spread

logger = logging.getLogger(__name__)

_CENTRED = 1024
"""Rows whose mean is subtracted from last hidden states."""

TableWork = Callable[[SampleTable, Any], Any]
"""What is done with a table and one argument; it can be sent to another process."""

ReadWhole = Callable[[np.ndarray, str], np.ndarray]
"""Reads the whole signatures of some rows, by ordinal, in a column: (m, width)."""


@dataclass(frozen=True, slots=True)
class ColumnQueries:
    """What one column is scanned with.

    :param stamp: the state of the table that is scanned. :param queries: (q, d); columns beyond the scanned ones are
        ignored by a scan.
    :param longest: length of the longest row of the table, by which queries are rounded; ``None`` where the scan that
        is asked holds all rows, and so knows it.
    """

    column: str
    stamp: ScanStamp
    queries: np.ndarray
    longest: float | None = None


Parts = Sequence[ColumnQueries]
"""Queries of one or several columns, whose scores are added up."""


class Scans(Protocol):
    """The scans of all rows of a table."""

    @property
    def workers(self) -> int:
        """How many processes scan them."""

    def reason(self, rows: int, width: int, dtype: str, queries: int) -> str:
        """Return where a scan would be multiplied and why; empty where there is no choice."""

    def longest(self, column: str, stamp: ScanStamp) -> float:
        """Return the length of the longest row."""

    def scores(self, parts: Parts) -> np.ndarray:
        """Score every row by every query: (q, n) float32."""

    def best(self, parts: Parts, k: int, allowed: np.ndarray | None) -> list[Hits]:
        """Return the rows of highest score for every query.

        :param allowed: (n,) bool, rows that may be chosen; ``None`` for all.
        """

    def best_whole(self, part: ColumnQueries, k: int, allowed: np.ndarray | None) -> list[Hits]:
        """Return the rows of highest score by whole signatures, which are read near the cut."""

    def count_read(self, stamp: ScanStamp, passing: int | None) -> int:
        """Return how many rows a search reads, of which some pass a filter; ``None`` for no filter."""

    def take(self, column: str, stamp: ScanStamp, ordinals: np.ndarray) -> np.ndarray:
        """Return the scanned codes of some rows (m, d)."""

    def each(self, work: TableWork, arguments: Iterable[Any]) -> Iterator[Any]:
        """Yield what is made of the table and each of some arguments, in their order, where its rows are scanned."""


class HeldScans:
    """Scans in this process, each opened when it is first needed, and brought up to date before.

    :param products: what multiplies rows with queries; the processor by default.
    :param threads: that scan; ``None`` is one per core.
    """

    def __init__(self, copies: ScanCopies, products: Products | None = None, threads: int | None = None) -> None:
        self._copies = copies
        self._products = products or OnProcessor()
        self._threads = threads
        self._opened: dict[str, ExactScan] = {}

    @property
    def workers(self) -> int:
        """How many processes scan the rows: this one."""
        return 1

    def reason(self, rows: int, width: int, dtype: str, queries: int) -> str:
        """Return where a scan would be multiplied and why; empty where there is no choice."""
        return self._products.reason(rows, width, dtype, queries)

    def exact(self, column: str, stamp: ScanStamp) -> ExactScan:
        """Open the scan of a column; make it where there is none for this state of the table."""
        if column not in self._opened:
            self._opened[column] = self._copies.open(column, stamp)
            self._opened[column].products = self._products
            logger.info("scanning %s: %d rows of %d numbers", column, stamp.rows, stamp.dim)
        return self._opened[column]

    def longest(self, column: str, stamp: ScanStamp) -> float:
        """Return the length of the longest row that is held."""
        return self.exact(column, stamp).longest

    def scores(self, parts: Parts) -> np.ndarray:
        """Score every row by every query: (q, n) float32."""
        scores = [self._exact(part).scores(part.queries, self._threads) for part in parts]
        return scores[0] if len(scores) == 1 else np.asarray(np.sum(scores, axis=0))

    def best(self, parts: Parts, k: int, allowed: np.ndarray | None) -> list[Hits]:
        """Return the rows of highest score for every query."""
        return best_of_each(self._scores(parts, allowed), k, allowed)

    def best_whole(self, part: ColumnQueries, k: int, allowed: np.ndarray | None) -> list[Hits]:
        """Return the rows of highest score by whole signatures, which are read near the cut."""
        scores = self._scores([part], allowed)
        return list(rescored(lambda ordinals: self.whole(part.column, ordinals), scores, part.queries, k, allowed))

    def count_read(self, stamp: ScanStamp, passing: int | None) -> int:
        """Return how many rows a search reads."""
        return stamp.count_read(passing)

    def take(self, column: str, stamp: ScanStamp, ordinals: np.ndarray) -> np.ndarray:
        """Return the scanned codes of some rows (m, d)."""
        return np.asarray(self.exact(column, stamp).rows[ordinals])

    def each(self, work: TableWork, arguments: Iterable[Any]) -> Iterator[Any]:
        """Yield what is made of the table and each of some arguments, one after the other."""
        return (work(self._copies.table, argument) for argument in arguments)

    def whole(self, column: str, ordinals: np.ndarray) -> np.ndarray:
        """Read the whole signatures of some rows of the table (m, width)."""
        return self._copies.table.signatures_at(ordinals, column)

    def _scores(self, parts: Parts, allowed: np.ndarray | None) -> np.ndarray:
        """Score every row; or only the allowed ones where these are few, and give the others -inf."""
        passing = None if allowed is None else int(np.count_nonzero(allowed))
        if allowed is None or any(self.count_read(part.stamp, passing) == part.stamp.rows for part in parts):
            return self.scores(parts)
        return np.asarray(
            np.sum([self._exact(part).scores_among(allowed, part.queries) for part in parts], axis=0), np.float32
        )

    def _exact(self, part: ColumnQueries) -> ExactScan:
        exact = self.exact(part.column, part.stamp)
        if part.longest is None:
            return exact
        rounded_alike = ExactScan(exact.rows, part.longest, exact.stamp)
        rounded_alike.products = self._products
        return rounded_alike


class HiddenStates:
    """Last hidden states, of which there is no copy: they are read from the table. Queries are of unit vectors."""

    def __init__(self, table: SampleTable) -> None:
        self._table = table

    @cached_property
    def center(self) -> np.ndarray:
        """(H,) mean of a random sample of the rows."""
        sample = self._table.signatures_at(spread(len(self._table), _CENTRED), HIDDEN_MEAN)
        return np.asarray(sample.mean(axis=0, dtype=np.float64), np.float32)

    def vectors(self, signatures: np.ndarray) -> np.ndarray:
        """Return signatures (m, H) less the center, of length 1: float32."""
        return unit_rows(signatures.astype(np.float32) - self.center)

    def scores(self, queries: np.ndarray) -> np.ndarray:
        """Compute the inner products of every row's vector with queries (q, H): (q, n) float32."""
        parts = [queries @ self.vectors(block).T for block in self._table.signatures(HIDDEN_MEAN)]
        # Rounded, so that equal rows tie whichever block of a product they are in.
        return np.asarray(np.round(np.concatenate(parts, axis=1), 5), np.float32)
