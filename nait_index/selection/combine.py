"""Several rankings to one list of rows.

``union``        every row among the best k of any capability, as in NAIT: k to c·k rows for c capabilities
``mean``         the k rows of best mean rank, each rank as a share of all rows
``round-robin``  k rows: the capabilities take turns, each with its best row that is not chosen yet
``weighted``     the same with quotas: k·w/Σw rows each, rounded by largest remainder so that they add up to k

All but the first give exactly k different rows. The order in which the capabilities are given decides whose turn is
first; equal mean ranks are in the order of ids.
"""

import math
from collections.abc import Collection, Hashable, Mapping, Sequence
from fractions import Fraction
from typing import TypeVar

from nait_index.config import Combine
from nait_index.errors import SelectionError

Row = TypeVar("Row", bound=Hashable)
"""What stands for a row: its id, or its position."""

Rankings = Mapping[str, Sequence[str]]
"""The ids of the rows that each capability ranks, best first, by its name."""

Chosen = list[tuple[str, str]]
"""Id, and name of the capability that chose it, in the order of choice."""


def combine(rankings: Rankings, how: Combine, k: int, weights: Mapping[str, float] | None = None) -> Chosen:
    """Choose rows from several rankings.

    :param rankings: of all rows for ``mean``; for the others, of as many as may be needed.
    :param k: rows in total; for ``union``, rows of each ranking.
    :param weights: of every capability, for ``weighted`` only.
    :raises SelectionError: there are not that many rows, or the weights cannot be used.
    """
    if (weights is not None) != (how is Combine.WEIGHTED):
        raise SelectionError(f"combining by '{how}' {'takes no' if weights is not None else 'needs'} weights")
    if k < 1 or not rankings:
        raise SelectionError("nothing to combine: give at least one capability and at least 1 row")
    if how is Combine.UNION:
        return unite({name: ids[:k] for name, ids in rankings.items()})
    if how is Combine.MEAN:
        return best_mean_rank(rankings, k)
    return take_turns(rankings, k, dict.fromkeys(rankings, 1) if weights is None else weights)


def unite(rankings: Rankings) -> Chosen:
    """Return every ranked id, with the name of the ranking in which its rank is best.

    In the order of that best rank; ids of equal rank in the order of the rankings, so that these take turns.
    """
    chosen: dict[str, str] = {}
    for rank in range(max(map(len, rankings.values()), default=0)):
        for name, ids in rankings.items():
            if rank < len(ids):
                chosen.setdefault(ids[rank], name)
    return list(chosen.items())


def best_mean_rank(rankings: Rankings, k: int) -> Chosen:
    """Return the ``k`` ids of best mean rank, with the name of the ranking in which the rank of each is best.

    :raises SelectionError: the rankings do not hold the same rows, or fewer than ``k``.
    """
    best = dict(unite(rankings))
    if any(len(ids) != len(best) for ids in rankings.values()):
        raise SelectionError("a mean rank needs every capability to rank the same rows; rank all of them")
    _check_enough(len(best), k)
    total = dict.fromkeys(best, 0)  # all rankings are of one length, so the sum orders like the mean share
    for ids in rankings.values():
        for rank, sample_id in enumerate(ids):
            total[sample_id] += rank
    ordered = sorted(total, key=lambda sample_id: (total[sample_id], sample_id))
    return [(sample_id, best[sample_id]) for sample_id in ordered[:k]]


def take_turns(rankings: Mapping[str, Sequence[Row]], k: int, weights: Mapping[str, float]) -> list[tuple[Row, str]]:
    """Choose ``k`` different rows: the rankings take turns, evenly spread and as often as their quotas allow.

    When a ranking has no more rows, the others choose in its place.

    :raises SelectionError: a weight is missing, unknown or not positive, or the rankings hold fewer than ``k`` rows.
    """
    quota = quotas(rankings, weights, k)
    _check_enough(len(set().union(*rankings.values())), k)
    waiting = {name: iter(ids) for name, ids in rankings.items()}
    taken = dict.fromkeys(rankings, 0)
    chosen: dict[Row, str] = {}
    while len(chosen) < k:
        # Webster's rule: the capability whose next row comes first on a scale where its rows are 1/weight apart.
        name = min(waiting, key=lambda name: (taken[name] >= quota[name], (2 * taken[name] + 1) / weights[name]))
        row = next((row for row in waiting[name] if row not in chosen), None)
        if row is None:
            del waiting[name]
        else:
            chosen[row] = name
            taken[name] += 1
    return list(chosen.items())


def quotas(names: Collection[str], weights: Mapping[str, float], k: int) -> dict[str, int]:
    """Share ``k`` rows out by weight: rounded down, and one more each for the largest remainders.

    :raises SelectionError: a weight is missing, unknown or not positive.
    """
    for name, weight in weights.items():
        if name not in names:
            raise SelectionError(f"a weight is given for '{name}', which is not among {', '.join(names)}")
        if not (math.isfinite(weight) and weight > 0):
            raise SelectionError(f"the weight of '{name}' is {weight}; weights must be positive numbers")
    for name in names:
        if name not in weights:
            raise SelectionError(f"'{name}' has no weight; give one for every capability")
    exact = {name: Fraction(str(weights[name])) for name in names}  # as written: 0.1 is a tenth, not its nearest float
    total = sum(exact.values())
    shares = {name: k * weight / total for name, weight in exact.items()}
    rows = {name: math.floor(share) for name, share in shares.items()}
    left = k - sum(rows.values())
    for name in sorted(shares, key=lambda name: rows[name] - shares[name])[:left]:
        rows[name] += 1
    return rows


def _check_enough(available: int, k: int) -> None:
    if k > available:
        raise SelectionError(f"{k} rows are requested, more than the {available} that the capabilities rank")
