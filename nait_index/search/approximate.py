"""Approximate search for the few best rows of many: the nearest cells first, exact scores for what they hold.

The rows are clustered by their leading coordinates, which hold most of their variance (:mod:`nait_index.search.cells`).
A query visits the cells nearest to it, takes the best candidates by those coordinates, and scores them exactly by the
whole codes. How many cells must be visited is measured against the exact scan when the search is built, and the recall
reached is stored beside it.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError

from nait_index.config import SearchMode
from nait_index.errors import NaitError
from nait_index.files import explained, hash_file
from nait_index.search.cells import FILES, STAMP, Cells
from nait_index.search.exact import ScanStamp
from nait_index.search.hits import Hits, best
from nait_index.search.joint import Scan
from nait_index.store.fragments import Fragment
from nait_index.store.sealed import read_sealed, write_sealed

MOST = 1000
"""Most rows that an approximate search returns; for more, an exact scan costs little more."""

_DEPTHS = (4, 8, 16, 32)
_MEASURED = 100  # rows requested when recall is measured
_WANTED = 0.99
_LEAST_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class Recall:
    """What was measured when an approximate search was built.

    :param cells: number of cells; :param visited: how many of them a query visits.
    :param depth: candidates scored exactly per requested row.
    :param lowest: recall of the exact 100 best for the worst query; :param mean: averaged over all ``queries``.
    """

    cells: int
    visited: int
    depth: int
    queries: int
    lowest: float
    mean: float

    def visits(self, passing: int, rows: int) -> int:
        """Return how many cells are visited for as many rows that pass a filter as without one: at most all."""
        return min(self.cells, math.ceil(self.visited * rows / max(passing, 1)))


@dataclass(frozen=True, slots=True)
class Plan:
    """How a search is done, and the reason in words."""

    mode: SearchMode
    why: str


def make_plan(
    wanted: SearchMode,
    k: int,
    rows: int,
    width: int,
    queries: int,
    *,
    read: int,
    passing: int | None,
    all_needed: bool,
    recall: Recall | None,
    able: str = "",
) -> Plan:
    """Decide between the exact scan and an approximate search, which is never used unasked.

    :param k: rows requested; :param rows: rows there are, each of :param width: scanned bytes.
    :param read: how many rows an exact scan reads. :param passing: how many pass a filter; ``None`` without one.
    :param all_needed: whether scores are blended, or rows left out of what was chosen.
    :param recall: of the approximate search, where the index has one. :param able: the methods that can have
        one, where the method asked for is none of them.
    """
    times = f"once for {queries} capabilities" if queries > 1 else "once"
    scored = "every row" if read == rows else f"each of the {read:,} rows that pass"
    scan = f"exact scan: {scored} scored, {read:,} x {width:,} bytes read {times}"
    if wanted is SearchMode.EXACT:
        return Plan(SearchMode.EXACT, scan)
    if recall is None and able:
        reason = f"approximate search is for {able} alone"
    elif recall is None:
        reason = "there is no approximate search of this version ('build --approximate' and 'optimize' make one)"
    elif all_needed:
        reason = "an approximate search can neither blend nor leave out what it chose"
    elif k > MOST:
        reason = f"approximate search returns at most {MOST:,} rows, not {k:,}"
    elif passing is not None and recall.visits(passing, rows) == recall.cells:
        reason = "so few pass that an approximate search would visit all cells"
    else:
        visited = recall.visited if passing is None else recall.visits(passing, rows)
        return Plan(
            SearchMode.APPROXIMATE,
            f"approximate: {visited} of {recall.cells:,} cells visited, candidates scored exactly; of the best "
            f"100 it found {recall.mean:.1%} on average and {recall.lowest:.0%} at worst, measured on {recall.queries} "
            "queries when it was made",
        )
    return Plan(SearchMode.EXACT, f"{scan}, since {reason}")


class Approximate:
    """An approximate search over the rows of an exact scan.

    :param steps: (d,) what one unit of each code is worth.
    :param queries: (q, d) on which the recall is measured, in the units of the codes.
    """

    def __init__(self, cells: Cells, exact: Scan, steps: np.ndarray, queries: np.ndarray, recall: Recall) -> None:
        self.recall = recall
        self._cells = cells
        self._exact = exact
        self._steps = steps[: cells.width]
        self._queries = queries

    @classmethod
    def build(cls, exact: Scan, steps: np.ndarray, queries: np.ndarray) -> "Approximate":
        """Cluster the rows, and measure how many cells must be visited.

        :param queries: (q, d) float32 in the units of the codes, like those that will be asked.
        :raises NaitError: there are too few rows for it to be useful.
        """
        rows = exact.stamp.rows
        if rows < _LEAST_ROWS:
            raise NaitError(
                f"approximate search needs at least {_LEAST_ROWS:,} rows, and this index has {rows:,}; leave "
                "out --approximate: an exact scan takes milliseconds"
            )
        return cls.tuned(Cells.cluster(exact, rows, steps), exact, steps, queries)

    @classmethod
    def tuned(
        cls, cells: Cells, exact: Scan, steps: np.ndarray, queries: np.ndarray, before: Recall | None = None
    ) -> "Approximate":
        """Measure how few candidates and cells find almost all of the exact best.

        :param before: of an earlier version, which had hardly other rows: no less is tried.
        """
        expected = [set(best(scores, _MEASURED).ordinals[:_MEASURED].tolist()) for scores in exact.scores(queries)]

        def measured(visited: int, depth: int) -> Recall:
            search = cls(cells, exact, steps, queries, Recall(len(cells), visited, depth, len(queries), 0, 0))
            shares = [
                len(right & set(search.search(query, _MEASURED).ordinals.tolist())) / _MEASURED
                for right, query in zip(expected, queries, strict=True)
            ]
            return Recall(len(cells), visited, depth, len(queries), min(shares), round(float(np.mean(shares)), 4))

        # First how many candidates the leading coordinates must supply, then how few cells are enough.
        depth, visited = (1, 2) if before is None else (before.depth, before.visited)
        deep = (measured(len(cells), wanted) for wanted in _DEPTHS if wanted >= depth)
        depth = next((recall.depth for recall in deep if recall.mean >= _WANTED), _DEPTHS[-1])
        doubled = (visited << power for power in range(len(cells).bit_length() + 1))
        tries = (measured(min(count, len(cells)), depth) for count in doubled)
        recall = next(recall for recall in tries if recall.mean >= _WANTED or recall.visited == len(cells))
        return cls(cells, exact, steps, queries, recall)

    @property
    def is_outgrown(self) -> bool:
        """Whether there are twice as many rows as when they were clustered, into the square root of so many cells."""
        return self._exact.stamp.rows > 2 * self.recall.cells**2

    def search(self, query: np.ndarray, k: int, allowed: np.ndarray | None = None) -> Hits:
        """Return about the ``k`` best rows with exact scores, and never fewer than an exact scan would.

        :param query: (d,) float32 in the units of the codes. :param allowed: (n,) bool, rows that may be chosen.
        """
        rows, visited = self._exact.stamp.rows, self.recall.visited
        if allowed is not None:
            visited = self.recall.visits(int(np.count_nonzero(allowed)), rows)
        vector = query[: self._exact.stamp.dim]
        candidates = self._cells.candidates(vector, self._steps, self.recall.depth * k, visited, allowed)
        if len(candidates) < k:  # the visited cells hold too few rows
            candidates = np.arange(rows) if allowed is None else np.flatnonzero(allowed)
        hits = best(self._exact.scores_at(candidates, vector[None])[0], k)
        return Hits(hits.scores, candidates[hits.ordinals])

    def save(self, folder: Path, name: str, fragments: Iterable[Fragment] = ()) -> None:
        """Write the search; its stamp is written last.

        :param fragments: those of the table, by which the rows are recognised in another version.
        :raises NaitError: it cannot be written.
        """
        with explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{name}{STAMP}").unlink(missing_ok=True)
        self._cells.save(folder, name, self._queries)
        facts = {
            "stamp": asdict(self._exact.stamp),
            "recall": asdict(self.recall),
            "hashes": {ending: hash_file(folder / f"{name}{ending}") for ending in FILES},
            "fragments": [fragment.record() for fragment in fragments],
        }
        write_sealed(folder / f"{name}{STAMP}", facts)


@dataclass(frozen=True, slots=True)
class Stored:
    """What the files of an approximate search hold; :param fragments: of the table that it was made from."""

    cells: Cells
    queries: np.ndarray
    recall: Recall
    stamp: ScanStamp
    fragments: list[Fragment]

    @classmethod
    def read(cls, folder: Path, name: str, is_checked: Callable[[Path], bool] = lambda _: False) -> "Stored | None":
        """Map the files; ``None`` where they are missing or damaged.

        :param is_checked: whether the content of a file is known to be as it was written; else it is hashed.
        """
        facts = read_sealed(folder / f"{name}{STAMP}")
        try:
            unchecked = [ending for ending in FILES if not is_checked(folder / f"{name}{ending}")]
            if facts is None or any(
                hash_file(folder / f"{name}{ending}") != facts["hashes"][ending] for ending in unchecked
            ):
                return None
            stamp, recall = ScanStamp(**facts["stamp"]), Recall(**facts["recall"])
            fragments = [Fragment.from_record(part) for part in facts["fragments"]]
            cells, queries = Cells.open(folder, name)
            if unchecked:
                cells.check_order()
        except (OSError, ValueError, KeyError, TypeError, SafetensorError):
            return None
        fitting = (len(cells.order), len(cells)) == (stamp.rows, recall.cells) and cells.codes.dtype == stamp.dtype
        return cls(cells, queries, recall, stamp, fragments) if fitting else None
