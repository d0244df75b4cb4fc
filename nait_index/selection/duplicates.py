"""Near-duplicates among chosen rows: of rows that share most of their wording, the best-scored one is kept.

The likeness of two rows is the Jaccard index of their sets of three words in a row. Candidates are found by MinHash and
locality-sensitive hashing (Broder, 1997; datasketch), set to miss few; the likeness of each is then counted exactly.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice

from nait_index.corpus import plain_text
from nait_index.corpus.words import words
from nait_index.errors import SelectionError
from nait_index.handover.rows import ChosenRow
from nait_index.search.rows import IndexRows
from nait_index.store.samples import spread
from nait_index.types import RowFormat

COUNTED = 0.9
"""Likeness from which on rows of an index are counted as near-duplicates."""

_MOST_COUNTED = 10_000  # at about 1,600 rows a second
_RUN = 3
_HASHES = 128
_LARGEST = 0.98  # threshold for which datasketch can divide the hashes into bands
_WEIGHTS = (0.1, 0.9)  # of candidates that turn out unlike, and of like ones that are missed


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A row that was left out. :param like: id of the row that was kept; :param likeness: of the two, from 0 to 1."""

    like: str
    likeness: float


@dataclass(frozen=True, slots=True)
class DuplicateCount:
    """How many of some rows are near-duplicates of another of them.

    :param counted: the rows that were compared; :param total: of the index. :param threshold: least likeness.
    """

    rows: int
    counted: int
    total: int
    threshold: float

    @property
    def sentence(self) -> str:
        """What was found."""
        of = f"{self.counted:,}" + (" random" if self.counted < self.total else "")
        return f"{self.rows:,} of {of} rows share at least {self.threshold:.0%} of their wording with another"


def count_duplicates(rows: IndexRows) -> DuplicateCount:
    """Count the near-duplicates in an index; of a large one, in a random part."""
    ordinals = spread(len(rows), _MOST_COUNTED)
    columns = rows.take(ordinals, ["id", "row", "format"]).values()
    texts = (
        ChosenRow(row_id, row, RowFormat(form), 0, cut=False, reading=rows.reading.whole)
        for row_id, row, form in zip(*columns, strict=True)
    )
    return DuplicateCount(len(find_duplicates(texts, COUNTED)), len(ordinals), len(rows), COUNTED)


def check_threshold(threshold: float) -> float:
    """Return the least likeness of near-duplicates.

    :raises SelectionError: it is none.
    """
    if not 0.2 <= threshold <= 1:
        raise SelectionError(f"--dedup must be from 0.2 (hardly alike) to 1 (the same words), not {threshold:g}")
    return threshold


def find_duplicates(
    rows: Iterable[ChosenRow], threshold: float, keep: Callable[[str], object] = lambda _: None
) -> dict[str, Duplicate]:
    """Return the rows that are like an earlier one which is kept, by id.

    :param rows: best first. :param keep: called with the id of every row that is kept, before the next is read.
    """
    from datasketch import MinHash, MinHashLSH

    lookup = MinHashLSH(threshold=min(threshold, _LARGEST), num_perm=_HASHES, weights=_WEIGHTS)
    kept: dict[str, frozenset[bytes]] = {}
    repeats: dict[str, Duplicate] = {}
    for row in rows:
        runs = word_runs(plain_text(row.parts()))
        if not runs:
            keep(row.id)
            continue
        sketch = MinHash(num_perm=_HASHES, seed=1)
        sketch.update_batch(sorted(runs))
        likeness = {other: _likeness(runs, kept[other]) for other in sorted(lookup.query(sketch))}
        nearest = max(likeness, key=likeness.__getitem__, default=None)
        if nearest is not None and likeness[nearest] >= threshold:
            repeats[row.id] = Duplicate(nearest, round(likeness[nearest], 4))
        else:
            lookup.insert(row.id, sketch)
            kept[row.id] = runs
            keep(row.id)
    return repeats


def word_runs(text: str) -> frozenset[bytes]:
    """Return the sets of three words in a row of a text; of a shorter one, all its words as one."""
    of_text = words(text)
    runs = zip(*(islice(of_text, start, None) for start in range(_RUN)), strict=False)
    return frozenset(" ".join(run).encode() for run in runs) or frozenset(
        [" ".join(of_text).encode()] if of_text else []
    )


def _likeness(first: frozenset[bytes], second: frozenset[bytes]) -> float:
    shared = len(first & second)
    return shared / (len(first) + len(second) - shared)
