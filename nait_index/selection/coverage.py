"""MADS: a diverse core set with no target in mind. Bai et al., arXiv 2605.30857.

Every row x has a set S(x) of neurons that it activates, and every neuron j a weight w_j, 1 or its rarity. Rows are
chosen one after the other, each adding the most to what is covered, of equal rows the one of the lowest id:

    gain(x) = Σ_{j ∈ S(x), j not covered in this round} w_j
    rarity  w_j = ln(n / df_j),   df_j the rows that activate j

When all rows left would add nothing, the next round begins with nothing covered; no row is ever drawn at random. Greedy
choice reaches at least 1 − 1/e of the best coverage that any k rows of one round have.

It is the lazy greedy algorithm CELF (Leskovec et al., KDD 2007): within a round gains only shrink, so an old gain is a
bound, and a row whose bound tops the heap and still holds is the best. What a row now gains is never summed again: each
neuron's list of rows takes its weight off their gains when it is covered.
"""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from typing import Any

import numpy as np

from nait_index.errors import SelectionError

_BITS = 32
"""Weights are rounded to this many bits: sums of integers are exact, so equal sets have equal gains in any order."""


@dataclass(frozen=True, slots=True)
class Cover:
    """Rows in the order in which they were chosen.

    :param ordinals: (k,) int64, places in table order.
    :param gains: (k,) float64, weight of what each of them newly covered in its round.
    :param rounds: (k,) int64, the round in which it was chosen, counted from 1.
    :param covered: how many different neurons the chosen rows activate.
    :param coverable: how many all rows activate that may be chosen.
    """

    ordinals: np.ndarray
    gains: np.ndarray
    rounds: np.ndarray
    covered: int
    coverable: int


def rarity(sets: np.ndarray, neurons: int) -> np.ndarray:
    """Give the weight ln(n/df) of every neuron (D,) float64, 0 for those that no row activates.

    :param sets: (n, m) neuron numbers; :param neurons: D.
    """
    df = np.bincount(sets.ravel(), minlength=neurons)
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
    :param ids: (n,) ids of the rows, which settle ties.
    :param weights: (D,) finite, not negative; 1 each without it.
    :param allowed: (n,) bool, rows that may be chosen; ``None`` for all.
    :raises SelectionError: fewer than ``k`` rows may be chosen. :raises ValueError: a weight or a set is not as above.
    """
    candidates = _by_id(ids, allowed)
    if not 1 <= k <= len(candidates):
        raise SelectionError(f"{k} rows cannot be chosen from the {len(candidates)} there are")
    own = sets[candidates]
    fixed, unit = _fixed_point(np.ones(int(own.max(initial=0)) + 1) if weights is None else weights)
    picks = list(islice(_greedy(_Gains(own, fixed)), k))
    places = [place for place, _, _ in picks]
    return Cover(
        ordinals=candidates[places],
        gains=np.array([gain for _, gain, _ in picks]) * unit,
        rounds=np.array([turn for _, _, turn in picks]),
        covered=len(np.unique(own[places])),
        coverable=len(np.unique(own)),
    )


class _Gains:
    """What every row would add to what is covered, kept up to date neuron by neuron."""

    def __init__(self, sets: np.ndarray, weights: np.ndarray) -> None:
        self._sets = sets
        self._weights = weights
        self._rows, self._starts = _rows_of_neurons(sets, len(weights))
        self._first = np.array([weights[own].sum() for own in sets], dtype=np.int64)
        self.restart()

    def __len__(self) -> int:
        return len(self._sets)

    def restart(self) -> None:
        """Begin with nothing covered."""
        self.now = self._first.copy()
        self._open = self._weights > 0

    def take(self, place: int) -> None:
        """Cover what a row activates."""
        own = self._sets[place]
        fresh = own[self._open[own]]
        self._open[fresh] = False
        for start, end, weight in zip(
            self._starts[fresh].tolist(), self._starts[fresh + 1].tolist(), self._weights[fresh].tolist(), strict=True
        ):
            self.now[self._rows[start:end]] -= weight


def _greedy(gains: _Gains) -> Iterator[tuple[int, int, int]]:
    """Give (place, gain, round) of all rows in the order of choice."""
    free = np.ones(len(gains), dtype=bool)
    for turn in count(1):
        gains.restart()
        left = np.flatnonzero(free)
        if not gains.now[left].any():  # what is left activates nothing of any weight: no round would tell it apart
            yield from ((int(place), 0, turn) for place in left)
            return
        for place, gain in _one_round(gains, left):
            yield place, gain, turn
            free[place] = False


def _one_round(gains: _Gains, places: np.ndarray) -> Iterator[tuple[int, int]]:
    """Give (place, gain) of the best row until none adds anything."""
    heap = list(zip((-gains.now[places]).tolist(), places.tolist(), strict=True))
    heapq.heapify(heap)
    while heap and heap[0][0]:
        bound, place = heap[0]
        current = -int(gains.now[place])
        if current != bound:
            heapq.heapreplace(heap, (current, place))
            continue
        heapq.heappop(heap)
        yield place, -bound
        gains.take(place)


def _by_id(ids: Sequence[str], allowed: np.ndarray | None) -> np.ndarray:
    """Give the rows that may be chosen (c,) int64, in the order of their ids."""
    candidates = range(len(ids)) if allowed is None else np.flatnonzero(allowed).tolist()
    return np.array(sorted(candidates, key=lambda at: ids[at]), dtype=np.int64)


def _fixed_point(weights: np.ndarray) -> tuple[np.ndarray, float]:
    """Give weights (D,) as int64, and what one of their units is worth: a power of two."""
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise ValueError("weights are finite and not negative")
    exponent = _BITS - int(np.frexp(weights.max(initial=0))[1])
    return np.rint(np.ldexp(weights.astype(np.float64), exponent)).astype(np.int64), 2.0**-exponent


def _rows_of_neurons(sets: np.ndarray, neurons: int) -> tuple[np.ndarray, np.ndarray]:
    """Give the rows that activate each neuron, one neuron's after the other's, and where each begins (D + 1,)."""
    from scipy.sparse import csr_matrix

    n, m = sets.shape
    ones = np.ones(sets.size, dtype=np.int8)
    lists: Any = csr_matrix((ones, sets.ravel(), np.arange(n + 1) * m), shape=(n, neurons)).tocsc()
    if not lists.has_canonical_format:
        raise ValueError("a row activates a neuron twice")
    return lists.indices, lists.indptr
