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


def row_counts(sets: np.ndarray, neurons: int) -> np.ndarray:
    """Count the rows of ``sets`` (n, m) that activate each neuron: (D,) int64.

    :param neurons: D.
    """
    counts = np.zeros(neurons, dtype=np.int64)
    for start in range(0, len(sets), _BLOCK):  # in blocks, since bincount copies to int64
        counts += np.bincount(sets[start : start + _BLOCK].ravel(), minlength=neurons)
    return counts


def rarity(df: np.ndarray, rows: int) -> np.ndarray:
    """Return the weight ln(n/df) of every neuron (D,) float64, 0 for those that no row activates.

    :param df: (D,) how many rows activate each; :param rows: n.
    """
    return np.log(rows / np.where(df, df, max(1, rows)))


def cover(
    sets: np.ndarray, ids: Sequence[str], k: int, weights: np.ndarray | None = None, allowed: np.ndarray | None = None
) -> Cover:
    """Choose ``k`` rows that cover the most.

    :param sets: (n, m) integer neuron numbers from 0, different within a row.
    :param ids: (n,) ids of the rows, which break ties.
    :param weights: (D,) finite, not negative; 1 each by default.
    :param allowed: (n,) bool, rows that may be chosen; ``None`` for all.
    :raises SelectionError: fewer than ``k`` rows may be chosen. :raises ValueError: a weight or a set is not as above.
    """
    candidates = range(len(ids)) if allowed is None else np.flatnonzero(allowed).tolist()
    rows = np.array(sorted(candidates, key=ids.__getitem__), dtype=np.int64)
    if not 1 <= k <= len(rows):
        raise SelectionError(f"{k} rows cannot be chosen from the {len(rows)} there are")
    exact = np.ones(int(sets.max(initial=0)) + 1) if weights is None else weights
    fixed, unit = _fixed_point(exact, sets.shape[1])
    lists, starts = _lists_of_neurons(sets, rows, len(fixed))
    positions, gains, rounds = zip(*islice(_greedy(sets, rows, fixed, lists, starts), k), strict=True)
    ordinals = rows[list(positions)]
    covered = np.zeros(len(fixed), dtype=bool)
    for row in ordinals:
        covered[sets[row]] = True
    coverable = np.count_nonzero(np.diff(starts))
    return Cover(ordinals, np.array(gains) * unit, np.array(rounds), int(covered.sum()), int(coverable))


def _greedy(
    sets: np.ndarray, rows: np.ndarray, weights: np.ndarray, lists: np.ndarray, starts: np.ndarray
) -> Iterator[tuple[int, int, int]]:
    """Yield (position in ``rows``, gain, round) of all rows in the order of choice.

    :param weights: (D,) integers. :param lists: rows of each neuron; :param starts: where its list begins.
    """
    alone = np.empty(len(rows), dtype=weights.dtype)  # gains with nothing covered; 0 for rows already chosen
    for start in range(0, len(rows), _BLOCK):
        weights[sets[rows[start : start + _BLOCK]]].sum(axis=1, out=alone[start : start + _BLOCK])
    chosen = np.zeros(len(rows), dtype=bool)
    for turn in count(1):
        gains, uncovered = alone.copy(), weights > 0
        if gains.max() <= 0:  # the remaining rows activate nothing of any weight: no round would distinguish them
            yield from ((position, 0, turn) for position in np.flatnonzero(~chosen).tolist())
            return
        while (gain := int(gains[position := int(gains.argmax())])) > 0:
            yield position, gain, turn
            chosen[position], alone[position] = True, 0
            neurons = sets[rows[position]].astype(np.int64)
            fresh = neurons[uncovered[neurons]]
            uncovered[fresh] = False
            _subtract(gains, weights[fresh], lists, starts[fresh], starts[fresh + 1])


def _subtract(gains: np.ndarray, weights: np.ndarray, lists: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> None:
    """Subtract the weight of every newly covered neuron from the gains of the rows in its list, from start to end."""
    sizes = ends - starts
    slices = [lists[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
    for i in np.flatnonzero(sizes >= _LONG).tolist():
        np.subtract.at(gains, slices[i], weights[i])
    short = np.flatnonzero(sizes < _LONG)
    for start in range(0, len(short), _TOGETHER):
        group = short[start : start + _TOGETHER]
        rows = np.concatenate([slices[i] for i in group.tolist()])
        np.subtract.at(gains, rows, np.repeat(weights[group], sizes[group]))


def _fixed_point(weights: np.ndarray, terms: int) -> tuple[np.ndarray, float]:
    """Return weights (D,) as the smallest proportional integers, and what one of their units is worth.

    :param terms: how many are added up at most; their sum fits the dtype.
    """
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise ValueError("weights must be finite and not negative")
    exponent = _BITS - int(np.frexp(weights.max(initial=0))[1])
    fixed = np.rint(np.ldexp(weights.astype(np.float64), exponent)).astype(np.int64)
    common = max(1, int(np.gcd.reduce(fixed)))
    fixed //= common
    small = int(fixed.max(initial=0)) * terms <= np.iinfo(np.int32).max
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
