"""RDS+: Ivison et al., arXiv 2503.01807: representations of the last hidden state.

A sample's representation is the position-weighted mean of its last hidden states, Σ_t t·h_t / Σ_t t; similarity is the
cosine. ``rds`` takes turns, as the paper does: each example in turn takes the most similar row that is not taken yet.
``rds-max`` scores a row by its most similar example.
"""

from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from nait_index.config import View
from nait_index.methods.base import Examples, Method, Scored
from nait_index.methods.embedding import rounded
from nait_index.search.hits import Hits
from nait_index.search.rows import IndexRows
from nait_index.signatures.features import unit_rows
from nait_index.signatures.views import HIDDEN_WEIGHTED

_CELLS = 2**26
"""Similarities held in memory at once: 256 MiB."""


class RdsMax(Scored):
    """Cosine to the most similar example."""

    view: ClassVar[View | None] = View.HIDDEN

    def scores(self, examples: Examples, rows: IndexRows) -> np.ndarray:
        """Score every row: (n,) float32, in [−1, 1]."""
        targets = unit_rows(examples.signatures[HIDDEN_WEIGHTED])
        blocks = [(unit_rows(block) @ targets.T).max(axis=1) for block in rows.blocks(HIDDEN_WEIGHTED)]
        return rounded(np.concatenate(blocks))


class Rds(Method):
    """The examples take turns; the score is 1 − turn/n, so that it falls from 1 in the order of choice.

    n is the number of rows that may be chosen, so that a row's score is the same whatever the budget.
    """

    view: ClassVar[View | None] = View.HIDDEN

    def rank(self, examples: Examples, rows: IndexRows, k: int, allowed: np.ndarray | None) -> Hits:
        """Return ``k`` rows, chosen by the examples in turn."""
        candidates = np.arange(len(rows)) if allowed is None else np.flatnonzero(allowed)
        k = min(k, len(candidates))
        stored = np.concatenate([unit_rows(block) for block in rows.blocks(HIDDEN_WEIGHTED)])[candidates]
        targets = unit_rows(examples.signatures[HIDDEN_WEIGHTED])
        chosen = nearest_in_turn(targets, stored, np.array(rows.ids())[candidates], k)
        scores = 1 - np.arange(k) / max(len(candidates), 1)
        return Hits(scores.astype(np.float64), candidates[np.array(chosen, dtype=np.int64)])


def nearest_in_turn(targets: np.ndarray, stored: np.ndarray, ids: np.ndarray, k: int) -> list[int]:
    """Let targets (E, d) take turns, each with the row of largest inner product that is left: positions of ``k`` rows.

    :param stored: (n, d) rows; :param ids: (n,) of these, which break ties. :param k: at most n.
    """
    depth = 4 * -(-k // len(targets)) + 16
    chosen: list[int] = []
    while len(chosen) < k:
        depth = min(2 * depth, len(stored))
        chosen = _take_turns([_nearest(similarity, depth, ids) for similarity in _similarities(targets, stored)], k)
    return chosen


def _similarities(targets: np.ndarray, stored: np.ndarray) -> Iterator[np.ndarray]:
    """Yield each example's similarities (n,), computed for many examples at once."""
    step = max(1, _CELLS // max(len(stored), 1))
    for start in range(0, len(targets), step):
        yield from targets[start : start + step] @ stored.T


def _nearest(similarity: np.ndarray, depth: int, ids: np.ndarray) -> list[int]:
    """Return the ``depth`` most similar rows, best first, ties in the order of their ids."""
    cut = np.partition(similarity, len(similarity) - depth)[len(similarity) - depth]
    kept = np.flatnonzero(similarity >= cut)
    order = np.lexsort((ids[kept], -similarity[kept]))
    nearest: list[int] = kept[order].tolist()
    return nearest


def _take_turns(preferences: list[list[int]], k: int) -> list[int]:
    """Assign each example in turn the first of its preferences that is left; stop early where one runs out."""
    chosen: dict[int, None] = {}
    preferred = [iter(rows) for rows in preferences]
    while len(chosen) < k:
        for rows in preferred:
            row = next((row for row in rows if row not in chosen), None)
            if row is None or len(chosen) == k:
                return list(chosen)
            chosen[row] = None
    return list(chosen)
