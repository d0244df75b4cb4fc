"""Where every row stands, not only the chosen ones."""

from collections.abc import Sequence

import numpy as np

from nait_index.methods.base import Examples
from nait_index.methods.names import MethodName
from nait_index.methods.registry import METHODS
from nait_index.search.rows import IndexRows


def standings(
    rows: IndexRows, capabilities: Sequence[Examples], method: MethodName, allowed: np.ndarray | None = None
) -> np.ndarray:
    """Score rows for several capabilities: (C, n) float64, NaN for rows that may not be chosen.

    :param allowed: (n,) bool; ``None`` for all.
    """
    count = len(rows) if allowed is None else int(allowed.sum())
    scores = np.full((len(capabilities), len(rows)), np.nan)
    for own, examples in zip(scores, capabilities, strict=True):
        hits = METHODS[method].rank(examples, rows, count, allowed)
        own[hits.ordinals] = hits.scores
    return scores


def evenly(total: int, most: int) -> np.ndarray:
    """Give places spread evenly over ``total`` ones, at most ``most``: all of them where there are no more."""
    return np.arange(0, total, -(-total // most)) if total else np.zeros(0, np.int64)
