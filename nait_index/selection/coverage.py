"""MADS: a diverse core set with no target in mind. Bai et al., arXiv 2605.30857.

Every row x has a set S(x) of neurons that it activates, and every neuron j a weight w_j, 1 or its rarity. Rows are
chosen one after the other, each time the row that adds most to what is covered, of equal rows the one of lowest id:

    gain(x) = Σ_{j ∈ S(x), j not covered in this round} w_j
    rarity  w_j = ln(n / df_j),   df_j the number of rows that activate j

When no remaining row would add anything, the next round begins with nothing covered; no row is ever drawn at random.
Within one round, the greedy choice reaches at least 1 − 1/e of the best coverage of any k rows.

A row's gain is never summed again: when a neuron is covered, its weight is subtracted from the gains of all rows in its
list. So one round touches each number of the sets at most once, and a choice is the largest of all gains. A heap of
decreasing bounds (CELF, Leskovec et al., KDD 2007) does not pay: most choices change the gains of most rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice, pairwise
from typing import Any

import numpy as np

from nait_index.errors import SelectionError

_BITS = 32
"""Weights are rounded to this many bits: sums of integers are exact, so equal sets have equal gains in any order."""

_BLOCK = 2**14
"""Rows that are copied or counted at a time."""

_LONG, _TOGETHER = 4096, 64
"""Lists of at least this many rows are processed one by one, shorter ones this many at a time: both fit the cache."""


@dataclass(frozen=True, slots=True)
class Cover:
    """Rows in the order in which they were chosen.

    :param ordinals: (k,) int64, positions in table order.
    :param gains: (k,) float64, weight of what each newly covered in its round.
    :param rounds: (k,) int64, the round in which each was chosen, from 1.
    :param covered: how many different neurons the chosen rows activate; :param coverable: how many all candidates do.
    """

    ordinals: np.ndarray
    gains: np.ndarray
    rounds: np.ndarray
    covered: int
    coverable: int


def rarity(sets: np.ndarray, neurons: int) -> np.ndarray:
    """Return the weight ln(n/df) of every neuron (D,) float64, 0 for those that no row activates.

    :param sets: (n, m) neuron numbers; :param neurons: D.
    """
    df = np.zeros(neurons, dtype=np.int64)
    for start in range(0, len(sets), _BLOCK):  # in blocks, since bincount copies to int64
        df += np.bincount(sets[start : start + _BLOCK].ravel(), minlength=neurons)
    return np.log(len(sets) / np.where(df, df, max(1, len(sets))))


def cover(
    sets: np.ndarray,
    ids: Sequence[str],
    k: int,
    weights: np.ndarray | None = None,
    allowed: np.ndarray | None = None,
) -> Cover:
    """Choose ``k`` rows that cover the most.

    :param sets: (n, m) integer neuron numbers from 0, different within a row.
    :param ids: (n,) ids of the rows, which break ties.
    :param weights: (D,) finite, not negative; 1 each by default.
    :param allowed: (n,) bool, rows that may be chosen; ``None`` for all.
    :raises SelectionError: fewer than ``k`` rows may be chosen. :raises ValueError: a weight or a set is not as above.
    """
    candidates = _by_id(ids, allowed)
    if not 1 <= k <= len(candidates):
        raise SelectionError(f"{k} rows cannot be chosen from the {len(candidates)} there are")
    given = np.ones(int(sets.max(initial=0)) + 1) if weights is None else weights
    fixed, unit = _fixed_point(given, sets.shape[1])
    gains = _Gains(sets, candidates, fixed)
    picks = list(islice(_greedy(gains), k))
    chosen = [candidate for candidate, _, _ in picks]
    return Cover(
        ordinals=candidates[chosen],
        gains=np.array([gain for _, gain, _ in picks]) * unit,
        rounds=np.array([number for _, _, number in picks]),
        covered=gains.activated(chosen),
        coverable=gains.activated(),
    )


class _Gains:
    """What each of c candidates would add to what is covered, kept up to date neuron by neuron.

    A chosen candidate stays in the list with a gain of zero or less.

    :param sets: of all rows. :param rows: (c,) ordinals of the candidates, which are numbered in this order.
    """

    def __init__(self, sets: np.ndarray, rows: np.ndarray, weights: np.ndarray) -> None:
        self._sets = sets
        self._rows = rows
        self._weights = weights
        self._lists, self._starts = _lists_of_neurons(sets, rows, len(weights))
        self._first = _sums(sets, rows, weights)
        self._chosen = np.zeros(len(rows), dtype=bool)
        self.restart()

    def restart(self) -> None:
        """Start again with nothing covered."""
        self._now = self._first.copy()
        self._open = self._weights > 0

    def best(self) -> tuple[int, int]:
        """Return the first of the candidates that add the most, and what it adds."""
        candidate = int(self._now.argmax())
        return candidate, int(self._now[candidate])

    def left(self) -> list[int]:
        """Return the candidates that are not chosen."""
        candidates: list[int] = np.flatnonzero(~self._chosen).tolist()
        return candidates

    def take(self, candidate: int) -> None:
        """Choose a candidate: cover what it activates."""
        self._chosen[candidate] = True
        self._first[candidate] = 0
        neurons = self._sets[self._rows[candidate]].astype(np.int64)
        fresh = neurons[self._open[neurons]]
        self._open[fresh] = False
        starts, ends = self._starts[fresh], self._starts[fresh + 1]
        sizes, weights = ends - starts, self._weights[fresh]
        lists = [self._lists[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
        for i in np.flatnonzero(sizes >= _LONG).tolist():
            np.subtract.at(self._now, lists[i], weights[i])
        short = np.flatnonzero(sizes < _LONG)
        for start in range(0, len(short), _TOGETHER):
            some = short[start : start + _TOGETHER]
            rows = np.concatenate([lists[i] for i in some.tolist()])
            np.subtract.at(self._now, rows, np.repeat(weights[some], sizes[some]))

    def activated(self, candidates: Sequence[int] | None = None) -> int:
        """Count the neurons that some candidates activate, or all of them."""
        if candidates is None:
            return int(np.count_nonzero(np.diff(self._starts)))
        activated = np.zeros(len(self._weights), dtype=bool)
        for candidate in candidates:
            activated[self._sets[self._rows[candidate]]] = True
        return int(activated.sum())


def _greedy(gains: _Gains) -> Iterator[tuple[int, int, int]]:
    """Yield (candidate, gain, round) of all candidates in the order of choice."""
    for number in count(1):
        gains.restart()
        if gains.best()[1] <= 0:  # no round would distinguish what is left, which activates nothing of any weight
            yield from ((candidate, 0, number) for candidate in gains.left())
            return
        while (best := gains.best())[1] > 0:
            yield *best, number
            gains.take(best[0])


def _by_id(ids: Sequence[str], allowed: np.ndarray | None) -> np.ndarray:
    """Return the ordinals (c,) int64 of the rows that may be chosen, in the order of their ids."""
    candidates = range(len(ids)) if allowed is None else np.flatnonzero(allowed).tolist()
    return np.array(sorted(candidates, key=ids.__getitem__), dtype=np.int64)


def _sums(sets: np.ndarray, rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Add up the weights of some rows' neurons: (len(rows),), of the weights' dtype."""
    sums = np.empty(len(rows), dtype=weights.dtype)
    for start in range(0, len(rows), _BLOCK):
        neurons = sets[rows[start : start + _BLOCK]]
        weights[neurons].sum(axis=1, out=sums[start : start + _BLOCK])
    return sums


def _fixed_point(weights: np.ndarray, most: int) -> tuple[np.ndarray, float]:
    """Return weights (D,) as the smallest proportional integers, and what one of their units is worth.

    :param most: how many are added up at most; their sum fits the dtype.
    """
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise ValueError("weights must be finite and not negative")
    exponent = _BITS - int(np.frexp(weights.max(initial=0))[1])
    fixed = np.rint(np.ldexp(weights.astype(np.float64), exponent)).astype(np.int64)
    common = max(1, int(np.gcd.reduce(fixed)))
    fixed //= common
    small = int(fixed.max(initial=0)) * most <= np.iinfo(np.int32).max
    return fixed.astype(np.int32 if small else np.int64), common * 2.0**-exponent


def _lists_of_neurons(sets: np.ndarray, rows: np.ndarray, neurons: int) -> tuple[np.ndarray, np.ndarray]:
    """List the candidates that activate each neuron.

    :returns: the lists of all neurons, concatenated, int32; and where each begins, (D + 1,) int64.
    """
    from scipy.sparse import csr_matrix

    lists = np.empty(len(rows) * sets.shape[1], dtype=np.int32)
    starts = np.zeros(neurons + 1, dtype=np.int64)
    for columns in _column_groups(sets, neurons):
        group = np.empty((len(rows), columns.stop - columns.start), dtype=np.int32)
        for start in range(0, len(rows), _BLOCK):
            group[start : start + _BLOCK] = sets[rows[start : start + _BLOCK], columns]
        ones, ends = np.ones(group.size, dtype=np.int8), np.arange(len(rows) + 1) * group.shape[1]
        by_neuron: Any = csr_matrix((ones, group.ravel(), ends), shape=(len(rows), neurons)).tocsc()
        if not by_neuron.has_canonical_format:
            raise ValueError("a row activates a neuron twice")
        done = len(rows) * columns.start
        lists[done : done + group.size] = by_neuron.indices
        starts += by_neuron.indptr
    return lists, starts


def _column_groups(sets: np.ndarray, neurons: int) -> list[slice]:
    """Split the columns where all numbers before are less than all after, as between layers: short lists fit the cache.

    :raises ValueError: a number is not that of a neuron.
    """
    least, largest = sets.min(axis=0), sets.max(axis=0)
    if sets.size and not 0 <= least.min() <= largest.max() < neurons:
        raise ValueError("neurons must be numbered from 0, with a weight for each")
    before, after = np.maximum.accumulate(largest), np.minimum.accumulate(least[::-1])[::-1]
    cuts = [0, *(np.flatnonzero(before[:-1] < after[1:]) + 1).tolist(), sets.shape[1]]
    return [slice(start, end) for start, end in pairwise(cuts)]
