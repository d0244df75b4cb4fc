"""A share of a table's rows, as one of several processes scans it, and how the rows are shared.

A piece of a fragment belongs to the same share in every version of the table, since which share that is depends on the
numbers of fragment and piece alone. So of an addition or removal, each process reads no more than what is new in its
share. Fragments are numbered in the order in which they are written, so that shares are of nearly one size.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from nait_index.search.copies import RowShare
from nait_index.search.cut import Counts, count_halves
from nait_index.search.exact import ScanStamp
from nait_index.search.hits import score_near
from nait_index.search.scans import HeldScans, Parts
from nait_index.store.fragments import Fragment, cut, position

ScoredRows = tuple[np.ndarray, np.ndarray]
"""Ordinals of rows (m,), ascending, and their scores (m,)."""


@dataclass(frozen=True, slots=True)
class ShareSpans:
    """Where the rows of a share are among all, by runs of rows that are next to one another in both.

    :param starts: (p,) ordinals of the first rows of its runs in the table; :param firsts: (p,) in the share.
    :param rows: of the share.
    """

    starts: np.ndarray
    firsts: np.ndarray
    rows: int

    def in_table(self, places: np.ndarray) -> np.ndarray:
        """Turn places in the share (m,) into ordinals."""
        if not len(self.starts):
            return places
        runs = np.searchsorted(self.firsts, places, side="right") - 1
        return np.asarray(places - self.firsts[runs] + self.starts[runs])

    def gather(self, values: np.ndarray) -> np.ndarray:
        """Return those of some values (n,) of all rows that belong to the share: (rows,)."""
        return np.concatenate([values[:0], *(values[run] for run, _ in self._runs())])

    def scatter(self, values: np.ndarray, into: np.ndarray) -> None:
        """Put values (q, rows) of the share among those of all rows (q, n)."""
        for run, held in self._runs():
            into[:, run] = values[:, held]

    def in_share(self, ordinals: np.ndarray) -> np.ndarray:
        """Turn ordinals (m,) into places in the share, −1 for rows that it does not hold."""
        if not len(self.starts):
            return np.full(len(ordinals), -1)
        runs = np.maximum(np.searchsorted(self.starts, ordinals, side="right") - 1, 0)
        places = ordinals - self.starts[runs] + self.firsts[runs]
        held = (ordinals >= self.starts[runs]) & (places < np.append(self.firsts[1:], self.rows)[runs])
        return np.where(held, places, -1)

    def _runs(self) -> Iterator[tuple[slice, slice]]:
        """Yield every run as it lies in the table, and in the share."""
        ends = np.append(self.firsts[1:], self.rows)
        for start, first, end in zip(self.starts.tolist(), self.firsts.tolist(), ends.tolist(), strict=False):
            yield slice(start, start + end - first), slice(first, end)


def share_out(fragments: Sequence[Fragment], shares: int) -> list[tuple[RowShare, ShareSpans]]:
    """Divide the rows of a table among some shares.

    :param fragments: all of the table, in its order.
    """
    pieces = [piece for fragment in fragments for piece in cut(fragment)]
    sizes = np.array([piece.rows for piece in pieces], dtype=np.int64)
    starts = np.cumsum(sizes) - sizes
    owners = np.array([position(piece) % shares for piece in pieces], dtype=np.int64)
    shared = []
    for number in range(shares):
        held = np.flatnonzero(owners == number)
        ends = np.cumsum(sizes[held])
        spans = ShareSpans(starts[held], ends - sizes[held], int(sizes[held].sum()))
        shared.append((RowShare(number, shares, tuple(pieces[i] for i in held)), spans))
    return shared


class SharedRows:
    """The rows of one share, and what is asked of them when all are searched together.

    A request names all that its answer depends on, so that it can be made again of a process that was started anew.

    :param scans: of these rows; they read whole signatures by the ordinals of the table.
    """

    def __init__(self, scans: HeldScans, spans: ShareSpans) -> None:
        self._scans = scans
        self._spans = spans
        self._scored: tuple[Parts, np.ndarray] | None = None

    def longest(self, column: str, stamp: ScanStamp) -> float:
        """Return the length of the longest row that is held."""
        return self._scans.longest(column, self._held(stamp))

    def take(self, column: str, stamp: ScanStamp, places: np.ndarray) -> np.ndarray:
        """Return the scanned codes of some rows (m, d), by their places in the share."""
        return self._scans.take(column, self._held(stamp), places)

    def scores(self, parts: Parts) -> np.ndarray:
        """Score every row by every query: (q, rows) float32."""
        return self._scans.scores([replace(part, stamp=self._held(part.stamp)) for part in parts])

    def count(self, parts: Parts, allowed: np.ndarray | None, uppers: Sequence[int | None]) -> list[Counts]:
        """Count the halves of the scores by each query, see :mod:`nait_index.search.cut`.

        :param allowed: (⌈rows / 8⌉,) bits of the rows that may be chosen.
        :param uppers: upper half of each query, whose lower halves are counted; ``None`` to count upper ones.
        """
        mask, scored = self._unpacked(allowed), self._kept(parts)
        return [
            count_halves(scores if mask is None else scores[mask], upper)
            for scores, upper in zip(scored, uppers, strict=True)
        ]

    def reaching(self, parts: Parts, allowed: np.ndarray | None, cuts: Sequence[float]) -> list[ScoredRows]:
        """Return the rows that reach a cut, for each query, and their scores float32."""
        mask, scored = self._unpacked(allowed), self._kept(parts, last=True)
        answers: list[ScoredRows] = []
        for scores, lowest in zip(scored, cuts, strict=True):
            reached = scores >= np.float32(lowest)
            places = np.flatnonzero(reached if mask is None else reached & mask)
            answers.append((self._ordinals(places), scores[places]))
        return answers

    def near(
        self, parts: Parts, allowed: np.ndarray | None, queries: np.ndarray, thresholds: Sequence[float]
    ) -> list[ScoredRows]:
        """Return the rows that reach a threshold, for each query, and their scores by whole signatures, float64.

        :param queries: (q, d) whole.
        """
        mask, scored, column = self._unpacked(allowed), self._kept(parts, last=True), parts[0].column

        def read(places: np.ndarray) -> np.ndarray:
            return self._scans.whole(column, self._spans.in_table(places))

        answers: list[ScoredRows] = []
        for scores, query, threshold in zip(scored, queries, thresholds, strict=True):
            places, products = score_near(read, scores, query, threshold, mask)
            answers.append((self._ordinals(places), products))
        return answers

    def _held(self, stamp: ScanStamp) -> ScanStamp:
        return replace(stamp, rows=self._spans.rows)

    def _kept(self, parts: Parts, *, last: bool = False) -> np.ndarray:
        """Return the scores, which are kept from one round of a search to the next.

        :param last: whether this is the last round.
        """
        known, self._scored = self._scored, None
        scores = known[1] if known is not None and _same(known[0], parts) else self.scores(parts)
        if not last:
            self._scored = parts, scores
        return scores

    def _unpacked(self, allowed: np.ndarray | None) -> np.ndarray | None:
        return None if allowed is None else np.unpackbits(allowed, count=self._spans.rows).view(bool)

    def _ordinals(self, places: np.ndarray) -> np.ndarray:
        """Return the ordinals of some rows, in half the bytes where the table has at most 4 billion rows."""
        ordinals = self._spans.in_table(places)
        return ordinals.astype(np.uint32) if ordinals.max(initial=0) < 1 << 32 else ordinals


def _same(parts: Parts, others: Parts) -> bool:
    """Report whether two requests are for the same scores."""
    return len(parts) == len(others) and all(
        (part.column, part.stamp, part.longest) == (other.column, other.stamp, other.longest)
        and np.array_equal(part.queries, other.queries)
        for part, other in zip(parts, others, strict=True)
    )
