"""Several scans of the same rows, searched as if their columns stood side by side."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from nait_index.search.cells import LEADING
from nait_index.search.exact import ExactScan, ScanStamp


class Scan(Protocol):
    """What an approximate search needs of the scan that it shortens."""

    stamp: ScanStamp

    def block(self, start: int, end: int) -> np.ndarray:
        """Return the codes of some rows in table order."""

    def take(self, ordinals: np.ndarray) -> np.ndarray:
        """Return the codes of the rows with some ordinals."""

    def scores(self, queries: np.ndarray) -> np.ndarray:
        """Score every row by every query."""

    def scores_at(self, ordinals: np.ndarray, queries: np.ndarray) -> np.ndarray:
        """Score the rows with these ordinals."""


class JointScan:
    """The columns of several scans: first the leading ones of each, as many as its share of all, then the others."""

    def __init__(self, scans: Sequence[ExactScan]) -> None:
        self._scans = scans
        dims = [scan.stamp.dim for scan in scans]
        starts = np.cumsum([0, *dims])
        leading = [min(dim, LEADING * dim // int(starts[-1])) for dim in dims]
        first = [np.arange(start, start + lead) for start, lead in zip(starts, leading, strict=False)]
        rest = [np.arange(start + lead, end) for start, lead, end in zip(starts, leading, starts[1:], strict=False)]
        self._order = np.concatenate([*first, *rest])
        self._ends = starts[1:-1]
        self.stamp = replace(scans[0].stamp, dim=int(starts[-1]))

    def arrange(self, parts: Sequence[np.ndarray]) -> np.ndarray:
        """Put what belongs to the columns of every scan (…, dᵢ) into the order of all: (…, d)."""
        return np.asarray(np.concatenate(parts, axis=-1)[..., self._order])

    def block(self, start: int, end: int) -> np.ndarray:
        """Return the codes of some rows in table order."""
        return self.arrange([scan.block(start, end) for scan in self._scans])

    def take(self, ordinals: np.ndarray) -> np.ndarray:
        """Return the codes of the rows with some ordinals."""
        return self.arrange([scan.take(ordinals) for scan in self._scans])

    def scores(self, queries: np.ndarray) -> np.ndarray:
        """Score every row by every query: (q, n)."""
        parts = zip(self._scans, self._split(queries), strict=True)
        return np.asarray(np.sum([scan.scores(part) for scan, part in parts], axis=0))

    def scores_at(self, ordinals: np.ndarray, queries: np.ndarray) -> np.ndarray:
        """Score the rows with these ordinals: (q, m)."""
        parts = zip(self._scans, self._split(queries), strict=True)
        return np.asarray(np.sum([scan.scores_at(ordinals, part) for scan, part in parts], axis=0))

    def _split(self, queries: np.ndarray) -> list[np.ndarray]:
        """Return the parts of queries that belong to each scan."""
        plain = np.empty_like(queries)
        plain[:, self._order] = queries
        return np.split(plain, self._ends, axis=1)
