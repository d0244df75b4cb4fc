"""A second, finer look at the rows near the cut.

What a search scans is the beginning of a longer signature. How far the scores of the two lie apart is measured on a
sample of the rows; every row whose scanned score is not further below the cut than four standard deviations of that is
scored again.
"""

from collections.abc import Callable

import numpy as np

from nait_index.search.hits import Hits, best

_BLOCK = 1024
_DEVIATIONS = 4
_LENGTH = float(1 << 30)
_SAMPLE = 1024
"""Rows on which the difference is measured: the first of the table, which lie in random order."""


class FineScores:
    """Scores by whole signatures.

    :param read: gives the whole signatures (m, d) of some rows; :param rows: how many there are.
    """

    def __init__(self, read: Callable[[np.ndarray], np.ndarray], rows: int) -> None:
        self._read = read
        self._sampled = np.arange(min(_SAMPLE, rows))
        self._sample = read(self._sampled)

    def best(self, coarse: np.ndarray, query: np.ndarray, k: int, allowed: np.ndarray | None) -> Hits:
        """Give the ``k`` rows of highest score.

        :param coarse: (n,) scores of all rows by what was scanned; :param query: (d,) the whole query.
        """
        found = best(coarse, k, allowed)
        if not len(found.ordinals):
            return found
        numbers, unit = _whole(query)
        apart = _products(self._sample, numbers, unit) - coarse[self._sampled]
        near = coarse >= found.scores[-1] - _DEVIATIONS * np.sqrt(np.mean(apart**2))
        candidates = np.flatnonzero(near if allowed is None else near & allowed)
        hits = best(_products(self._read(candidates), numbers, unit), k)
        return Hits(hits.scores, candidates[hits.ordinals])


def _whole(query: np.ndarray) -> tuple[np.ndarray, float]:
    """Round a query to whole numbers that float64 adds up without rounding, so that equal rows score equal."""
    length = float(np.linalg.norm(query.astype(np.float64)))
    unit = length / _LENGTH if length > 0 else 1.0
    return np.rint(query / unit), unit


def _products(rows: np.ndarray, numbers: np.ndarray, unit: float) -> np.ndarray:
    parts = [rows[at : at + _BLOCK].astype(np.float64) @ numbers for at in range(0, len(rows), _BLOCK)]
    return np.asarray(np.concatenate([np.zeros(0), *parts]) * unit)
