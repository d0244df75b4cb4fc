"""Scans whose rows several processes hold: what each finds is merged to exactly what one process would have found.

Queries are rounded by the longest row of all, so that every score is the one it would be here, bit for bit. The score
of the k-th best row is found from counts (:mod:`nait_index.search.cut`), and then only the rows that reach it are
moved, with all that tie with the last.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from nait_index.search.cut import half_of, score_of, sort_rows
from nait_index.search.exact import ExactScan, ScanStamp
from nait_index.search.hits import SAMPLED, Hits, best, lowest_near
from nait_index.search.scans import ColumnQueries, Parts, ReadWhole, TableWork
from nait_index.search.shares import ScoredRows, ShareSpans
from nait_index.store.samples import spread

Ask = Callable[[str, Sequence[tuple[Any, ...]]], list[Any]]
"""Calls a method of :class:`SharedRows` in every process, each with arguments of its own, and returns their results."""

Spread = Callable[[TableWork, Iterable[Any]], Iterator[Any]]
"""Does some work in whichever process is free, and yields the results in the order of the arguments."""


class MergedScans:
    """The scans of all rows of a table, each of whose shares is scanned elsewhere.

    :param ask: makes a request of every process. :param spread: shares out work among them. :param read: reads whole
        signatures here. :param spans: of the shares.
    """

    def __init__(self, ask: Ask, spread: Spread, read: ReadWhole, spans: Sequence[ShareSpans]) -> None:
        self._ask = ask
        self._spread = spread
        self._read = read
        self._spans = spans
        self._rows = sum(share.rows for share in spans)
        self._longest: dict[str, float] = {}

    @property
    def workers(self) -> int:
        """How many processes scan the rows."""
        return len(self._spans)

    def reason(self, rows: int, width: int, dtype: str, queries: int) -> str:
        """Return who multiplies."""
        return f"by {self.workers} workers, each its share of the rows"

    def longest(self, column: str, stamp: ScanStamp) -> float:
        """Return the length of the longest row."""
        if column not in self._longest:
            self._longest[column] = max(self._ask("longest", [(column, stamp)] * len(self._spans)))
        return self._longest[column]

    def scores(self, parts: Parts) -> np.ndarray:
        """Score every row by every query: (q, n) float32, all of which are moved."""
        scores = np.empty((len(parts[0].queries), self._rows), np.float32)
        answers = self._ask("scores", [(self._scanned(parts),)] * len(self._spans))
        for share, part in zip(self._spans, answers, strict=True):
            share.scatter(part, scores)
        return scores

    def best(self, parts: Parts, k: int, allowed: np.ndarray | None) -> list[Hits]:
        """Return the rows of highest score for every query."""
        requests, available = self._requests(parts, allowed), self._available(allowed)
        if not min(k, available):
            return _none(parts)
        cuts = [-np.inf] * len(parts[0].queries) if k >= available else self._cuts(requests, k)
        return merge_found(self._ask("reaching", [(*request, cuts) for request in requests]), k)

    def best_whole(self, part: ColumnQueries, k: int, allowed: np.ndarray | None) -> list[Hits]:
        """Return the rows of highest score by whole signatures, which each process reads of its rows near the cut."""
        requests, available = self._requests([part], allowed), self._available(allowed)
        if not min(k, available):
            return _none([part])
        cuts = self._cuts(requests, min(k, available))
        sample, longest = self._read(spread(self._rows, SAMPLED), part.column), self.longest(part.column, part.stamp)
        scanned = ExactScan(sample[:, : part.stamp.dim], longest, part.stamp).scores(part.queries)
        thresholds = [
            lowest_near(*each) for each in zip(cuts, [sample] * len(cuts), scanned, part.queries, strict=True)
        ]
        return merge_found(self._ask("near", [(*request, part.queries, thresholds) for request in requests]), k)

    def count_read(self, stamp: ScanStamp, passing: int | None) -> int:
        """Return how many rows a search reads: all, whatever passes."""
        return stamp.rows

    def take(self, column: str, stamp: ScanStamp, ordinals: np.ndarray) -> np.ndarray:
        """Return the scanned codes of some rows (m, d)."""
        places = [share.in_share(ordinals) for share in self._spans]
        codes = np.empty((len(ordinals), stamp.dim), stamp.dtype)
        answers = self._ask("take", [(column, stamp, held[held >= 0]) for held in places])
        for held, part in zip(places, answers, strict=True):
            codes[held >= 0] = part
        return codes

    def each(self, work: TableWork, arguments: Iterable[Any]) -> Iterator[Any]:
        """Yield what is made of the table and each of some arguments, in their order, several at a time."""
        return self._spread(work, arguments)

    def _available(self, allowed: np.ndarray | None) -> int:
        return self._rows if allowed is None else int(allowed.sum())

    def _scanned(self, parts: Parts) -> list[ColumnQueries]:
        """Return the scanned columns of queries, with what they are rounded by."""
        return [
            replace(
                part,
                queries=np.ascontiguousarray(part.queries[:, : part.stamp.dim], np.float32),
                longest=self.longest(part.column, part.stamp),
            )
            for part in parts
        ]

    def _requests(
        self, parts: Parts, allowed: np.ndarray | None
    ) -> list[tuple[list[ColumnQueries], np.ndarray | None]]:
        """Return what each process is asked by, and the bits of its rows that may be chosen."""
        scanned = self._scanned(parts)
        return [(scanned, None if allowed is None else np.packbits(share.gather(allowed))) for share in self._spans]

    def _cuts(self, requests: Sequence[tuple[Any, ...]], k: int) -> list[float]:
        """Return the ``k``-th highest score for each query."""
        every = [None] * len(requests[0][0][0].queries)
        first = self._ask("count", [(*request, every) for request in requests])
        uppers = [half_of(counted, k) for counted in zip(*first, strict=True)]
        second = self._ask("count", [(*request, [upper for upper, _ in uppers]) for request in requests])
        lowers = [
            half_of(counted, left)[0] for counted, (_, left) in zip(zip(*second, strict=True), uppers, strict=True)
        ]
        return [score_of(upper, lower) for (upper, _), lower in zip(uppers, lowers, strict=True)]


def _none(parts: Parts) -> list[Hits]:
    return [Hits(np.zeros(0, np.float32), np.zeros(0, np.int64)) for _ in parts[0].queries]


def merge_found(answers: Sequence[Sequence[ScoredRows]], k: int) -> list[Hits]:
    """Return for every query the best of what all processes found, ties in table order.

    :param answers: of each process, for each query.
    """
    merged = []
    for rows in zip(*answers, strict=True):
        ordinals = np.concatenate([ordinals for ordinals, _ in rows])
        scores = np.concatenate([scores for _, scores in rows])
        if scores.dtype == np.float32 and ordinals.dtype == np.uint32:  # exactly the rows that reach the cut
            scores, ordinals = sort_rows(scores, ordinals)
            merged.append(Hits(scores, ordinals.astype(np.int64)))
            continue
        order = np.argsort(ordinals, kind="stable")  # which merges the runs of the shares
        hits = best(scores[order], k)
        merged.append(Hits(hits.scores, ordinals[order][hits.ordinals].astype(np.int64)))
    return merged
