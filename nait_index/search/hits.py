"""The best rows of a query: taken from the scores of all rows, and rescored near the cut.

A scan reads the leading numbers of a longer signature. The difference between scores by those and by the whole
signature is measured on a sample of the rows; every row whose scanned score is at most four standard deviations of that
difference below the cut is rescored by its whole signature.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from nait_index.store.samples import spread

_BLOCK = 1024
_READ = 1 << 15
"""Rows whose whole signatures are held at a time."""

_DEVIATIONS = 4
_LENGTH = float(1 << 30)
SAMPLED = 1024
"""Rows on which the difference of scanned and whole scores is measured."""


@dataclass(frozen=True, slots=True)
class Hits:
    """The best rows of one query, best first.

    :param scores: (k,) floating; :param ordinals: (k,) int64 positions in table order. Rows whose score equals that of
        the last hit are all included, so that the caller can break the tie by id.
    """

    scores: np.ndarray
    ordinals: np.ndarray


def best(scores: np.ndarray, k: int, allowed: np.ndarray | None = None) -> Hits:
    """Return the ``k`` highest of some scores (n,), and all that equal the last.

    :param allowed: (n,) bool, rows that may be chosen; ``None`` for all.
    """
    candidates = None if allowed is None else np.flatnonzero(allowed)
    scored = scores if candidates is None else scores[candidates]
    k = min(k, len(scored))
    if k == 0:
        return Hits(np.zeros(0, np.float32), np.zeros(0, np.int64))
    cut = np.partition(scored, len(scored) - k)[len(scored) - k]
    kept = np.flatnonzero(scored >= cut)
    order = kept[np.argsort(-scored[kept], kind="stable")]
    return Hits(scored[order].astype(np.float32), order if candidates is None else candidates[order])


def best_of_each(scores: np.ndarray, k: int, allowed: np.ndarray | None = None) -> list[Hits]:
    """Return the best rows of every query, using all cores for several queries.

    :param scores: (q, n). :param allowed: (n,) bool, rows that may be chosen; ``None`` for all.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda scored: best(scored, k, allowed), scores))


def rescored(
    read: Callable[[np.ndarray], np.ndarray],
    coarse: np.ndarray,
    queries: np.ndarray,
    k: int,
    allowed: np.ndarray | None,
) -> Iterator[Hits]:
    """Yield the ``k`` rows of highest score by whole signatures, query by query.

    :param read: reads the whole signatures (m, d) of some rows, by ordinal.
    :param coarse: (q, n) scanned scores of all rows; :param queries: (q, d) whole queries.
    :param allowed: (n,) bool, rows that may be chosen; ``None`` for all.
    """
    sampled = spread(coarse.shape[1], SAMPLED)
    sample = read(sampled)
    for scores, query in zip(coarse, queries, strict=True):
        scanned = best(scores, k, allowed)
        if not len(scanned.ordinals):
            yield scanned
            continue
        threshold = lowest_near(float(scanned.scores[-1]), sample, scores[sampled], query)
        candidates, products = score_near(read, scores, query, threshold, allowed)
        hits = best(products, k)
        yield Hits(hits.scores, candidates[hits.ordinals])


def lowest_near(cut: float, sample: np.ndarray, scores: np.ndarray, query: np.ndarray) -> float:
    """Return the lowest scanned score of a row that whole signatures may put above a cut.

    :param sample: (m, d) whole signatures; :param scores: (m,) scanned scores of the same rows.
    """
    apart = _products(sample, *_whole(query)) - scores
    return float(cut - _DEVIATIONS * np.sqrt(np.mean(apart**2)))


def score_near(
    read: Callable[[np.ndarray], np.ndarray],
    scores: np.ndarray,
    query: np.ndarray,
    threshold: float,
    allowed: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Score the rows whose scanned score reaches a threshold by their whole signatures.

    :returns: their ordinals (m,), and their scores (m,) float64.
    """
    near = scores >= np.float64(threshold)
    candidates = np.flatnonzero(near if allowed is None else near & allowed)
    parts = (candidates[start : start + _READ] for start in range(0, len(candidates), _READ))
    whole = _whole(query)
    return candidates, np.concatenate([np.zeros(0), *(_products(read(part), *whole) for part in parts)])


def _whole(query: np.ndarray) -> tuple[np.ndarray, float]:
    """Round a query to whole numbers that float64 adds up without rounding, so that equal rows score equal."""
    length = float(np.linalg.norm(query.astype(np.float64)))
    unit = length / _LENGTH if length > 0 else 1.0
    return np.rint(query / unit), unit


def _products(rows: np.ndarray, numbers: np.ndarray, unit: float) -> np.ndarray:
    parts = [rows[i : i + _BLOCK].astype(np.float64) @ numbers for i in range(0, len(rows), _BLOCK)]
    return np.asarray(np.concatenate([np.zeros(0), *parts]) * unit)
