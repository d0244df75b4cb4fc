"""The best rows of a query, and how they are taken from the scores of all."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Hits:
    """The best rows of one query, best first.

    :param scores: (k,) floating; :param ordinals: (k,) int64 place in table order. Rows whose score equals that of the
        last hit are all included, so that the caller can break the tie by id.
    """

    scores: np.ndarray
    ordinals: np.ndarray


def best_of_each(scores: np.ndarray, k: int, allowed: np.ndarray | None = None) -> list[Hits]:
    """Give the best rows of every query; of several at once, on all cores.

    :param scores: (q, n). :param allowed: (n,) bool, rows that may be chosen; ``None`` for all.
    """
    if len(scores) == 1:
        return [best(scores[0], k, allowed)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda own: best(own, k, allowed), scores))


def best(scores: np.ndarray, k: int, allowed: np.ndarray | None = None) -> Hits:
    """Give the ``k`` highest of some scores (n,), and with them all that equal the last.

    :param allowed: (n,) bool, rows that may be chosen; ``None`` for all.
    """
    candidates = None if allowed is None else np.flatnonzero(allowed)
    own = scores if candidates is None else scores[candidates]
    k = min(k, len(own))
    if k == 0:
        return Hits(np.zeros(0, np.float32), np.zeros(0, np.int64))
    cut = np.partition(own, len(own) - k)[len(own) - k]
    kept = np.flatnonzero(own >= cut)
    order = kept[np.argsort(-own[kept], kind="stable")]
    return Hits(own[order].astype(np.float32), order if candidates is None else candidates[order])
