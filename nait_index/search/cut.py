"""The k-th highest of scores that several processes hold, from counts of them; and scores sorted as whole numbers.

The bits of floating-point numbers, as a whole number and with those of negative ones reversed, sort as the numbers do.
So the upper half of the bits of the k-th highest score follows from how many scores have which upper half, and then its
lower half from how many of these have which lower one: two rounds of counts decide it exactly, and no score is moved.
"""

from collections.abc import Iterable

import numpy as np

_HALF = 16
_SIGN = np.uint32(1 << 31)

Counts = tuple[np.ndarray, np.ndarray]
"""Halves (b,) uint16 that occur, ascending, and how often (b,) uint32."""


def count_halves(scores: np.ndarray, upper: int | None) -> Counts:
    """Count the upper halves of some scores (m,) float32, or the lower halves of those with a certain upper one."""
    keys = _keys(scores)
    halves = keys >> _HALF
    if upper is not None:
        halves = keys[halves == upper] & np.uint32((1 << _HALF) - 1)
    counts = np.bincount(halves, minlength=1)
    there = np.flatnonzero(counts)
    return there.astype(np.uint16), counts[there].astype(np.uint32)


def half_of(counted: Iterable[Counts], k: int) -> tuple[int, int]:
    """Return the half that the ``k``-th highest of all scores has, and the how-manieth it is of those with that half.

    :param counted: by each process.
    """
    totals = np.zeros(1 << _HALF, np.int64)
    for halves, counts in counted:
        totals[halves] += counts
    reached = np.cumsum(totals[::-1])
    place = int(np.searchsorted(reached, k))
    before = int(reached[place - 1]) if place else 0
    return len(totals) - 1 - place, k - before


def score_of(upper: int, lower: int) -> float:
    """Return the score of two halves."""
    return float(_scores(np.array(upper << _HALF | lower, np.uint32)))


def sort_rows(scores: np.ndarray, ordinals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sort rows by score, the highest first, and equal ones by ordinal.

    As one number for each row, which is several times as fast as sorting positions twice.

    :param scores: (m,) float32; :param ordinals: (m,) uint32.
    """
    rows = (~_keys(scores + np.float32(0))).astype(np.uint64) << np.uint64(32)  # adding 0 makes −0 the same as 0
    rows |= ordinals
    rows.sort()
    return _scores(~(rows >> np.uint64(32)).astype(np.uint32)), rows.astype(np.uint32)


def _keys(scores: np.ndarray) -> np.ndarray:
    bits = np.ascontiguousarray(scores, np.float32).view(np.uint32)
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def _scores(keys: np.ndarray) -> np.ndarray:
    return np.where(keys & _SIGN, keys ^ _SIGN, ~keys).view(np.float32)
