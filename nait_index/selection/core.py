"""What several selections agree on, beside what chance would make them agree on."""

import math
from collections.abc import Collection, Iterable, Sequence

import numpy as np

from nait_index.errors import SelectionError


def required_votes(votes: str | int, selections: int) -> int:
    """Read ``all`` or a number of selections.

    :raises SelectionError: not between 1 and the number of selections.
    """
    if votes == "all":
        return selections
    if not str(votes).isdecimal() or not 1 <= int(votes) <= selections:
        raise SelectionError(
            f"--votes '{votes}' is neither 'all' nor a number from 1 to {selections}, the capabilities given"
        )
    return int(votes)


def agree(selections: Sequence[Sequence[str]], votes: int) -> list[tuple[str, int, float]]:
    """Give the ids that at least ``votes`` of the ranked selections hold.

    :returns: (id, votes, score), most votes first, then highest score, then id. The score is the mean over the
        selections of (k − rank + 1)/k, 0 where a selection does not hold the id: 1 is first everywhere.
    """
    points: dict[str, list[float]] = {}
    for ids in selections:
        for rank, sample_id in enumerate(ids):
            points.setdefault(sample_id, []).append((len(ids) - rank) / len(ids))
    # fsum: the outcome must not depend on the order in which the selections are given, not even by rounding.
    core = [
        (sample_id, len(own), math.fsum(own) / len(selections))
        for sample_id, own in points.items()
        if len(own) >= votes
    ]
    return sorted(core, key=lambda entry: (-entry[1], -entry[2], entry[0]))


def chance_size(sizes: Sequence[int], available: int, votes: int) -> float:
    """Give the size expected if every selection were drawn at random: n · P(at least ``votes`` of them hold a row)."""
    holds = np.array([1.0])  # probability of 0, 1, … selections holding a given row
    for size in sizes:
        p = size / available
        holds = np.convolve(holds, [1 - p, p])
    return float(available * holds[votes:].sum())


def stability(core: Sequence[str], redrawn: Iterable[Collection[str]]) -> list[float]:
    """Give each row of a core the share of the cores found from redrawn examples that hold it.

    :param redrawn: one core for every draw, at least one.
    """
    kept = dict.fromkeys(core, 0)
    draws = 0
    for other in redrawn:
        draws += 1
        for sample_id in core:
            kept[sample_id] += sample_id in other
    return [kept[sample_id] / draws for sample_id in core]
