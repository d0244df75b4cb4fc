"""The curve of scores over ranks, in as many points as can be drawn."""

from collections.abc import Sequence

import numpy as np

POINTS = 400


def curve(scores: Sequence[float], cut: int) -> list[tuple[int, float]]:
    """Thin out scores that fall with their rank.

    The first and the last are kept, and so are those at the cut; half of the points lie among the chosen.

    :param cut: how many are chosen. :returns: rank, counted from 1, and score.
    """
    last = len(scores)
    ranks = np.concatenate([np.linspace(1, cut, POINTS // 2), np.linspace(min(cut + 1, last), last, POINTS // 2)])
    return [(int(rank), float(scores[rank - 1])) for rank in np.unique(np.rint(ranks).astype(int))]
